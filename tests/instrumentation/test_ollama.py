"""The ollama client: what is peculiar to it. The rest is the contract suite's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import ollama
import pytest
from kit import Answer, Question, Reply, json_reply
from kits.ollama import KIT
from server import Server
from spans_of import inference, violations

from llmtrace.model import Inference, Message, Reasoning, Text, ToolCall, ToolResult, Usage
from llmtrace.testing import Captured

INSTRUMENT = ("ollama",)

ASK = [{"role": "user", "content": "Where is order 7?"}]
DONE = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop", "eval_count": 2}


def answered_with(**message: Any) -> Reply:
    return json_reply({**DONE, "message": {"role": "assistant", "content": "", **message}})


def lines(*chunks: dict[str, Any]) -> Reply:
    pieces = tuple(json.dumps({"model": "m", "created_at": "x", "done": False, **chunk}).encode() + b"\n" for chunk in chunks)
    return Reply(pieces, content_type="application/x-ndjson")


def look_up(order_id: str) -> str:
    """Look an order up.

    Args:
      order_id: The order.
    """
    return order_id


def test_functions_of_the_program_are_the_tools_on_offer(captured: Captured) -> None:
    """As the SDK sends them; a call's arguments are judged by them, and a tool's result is read."""
    call = {"function": {"name": "look_up", "arguments": {"order": 7}}}
    earlier = [*ASK, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "gone", "tool_name": "look_up"}]
    with Server(answered_with(tool_calls=[call], thinking="hm")) as server:
        ollama.Client(server.url).chat("m", earlier, tools=[look_up])
    operation = inference(captured)
    assert [tool.name for tool in operation.tools] == ["look_up"]
    assert operation.input[1:] == (
        Message("assistant", (ToolCall("look_up", {"order": 7}),)),
        Message("tool", (ToolResult("gone"),), "look_up"),
    )
    assert operation.output[0].parts == (Reasoning("hm"), ToolCall("look_up", {"order": 7}))
    assert ("missing", "/order_id") in violations(captured.spans[0])


def test_an_answer_that_does_not_fit_its_format_is_found(captured: Captured) -> None:
    """``format`` as a JSON Schema; options by the conventions' names."""
    schema = {"type": "object", "properties": {"eta": {"type": "integer"}}, "required": ["eta"]}
    with Server(answered_with(content='{"eta": "soon"}')) as server:
        ollama.Client(server.url).chat(
            "m", ASK, format=schema, think="high", options={"num_predict": 5, "stop": ["."], "top_k": 3}
        )
    parameters = inference(captured).parameters
    assert {name: parameters[name] for name in ("max_tokens", "stop_sequences", "top_k", "reasoning.level")} == {
        "max_tokens": 5,
        "stop_sequences": ["."],
        "top_k": 3,
        "reasoning.level": "high",
    }
    assert violations(captured.spans[0]) == [("wrong_type", "/eta")]


def test_generate_is_a_text_completion(captured: Captured) -> None:
    """Whole and streamed alike."""
    with Server(json_reply({**DONE, "response": "Here."}), lines({"response": "He"}, {**DONE, "response": "re."})) as server:
        client = ollama.Client(server.url)
        client.generate("m", "Where?", system="Be brief.")
        list(client.generate("m", "Where?", system="Be brief.", stream=True))
    for span in captured.spans:
        operation = span.operation
        assert isinstance(operation, Inference)
        assert (operation.operation, operation.system, operation.input[0].text()) == (
            "text_completion",
            (Text("Be brief."),),
            "Where?",
        )
        assert (operation.output[0].text(), operation.finish_reasons, operation.usage) == ("Here.", ("stop",), Usage(None, 2))
    assert len(captured.spans) == 2


def test_functions_of_the_module_are_traced(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are methods of a client that was made when the module was imported."""
    with Server(answered_with(content="Here.")) as server:
        monkeypatch.setattr(ollama._client, "_client", ollama.Client(server.url)._client)
        ollama.chat("m", ASK)
    assert inference(captured).output[0].text() == "Here."


def test_a_stream_that_is_never_read_asks_nothing(captured: Captured) -> None:
    """ollama sends the request with the first chunk, so there is no call and no span."""
    with Server(KIT.streamed(Answer())) as server:
        client = KIT.client(server.url)
        KIT.stream(client, Question()).close()

        async def unread() -> None:
            stream = await KIT.stream(KIT.client(server.url, asynchronous=True), Question())
            await stream.aclose()

        asyncio.run(unread())
        assert server.requests == []
    assert captured.spans == ()


def test_what_else_the_client_does_has_no_span(captured: Captured) -> None:
    with Server(json_reply({"models": []})) as server:
        ollama.Client(server.url).list()
    assert captured.spans == ()
