"""Whole answers, of every library: what a call leaves behind, and that nobody notices."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from kit import CALLS, MODEL, QUESTION, SYSTEM, TOOL, Answer, Question, Said
from server import Server
from tests.instrumentation.hooks import patched_functions
from way import Way, asking, settled, without_times

import llmtrace
from llmtrace import instrumentation
from llmtrace.model import Inference, Text, ToolCall, replace
from llmtrace.testing import capture

ask, ask_with_tools = asking(), asking(Question(tools=True))


def instructions(inference: Inference) -> str:
    """The system prompt, whichever place its provider has for it."""
    system_parts = [
        *inference.system,
        *(part for message in inference.input if message.role in ("system", "developer") for part in message.parts),
    ]
    return "".join(part.content for part in system_parts if isinstance(part, Text))


def test_a_call_is_one_inference(way: Way) -> None:
    """Request, answer, usage, server and attempts of one call are on one span, whose ``traceparent`` goes with the request.

    Input tokens include those that were read from a cache, whatever the provider calls them. User and conversation of the
    program are no baggage of the request.
    """

    async def program(way: Way, client: Any) -> Any:
        with llmtrace.context(user="u", conversation="c"):
            return await ask(way, client)

    watched = way.watch(program, way.kit.whole(Answer()))
    span, operation = watched.span, watched.inference
    assert (span.kind, span.failure, span.violations) == ("client", None, ())
    assert operation.operation in ("chat", "generate_content")
    assert span.name == f"{operation.operation} {MODEL}"
    assert (operation.provider, operation.request_model) == (way.kit.provider, MODEL)
    assert instructions(operation) == SYSTEM
    assert (operation.input[-1].role, operation.input[-1].text()) == ("user", QUESTION)
    assert [(message.role, message.text(), message.finish_reason) for message in operation.output] == [
        ("assistant", Answer().text, "stop")
    ]
    assert operation.finish_reasons == ("stop",)
    assert operation.parameters.get("max_tokens") == 100
    assert (operation.stream, operation.partial, operation.chunks, operation.attempts) == (False, False, None, 1)
    assert operation.server_address == "127.0.0.1"
    assert operation.server_port is not None
    usage = operation.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (20, 9)
    if way.kit.has_cached_tokens:
        assert usage.cache_read_input_tokens == 8
    (request,) = watched.requests
    assert "baggage" not in request.headers
    assert request.headers["traceparent"].startswith(f"00-{span.trace_id}-{span.span_id}-")


def calls_of(way: Way, expected_calls: tuple[Said, ...]) -> list[ToolCall]:
    has_ids = way.kit.has_call_ids
    return [ToolCall(call.name, json.loads(call.arguments), call.id if has_ids else None) for call in expected_calls]


def found_calls(way: Way, inference: Inference) -> list[ToolCall]:
    tool_calls = [call for message in inference.output for call in message.tool_calls()]
    return tool_calls if way.kit.has_call_ids else [replace(call, id=None) for call in tool_calls]


def test_parallel_tool_calls_are_read(way: Way) -> None:
    """Names, arguments as the model wrote them, and ids, in order; the definitions of the request beside them."""
    watched = way.watch(ask_with_tools, way.kit.whole(CALLS))
    operation = watched.inference
    assert found_calls(way, operation) == calls_of(way, CALLS.calls)
    assert operation.finish_reasons == ("tool_call",)
    (tool,) = operation.tools
    assert (tool.name, tool.description) == (TOOL["name"], TOOL["description"])
    assert tool.parameters["properties"]["order_id"] == {"type": "string"}
    assert watched.span.violations == ()


INVALID_CALLS = {
    Said('{"order_id": 7}'): ("wrong_type", "/order_id"),
    Said("{}"): ("missing", "/order_id"),
    Said(name="look_down"): ("unknown_tool", ""),
}


@pytest.mark.parametrize("streamed", [False, True])
def test_an_invalid_call_is_found_while_the_program_runs(way: Way, streamed: bool) -> None:
    """The verdict is on the inference, from whole and from streamed answers."""

    async def program(way: Way, client: Any) -> Any:
        return [await asking(Question(tools=True), stream=streamed)(way, client) for _ in INVALID_CALLS]

    answers = [Answer(text="", calls=(call,), finish="tool_call") for call in INVALID_CALLS]
    spans = way.watch(program, *(way.kit.streamed(it) if streamed else way.kit.whole(it) for it in answers)).spans
    verdicts = [[(violation.code, violation.pointer) for violation in span.violations] for span in spans]
    assert verdicts == [[verdict] for verdict in INVALID_CALLS.values()]
    assert [span.failure for span in spans] == [None] * 3


def test_choices_are_kept_apart(way: Way) -> None:
    """n > 1: one output message a choice."""
    if not way.kit.has_choices:
        pytest.skip(f"{way.kit.name} gives one choice")
    operation = way.watch(asking(Question(n=3)), way.kit.whole(Answer(n=3))).inference
    assert [message.text() for message in operation.output] == [Answer().text] * 3
    assert operation.finish_reasons == ("stop",) * 3
    assert operation.parameters["choice.count"] == 3


def test_a_huge_prompt_goes_through(way: Way) -> None:
    """A prompt of 1 MB is sent and answered as ever, and recorded; what is cut of it is marked."""
    text = "order 7 " * (1 << 17)
    watched = way.watch(asking(Question(text)), way.kit.whole(Answer()))
    assert watched.inference.output[0].text() == Answer().text
    recorded_text = watched.inference.input[-1].text()
    assert recorded_text == text or (len(recorded_text) < len(text) and watched.span.attributes["llmtrace.content.truncated"])


def test_sync_and_async_record_the_same(way: Way) -> None:
    """The async client's span is the sync client's span, ids and times apart."""
    if not way.kit.has_async or way.asynchronous:
        pytest.skip("needs both, once")
    async_way = Way(way.kit, True)
    for program, reply in ((ask, way.kit.whole(Answer())), (ask_with_tools, way.kit.whole(CALLS))):
        first, two = (without_times(which.watch(program, reply).span) for which in (way, async_way))
        assert two == first


def test_parallel_calls_keep_their_parent(way: Way) -> None:
    """Calls made at once, in threads or in tasks, are children of the span that was current where they were begun."""
    kit = way.kit

    async def in_tasks(client: Any) -> None:
        async def work(name: str) -> None:
            with llmtrace.workflow(name):
                await asyncio.gather(*(settled(kit.ask(client, Question())) for _ in range(2)))

        await asyncio.gather(work("a"), work("b"))

    def in_threads(client: Any) -> None:
        def work(name: str) -> None:
            with llmtrace.workflow(name):
                for _ in range(2):
                    kit.ask(client, Question())

        threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def program(way: Way, client: Any) -> Any:
        await in_tasks(client) if way.asynchronous else in_threads(client)

    spans = way.watch(program, kit.whole(Answer())).spans
    workflows = {span.span_id for span in spans if span.name.startswith("invoke_workflow")}
    parents = sorted(str(span.parent_id) for span in spans if isinstance(span.operation, Inference))
    assert len(workflows) == 2
    assert parents == sorted([*workflows, *workflows])


def test_without_a_recorder_nothing_happens(way: Way) -> None:
    """Never configured means never recorded: the wrappers are in place, the call goes through, without a header."""
    with Server(way.kit.whole(Answer())) as server:
        client = way.kit.client(server.url, asynchronous=way.asynchronous)
        instrumentation.enable((way.kit.name,))

        async def main() -> None:
            try:
                await ask(way, client)
            finally:
                await settled(way.kit.close(client))

        try:
            way.run(main())
        finally:
            instrumentation.disable()
        (request,) = server.requests
    assert "traceparent" not in request.headers


def test_everything_is_taken_off_again(way: Way) -> None:
    """Off means off, also after turning it on twice: what was wrapped is the very object that it was."""
    way.kit.client("http://127.0.0.1:9", asynchronous=way.asynchronous)
    before = patched_functions(way.kit.name)
    assert before
    with capture(instrument=(way.kit.name,)):
        instrumentation.enable((way.kit.name,))
        during = patched_functions(way.kit.name)
        assert all(during[place][0] != before[place][0] for place in before)
    assert patched_functions(way.kit.name) == before
