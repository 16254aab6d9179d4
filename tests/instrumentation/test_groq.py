"""The groq client: what is peculiar to it. The rest is OpenAI's endpoint, and the contract suite's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import groq
import pytest
from kit import TOOL, Reply, json_reply, sse_reply
from openai_server import chunk, completion
from server import Server

from llmtrace.model import (
    Embedding,
    Failure,
    Generic,
    Inference,
    Message,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolCall,
    Usage,
    replace,
)
from llmtrace.recorder import collected
from llmtrace.testing import Captured

GIVEN: dict[str, Any] = {
    "model": "openai/gpt-oss-120b",
    "messages": [{"role": "user", "content": "Where is order 7?"}],
    "tools": [{"type": "function", "function": TOOL}],
}
USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "completion_tokens_details": {"reasoning_tokens": 3}}
EXECUTED = {"index": 0, "type": "search", "arguments": '{"query": "order 7"}', "output": "Title: sent"}


INSTRUMENT = ("groq",)


def whole(message: dict[str, Any], finish: str = "stop") -> Reply:
    return json_reply(completion({"role": "assistant", "content": None, **message}, finish=finish, usage=USAGE))


def streamed(*chunks: dict[str, Any]) -> Reply:
    return sse_reply(chunks, done=b"data: [DONE]\n\n")


def client(server: Server, **options: Any) -> groq.Groq:
    return groq.Groq(api_key="gsk-test", base_url=server.url, max_retries=0, **options)


def ask(reply: Reply, **options: Any) -> Any:
    with Server(reply) as server, client(server) as asking:
        answer: Any = asking.chat.completions.create(**GIVEN, **options)
        return list(answer) if options.get("stream") else answer


def only(captured: Captured) -> tuple[Span, Inference]:
    collected.settle()
    (span,) = captured.spans
    assert isinstance(span.operation, Inference)
    return span, span.operation


END = {"id": "req_1", "usage": USAGE}


def test_usage_of_a_stream_stands_in_x_groq(captured: Captured) -> None:
    """Groq tells it in the last chunk, also where the program did not ask for it."""
    first = chunk({"role": "assistant", "content": ""}, x_groq={"id": "req_1", "seed": 1})
    ask(streamed(first, chunk({"content": "Sent."}), chunk({}, finish="stop", x_groq=END)), stream=True)
    span, operation = only(captured)
    assert (operation.provider, span.name) == ("groq", "chat openai/gpt-oss-120b")
    assert operation.usage == Usage(20, 9, None, None, 3)
    assert (operation.output[0].text(), operation.partial) == ("Sent.", False)


def test_an_error_in_x_groq(captured: Captured) -> None:
    """A stream that Groq stopped early is an error, though the SDK raises nothing."""
    ask(streamed(chunk({"content": "Se"}), chunk({}, x_groq={"id": "req_1", "error": "over capacity"})), stream=True)
    span, operation = only(captured)
    assert span.failure == Failure("server_error", "over capacity")
    assert (operation.partial, operation.output[0].text()) == (True, "Se")


def test_tools_of_the_server(captured: Captured) -> None:
    """What compound systems ran is told alike by whole and streamed answers, in front of what was said thereafter."""
    begun = {name: EXECUTED[name] for name in ("index", "type", "arguments")}
    deltas = [{"role": "assistant", "reasoning": "Hm."}, {"executed_tools": [begun]}, {"executed_tools": [EXECUTED]}]
    ask(whole({"content": "Sent.", "reasoning": "Hm.", "executed_tools": [EXECUTED]}))
    reply = streamed(*map(chunk, deltas), chunk({"content": "Sent."}), chunk({}, finish="stop", x_groq=END))
    ask(reply, stream=True)
    first, second = (span.operation for span in captured.spans)
    assert isinstance(first, Inference)
    assert isinstance(second, Inference)
    assert first.output[0].parts == (
        ServerToolCall("search", {"type": "search", "arguments": '{"query": "order 7"}'}),
        ServerToolResult({"type": "search", "output": "Title: sent"}),
        Reasoning("Hm."),
        Text("Sent."),
    )
    timing = {name: getattr(second, name) for name in ("stream", "chunks", "time_to_first_chunk", "server_port")}
    assert second == replace(first, **timing)


GENERATED = '{"name": "look_up", "arguments": {"order": "7"}}'


def rejected(generated: str) -> dict[str, Any]:
    about = {"message": "Tool call validation failed", "type": "invalid_request_error", "code": "tool_use_failed"}
    return {"error": {**about, "failed_generation": generated}}


def test_a_call_that_groq_rejects_is_recorded_and_judged(captured: Captured) -> None:
    """The error goes through; the span has the call that was generated, and the verdict names the field."""
    with pytest.raises(groq.BadRequestError):
        ask(json_reply(rejected(GENERATED), 400))
    span, operation = only(captured)
    assert span.failure is not None
    assert (span.failure.type, operation.finish_reasons) == ("tool_use_failed", ("error",))
    assert operation.output == (Message("assistant", (ToolCall("look_up", {"order": "7"}),)),)
    assert {(violation.code, violation.pointer) for violation in span.violations} == {
        ("missing", "/order_id"),
        ("unexpected", "/order"),
    }


def test_also_in_the_middle_of_a_stream(captured: Captured) -> None:
    """With what the model had thought before."""
    broken = b"event: error\ndata: " + json.dumps(rejected(GENERATED)).encode() + b"\n\n"
    thought = sse_reply([chunk({"role": "assistant", "reasoning": "Hm."})], done=broken)
    with pytest.raises(groq.APIError):
        ask(thought, stream=True)
    span, operation = only(captured)
    assert span.failure is not None
    assert span.failure.type == "tool_use_failed"
    assert operation.output[0].parts == (Reasoning("Hm."), ToolCall("look_up", {"order": "7"}))
    assert {violation.pointer for violation in span.violations} == {"/order_id", "/order"}


@pytest.mark.parametrize(
    "generated", ["<function=look_up>{}</function>", "[]", '{"name": 7, "arguments": {}}', '{"name": "x"}']
)
def test_what_is_no_call_stays_text(captured: Captured, generated: str) -> None:
    """Models of older kinds write their calls otherwise; nothing is guessed."""
    with pytest.raises(groq.BadRequestError):
        ask(json_reply(rejected(generated), 400))
    _, operation = only(captured)
    assert operation.output == (Message("assistant", (Generic("failed_generation", {"content": generated}),)),)


def test_raw_and_async_record_the_same(captured: Captured) -> None:
    """Raw, streaming, async: one inference each, the same one."""
    message = {
        "content": "Sent.",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "x", "arguments": "{}"}}],
    }

    async def later(url: str) -> None:
        async with groq.AsyncGroq(api_key="gsk-test", base_url=url, max_retries=0) as asking:
            await asking.chat.completions.create(**GIVEN)
            await (await asking.chat.completions.with_raw_response.create(**GIVEN)).parse()
            async with asking.chat.completions.with_streaming_response.create(**GIVEN) as response:
                await response.parse()

    with Server(whole(message, "tool_calls")) as server, client(server) as asking:
        asking.chat.completions.create(**GIVEN)
        asking.chat.completions.with_raw_response.create(**GIVEN).parse()
        with asking.chat.completions.with_streaming_response.create(**GIVEN) as response:
            response.parse()
        asyncio.run(later(server.url))
    operations = [span.operation for span in captured.spans]
    assert len(operations) == 6
    assert all(value == operations[0] for value in operations)


def test_embeddings_are_recorded_without_their_text(captured: Captured) -> None:
    """The model, how many dimensions, tokens."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    with Server(json_reply({"object": "list", "data": data, "model": "nomic", "usage": usage})) as server:
        client(server).embeddings.create(model="nomic", input="a secret")
    (span,) = captured.spans
    operation = span.operation
    assert isinstance(operation, Embedding)
    assert (operation.provider, operation.response_model, operation.dimensions, operation.usage) == (
        "groq",
        "nomic",
        2,
        Usage(4),
    )
    assert "secret" not in repr(span)
