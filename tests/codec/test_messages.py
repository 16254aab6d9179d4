"""Messages, parts and tool definitions of other writers are read, and the text of a message is cached."""

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
    result = messages.read_messages(list(items), role)
    assert result is not None
    return result


@given(some.json_values())
@settings(deadline=None)
def test_any_value_is_read(value: Any) -> None:
    """Any item of a list becomes a message, and any item of a message becomes a part."""
    read(value, {"role": value, "parts": value}, {"content": value, "tool_calls": value}, {"parts": [value, {"type": value}]})
    for kind in ("text", "tool_call", "blob", "uri", "file", "server_tool_call", "image_url", "reasoning", "compaction"):
        parts.read({"type": kind, "content": value, "uri": value, "id": value, "arguments": value, "image_url": value})
    messages.read_definitions(value)


@given(some.parts())
@settings(deadline=None)
def test_a_part_reads_back(part: Part) -> None:
    """read(write(part)) == part, whether its type is known or not."""
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
        ({"type": "image_url", "image_url": {"url": "/files/a.png"}}, Uri("/files/a.png", "image")),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}, Blob("image", "image/png", "aGk=")),
        ({"type": "blob", "mime_type": "audio/wav", "content": "aGk="}, Blob("audio", "audio/wav", "aGk=")),
        ({"type": "hologram", "beam": 1}, Generic("hologram", {"beam": 1})),
        ({"beam": 1}, Generic("", {"beam": 1})),
        (5, Generic("", {"value": 5})),
    ],
)
def test_parts_of_other_writers(item: Any, part: Part) -> None:
    """Known forms are read, unknown ones become generic parts with all members."""
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
    """Messages may lack a role or parts, and may have the form of OpenAI's API."""
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
    """Tool definitions may have the form of Anthropic, MCP or OpenAI."""
    assert messages.read_definitions([item]) == (definition,)


@given(
    some.json_objects().map(json.dumps)
    | some.raw_texts()
    | st.sampled_from(['{"a":":"}', ' {"a" : 1} ', '{"a":{"b":1,"b":1}}'])
)
@settings(deadline=None)
def test_text_that_validation_left_as_text_stays_text(text: str) -> None:
    """If validation does not parse the model's text, since it is not a JSON object, reading does not either."""
    if parse_arguments(text) is text:
        assert parts.arguments(text) is text
    else:
        assert parts.arguments(text) in (text, parse_arguments(text))


def test_arguments_may_be_as_deep_as_validation_allows() -> None:
    """A dict with 200 levels is restored, although the fast JSON writer and reader stop earlier."""
    deep: dict[str, Any] = {}
    for _ in range(199):
        deep = {"a": deep}
    message = Message("assistant", (ToolCall("f", deep),))
    assert messages.read_messages(messages.write_messages((message,)), "user") == (message,)


def test_a_message_with_a_cache_is_written_once() -> None:
    """The text of a message or definition is stored in its cache, if it has one."""
    message, tool = Message("user", (Text("hi"),), cache={}), ToolDefinition("f", cache={})
    first = messages.write_messages((message,)), messages.write_definitions((tool,))
    assert [len(item.cache or ()) for item in (message, tool)] == [1, 1]
    key = next(iter(message.cache or {}))
    message.cache[key] = "CACHED"  # type: ignore[index]
    assert messages.write_messages((message, message)) == "[CACHED,CACHED]"
    uncached = Message("user", (Text("hi"),)), ToolDefinition("f")
    assert (messages.write_messages(uncached[:1]), messages.write_definitions(uncached[1:])) == first
    assert [item.cache for item in uncached] == [None, None]
