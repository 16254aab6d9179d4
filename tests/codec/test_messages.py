"""Messages, parts, tool definitions: others' writing is understood, and what was written once is not written again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.codec import messages, parts
from llmtrace.model import (
    Blob,
    Generic,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
)
from llmtrace.validation.parse_arguments import parse_arguments
from tests import strategies as some


def read(*items: Any, role: str = "user") -> tuple[Message, ...]:
    found = messages.read_messages(list(items), role)
    assert found is not None
    return found


@given(some.json_values())
@settings(deadline=None)
def test_any_value_is_read(value: Any) -> None:
    """Whatever stands in a list of messages becomes messages, whatever stands in a message becomes parts."""
    read(value, {"role": value, "parts": value}, {"content": value, "tool_calls": value}, {"parts": [value, {"type": value}]})
    for kind in ("text", "tool_call", "blob", "uri", "file", "server_tool_call", "image_url", "reasoning", "compaction"):
        parts.read({"type": kind, "content": value, "uri": value, "id": value, "arguments": value, "image_url": value})
    messages.read_definitions(value)


@given(some.parts())
@settings(deadline=None)
def test_a_part_reads_back(part: Part) -> None:
    """read(write(part)) == part, known or not."""
    (back,) = messages.read_parts(f"[{parts.write(part)}]") or ()
    assert some.alike(back, part)


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ("bare", Text("bare")),
        ({"type": "text", "text": "hi"}, Text("hi")),
        ({"type": "text"}, Text("")),
        ({"type": "text", "content": {"odd": 1}}, Generic("text", {"content": {"odd": 1}})),
        ({"type": "thinking", "thinking": "hm"}, Reasoning("hm")),
        ({"type": "tool_call", "name": "f", "arguments": '{"a": 1}'}, ToolCall("f", {"a": 1})),
        ({"type": "tool_call", "name": "f", "arguments": '{"a": 1, "a": 2}'}, ToolCall("f", '{"a": 1, "a": 2}')),
        ({"type": "tool_call"}, ToolCall("")),
        ({"type": "tool_call_response", "id": "c", "result": 5}, ToolResult(5, "c")),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}, ToolCall("f", {"a": 1}, "c")),
        ({"type": "tool_result", "tool_use_id": "c", "content": "ok"}, ToolResult("ok", "c")),
        ({"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}, Uri("https://x.test/a.png", "image")),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}, Blob("image", "image/png", "aGk=")),
        ({"type": "blob", "mime_type": "audio/wav", "content": "aGk="}, Blob("audio", "audio/wav", "aGk=")),
        ({"type": "hologram", "beam": 1}, Generic("hologram", {"beam": 1})),
        ({"beam": 1}, Generic("", {"beam": 1})),
        (5, Generic("", {"value": 5})),
    ],
)
def test_parts_of_other_writers(item: Any, part: Part) -> None:
    """Known shapes are understood, unknown ones kept whole."""
    assert parts.read(item) == part


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"role": "assistant", "content": "hi"}, Message("assistant", (Text("hi"),))),
        ({"content": [{"type": "text", "text": "a"}, "b"]}, Message("user", (Text("a"), Text("b")))),
        ("hi", Message("user", (Text("hi"),))),
        ({}, Message("user", ())),
        (
            {"role": "assistant", "content": None, "refusal": "no"},
            Message("assistant", (Generic("refusal", {"refusal": "no"}),)),
        ),
        ({"role": "tool", "tool_call_id": "c", "content": "ok"}, Message("tool", (ToolResult("ok", "c"),))),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
            Message("assistant", (ToolCall("f", {"a": 1}, "c"),)),
        ),
    ],
)
def test_messages_of_other_writers(item: Any, message: Message) -> None:
    """Without a role, without parts, as OpenAI writes them."""
    assert read(item) == (message,)


@pytest.mark.parametrize(
    ("item", "definition"),
    [
        ({"name": "f", "input_schema": {"a": 1}}, ToolDefinition("f", {"a": 1})),
        ({"name": "f", "inputSchema": {}, "outputSchema": {"b": 1}}, ToolDefinition("f", {}, output={"b": 1})),
        (
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}, "strict": True}},
            ToolDefinition("f", {}, "d", strict=True),
        ),
        ({"type": "web_search"}, ToolDefinition("web_search", type="web_search")),
    ],
)
def test_definitions_of_other_writers(item: Any, definition: ToolDefinition) -> None:
    """Tool definitions as Anthropic, MCP and OpenAI write them."""
    assert messages.read_definitions([item]) == (definition,)


@given(
    some.json_objects().map(json.dumps)
    | some.raw_texts()
    | st.sampled_from(['{"a":":"}', ' {"a" : 1} ', '{"a":{"b":1,"b":1}}'])
)
@settings(deadline=None)
def test_text_that_validation_left_as_text_stays_text(text: str) -> None:
    """Where validation keeps the model's words, since they are no JSON object, reading keeps them too."""
    if parse_arguments(text) is text:
        assert parts.arguments(text) is text
    else:
        assert parts.arguments(text) in (text, parse_arguments(text))


def test_arguments_as_deep_as_validation_takes_them_read_back() -> None:
    """A dict of 200 levels goes out and comes back, although the fast JSON writer and reader stop earlier."""
    deep: dict[str, Any] = {}
    for _ in range(199):
        deep = {"a": deep}
    message = Message("assistant", (ToolCall("f", deep),))
    assert messages.read_messages(messages.write_messages((message,)), "user") == (message,)


def test_a_message_with_a_cache_is_written_once() -> None:
    """The text of a message or definition is kept in its cache where it has one; without one nothing is kept."""
    message, tool = Message("user", (Text("hi"),), cache={}), ToolDefinition("f", cache={})
    first = messages.write_messages((message,)), messages.write_definitions((tool,))
    assert [len(held.cache or ()) for held in (message, tool)] == [1, 1]
    held = next(iter(message.cache or {}))
    message.cache[held] = "KEPT"  # type: ignore[index]
    assert messages.write_messages((message, message)) == "[KEPT,KEPT]"
    bare = Message("user", (Text("hi"),)), ToolDefinition("f")
    assert (messages.write_messages(bare[:1]), messages.write_definitions(bare[1:])) == first
    assert [held.cache for held in bare] == [None, None]
