"""Whole answers, of every library: what a call leaves behind, and that nobody notices."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import threading
from typing import Any

import pytest
from kit import CALLS, MODEL, QUESTION, SYSTEM, TOOL, Answer, Question, Said
from server import Server
from way import Way, says, settled

import llmtrace
from llmtrace import instrumentation
from llmtrace.model import Inference, Text, ToolCall, replace
from llmtrace.testing import capture


async def ask(way: Way, client: Any) -> Any:
    return way.kit.seen(await way.ask(client))


async def ask_with_tools(way: Way, client: Any) -> Any:
    return way.kit.seen(await way.ask(client, Question(tools=True)))


def instructions(inference: Inference) -> str:
    """The system prompt, whichever place its provider has for it."""
    said = [
        *inference.system,
        *(part for message in inference.input if message.role in ("system", "developer") for part in message.parts),
    ]
    return "".join(part.content for part in said if isinstance(part, Text))


def test_a_call_is_one_inference(way: Way) -> None:
    """Request, answer, usage, server and attempts of one call are on one span."""
    watched = way.watch(ask, way.kit.whole(Answer()))
    span, found = watched.span, watched.inference
    assert (span.kind, span.failure, span.violations) == ("client", None, ())
    assert found.operation in ("chat", "generate_content")
    assert span.name == f"{found.operation} {MODEL}"
    assert (found.provider, found.request_model) == (way.kit.provider, MODEL)
    assert instructions(found) == SYSTEM
    assert (found.input[-1].role, found.input[-1].text()) == ("user", QUESTION)
    assert [(message.role, message.text(), message.finish_reason) for message in found.output] == [
        ("assistant", Answer().text, "stop")
    ]
    assert found.finish_reasons == ("stop",)
    assert found.parameters.get("max_tokens") == 100
    assert (found.stream, found.partial, found.chunks, found.attempts) == (False, False, None, 1)
    assert found.server_address == "127.0.0.1"
    assert found.server_port is not None


def test_usage_counts_everything(way: Way) -> None:
    """Input tokens include those that were read from a cache, whatever the provider calls them."""
    usage = way.watch(ask, way.kit.whole(Answer())).inference.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (20, 9)
    if says(way.kit, "has_cached_tokens"):
        assert usage.cache_read_input_tokens == 8


def calls_of(way: Way, said: tuple[Said, ...]) -> list[ToolCall]:
    return [ToolCall(one.name, _json(one.arguments), one.id if way.kit.has_call_ids else None) for one in said]


def _json(text: str) -> Any:
    return json.loads(text)


def found_calls(way: Way, inference: Inference) -> list[ToolCall]:
    found = [call for message in inference.output for call in message.tool_calls()]
    return found if way.kit.has_call_ids else [replace(call, id=None) for call in found]


def test_parallel_tool_calls_are_read(way: Way) -> None:
    """Names, arguments as the model wrote them, and ids, in order; the definitions of the request beside them."""
    watched = way.watch(ask_with_tools, way.kit.whole(CALLS))
    found = watched.inference
    assert found_calls(way, found) == calls_of(way, CALLS.calls)
    assert found.finish_reasons == ("tool_call",)
    (tool,) = found.tools
    assert (tool.name, tool.description) == (TOOL["name"], TOOL["description"])
    assert tool.parameters["properties"]["order_id"] == {"type": "string"}
    assert watched.span.violations == ()


@pytest.mark.parametrize(
    ("said", "code", "pointer"),
    [
        (Said('{"order_id": 7}'), "wrong_type", "/order_id"),
        (Said("{}"), "missing", "/order_id"),
        (Said(name="look_down"), "unknown_tool", ""),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_invalid_call_is_found_while_the_program_runs(way: Way, said: Said, code: str, pointer: str, streamed: bool) -> None:
    """The verdict is on the inference, from whole and from streamed answers."""

    async def program(way: Way, client: Any) -> Any:
        if not streamed:
            return way.kit.seen(await way.ask(client, Question(tools=True)))
        return [way.kit.seen(chunk) for chunk in await way.read(await way.open(client, Question(tools=True)))]

    answer = Answer(text="", calls=(said,), finish="tool_call")
    span = way.watch(program, way.kit.streamed(answer) if streamed else way.kit.whole(answer)).span
    assert [(violation.code, violation.pointer) for violation in span.violations] == [(code, pointer)]
    assert span.failure is None


def test_choices_are_kept_apart(way: Way) -> None:
    """n > 1: one output message a choice."""
    if not way.kit.has_choices:
        pytest.skip(f"{way.kit.name} gives one choice")

    async def program(way: Way, client: Any) -> Any:
        return way.kit.seen(await way.ask(client, Question(n=3)))

    found = way.watch(program, way.kit.whole(Answer(n=3))).inference
    assert [message.text() for message in found.output] == [Answer().text] * 3
    assert found.finish_reasons == ("stop",) * 3
    assert found.parameters["choice.count"] == 3


def test_a_huge_prompt_goes_through(way: Way) -> None:
    """A prompt of 1 MB is sent and answered as ever, and recorded; what is cut of it is marked."""
    text = "order 7 " * (1 << 17)

    async def program(way: Way, client: Any) -> Any:
        return way.kit.seen(await way.ask(client, Question(text)))

    watched = way.watch(program, way.kit.whole(Answer()))
    assert watched.inference.output[0].text() == Answer().text
    kept = watched.inference.input[-1].text()
    assert kept == text or (len(kept) < len(text) and watched.span.attributes["llmtrace.content.truncated"])


def test_sync_and_async_record_the_same(way: Way) -> None:
    """The async client's span is the sync client's span, ids and times apart."""
    if not (way.kit.has_sync and way.kit.has_async) or way.asynchronous:
        pytest.skip("needs both, once")
    other = Way(way.kit, True)
    for program, reply in ((ask, way.kit.whole(Answer())), (ask_with_tools, way.kit.whole(CALLS))):
        one, two = (which.watch(program, reply).span for which in (way, other))
        operation = replace(two.operation, server_port=one.operation.server_port)
        assert replace(two, start=one.start, end=one.end, operation=operation) == one


def test_the_server_is_told_of_the_span(way: Way) -> None:
    """``traceparent`` of the inference goes with the request, and nothing else does."""
    if not says(way.kit, "sends_traceparent"):
        pytest.skip(f"{way.kit.name} has no place for it")
    watched = way.watch(ask, way.kit.whole(Answer()))
    (request,) = watched.requests
    span = watched.span
    assert request.headers["traceparent"].startswith(f"00-{span.trace_id}-{span.span_id}-")
    assert "baggage" not in request.headers


def test_parallel_calls_keep_their_parent(way: Way) -> None:
    """Calls made at once, in threads or in tasks, are children of the span that was current where they were begun."""
    kit = way.kit

    async def in_tasks(client: Any) -> None:
        async def one(name: str) -> None:
            with llmtrace.workflow(name):
                await asyncio.gather(*(settled(kit.ask(client, Question())) for _ in range(2)))

        await asyncio.gather(one("a"), one("b"))

    def in_threads(client: Any) -> None:
        def one(name: str) -> None:
            with llmtrace.workflow(name):
                for _ in range(2):
                    kit.ask(client, Question())

        threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b")]
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
    patches = importlib.import_module(f"llmtrace.instrumentation.{way.kit.name}").PATCHES

    def present() -> dict[tuple[str, str], tuple[Any, bool]]:
        found = {}
        for patch in patches:
            owner: Any = sys.modules.get(patch.module)
            *path, name = patch.path.split(".")
            for step in path:
                owner = getattr(owner, step, None)
            if owner is not None and hasattr(owner, name):
                found[patch.module, patch.path] = inspect.getattr_static(owner, name), name in vars(owner)
        return found

    way.kit.client("http://127.0.0.1:9", asynchronous=way.asynchronous)
    before = present()
    assert before
    with capture(instrument=(way.kit.name,)):
        instrumentation.enable((way.kit.name,))
        during = present()
        assert all(during[place][0] is not before[place][0] for place in before)
    after = present()
    assert after.keys() == before.keys()
    assert all(after[place][0] is before[place][0] and after[place][1] == before[place][1] for place in before)
