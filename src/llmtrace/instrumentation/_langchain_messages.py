"""LangChain's messages, tools and results as values of the model. Read by attribute: no class of LangChain's is needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json as dump

from llmtrace.codec import finish_reasons as words
from llmtrace.content import to_json
from llmtrace.instrumentation._openai_messages import data_url
from llmtrace.model import (
    Blob,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.recorder.guard import guard

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "function": "tool", "HumanMessageChunk": "user"}
_CALLS = frozenset({"tool_call", "tool_use", "tool_call_chunk", "invalid_tool_call", "input_json_delta", "function_call"})
"""Blocks that say again what the message's ``tool_calls`` say."""


def is_message(thing: Any) -> bool:
    return hasattr(thing, "content") and hasattr(thing, "type") and hasattr(thing, "additional_kwargs")


def read_message(message: Any, finish_reason: str | None = None) -> Message:
    role = getattr(message, "role", None) or _ROLES.get(message.type, message.type)
    if role == "tool":
        return Message("tool", (ToolResult(_tool_text(message.content), getattr(message, "tool_call_id", None)),))
    parts = tuple(_parts(message.content))
    calls = tuple(ToolCall(call["name"], to_json(call["args"]), call.get("id")) for call in getattr(message, "tool_calls", ()))
    broken = tuple(
        ToolCall(call.get("name") or "", call.get("args") or "", call.get("id"))
        for call in getattr(message, "invalid_tool_calls", ())
    )
    return Message(role, (*parts, *calls, *broken), name=getattr(message, "name", None), finish_reason=finish_reason)


def _tool_text(content: Any) -> JsonValue:
    """Return a tool's answer: its text, or its blocks as JSON."""
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, Mapping) else block for block in blocks]
    plain_text = [block for block in texts if isinstance(block, str)]
    return "".join(plain_text) if len(plain_text) == len(blocks) else to_json(content)


def _parts(content: Any) -> Iterator[Part]:
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            if block:
                yield Text(block)
        elif isinstance(block, Mapping) and block.get("type") not in _CALLS:
            yield _part(block)


def _part(block: Mapping[str, Any]) -> Part:
    kind = block.get("type")
    if kind == "text":
        return Text(str(block.get("text", "")))
    if kind in ("reasoning", "thinking"):
        return Reasoning(str(block.get("reasoning") or block.get("thinking") or block.get("text") or ""))
    if kind == "image_url":
        image = block.get("image_url")
        url = str(image.get("url") if isinstance(image, Mapping) else image)
        return data_url(url, "image") if url.startswith("data:") else Uri(url, "image")
    if kind in ("image", "audio", "video", "file"):
        data = block.get("base64") or block.get("data")
        if isinstance(data, str):
            return Blob(kind, block.get("mime_type"), data)
        if isinstance(block.get("url"), str):
            return Uri(block["url"], kind, block.get("mime_type"))
    return Generic(str(kind or "unknown"), {name: to_json(value) for name, value in block.items() if name != "type"})


def read_usage(message: Any) -> Usage | None:
    usage = getattr(message, "usage_metadata", None)
    if not usage:
        return None
    read, written = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    hour, minutes = read.get("ephemeral_1h_input_tokens"), read.get("ephemeral_5m_input_tokens")
    written_there = (read.get("cache_creation"), hour, minutes)  # beside each other
    cache_writes = [count for count in written_there if count is not None]
    return Usage(
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        read.get("cache_read"),
        sum(cache_writes) if cache_writes else None,
        written.get("reasoning"),
        hour or None,
        read.get("audio") or None,
        written.get("audio") or None,
        read.get("image") or None,
        written.get("image") or None,
    )


def read_reason(metadata: Mapping[str, Any]) -> str | None:
    reason = next((metadata[key] for key in ("finish_reason", "stop_reason", "done_reason") if metadata.get(key)), None)
    return None if reason is None else words.finish_reason(str(reason))


# -- what goes into an agent or graph, and comes out


def read_input(state: Any) -> tuple[Message, ...]:
    """Read the state that an agent or graph starts from: its messages, or all of it as text."""
    messages = _messages(state)
    return (Message("user", (Text(text_of(state)),)),) if messages is None else messages


def read_output(state: Any) -> tuple[Message, ...]:
    """Read the final state: its last message, or all of it as text."""
    messages = _messages(state)
    return (Message("assistant", (Text(text_of(state)),)),) if messages is None else messages[-1:]


def _messages(state: Any) -> tuple[Message, ...] | None:
    if isinstance(state, Mapping):
        messages = state.get("messages")
    else:
        messages = [state] if is_message(state) else getattr(state, "messages", None)
    if isinstance(messages, str):
        messages = [messages]
    if not isinstance(messages, (list, tuple)):
        return None
    return tuple(message for message in map(_any_message, messages) if message is not None)


def _any_message(raw: Any) -> Message | None:
    if is_message(raw):
        return read_message(raw)
    if isinstance(raw, str):
        return Message("user", (Text(raw),))
    if isinstance(raw, (list, tuple)) and len(raw) == 2:
        return Message(_ROLES.get(raw[0], str(raw[0])), tuple(_parts(raw[1])))
    if isinstance(raw, Mapping) and "role" in raw:
        return Message(_ROLES.get(raw["role"], str(raw["role"])), tuple(_parts(raw.get("content") or "")))
    return None


def text_of(thing: Any) -> str:
    value = plain(thing)
    return value if isinstance(value, str) else dump(value).decode()


def plain(thing: Any) -> JsonValue:
    if is_message(thing):
        return {"role": _ROLES.get(thing.type, thing.type), "content": to_json(thing.content)}
    if isinstance(thing, Mapping):
        return {str(key): plain(element) for key, element in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(element) for element in thing]
    return to_json(thing)


_definitions: dict[int, tuple[weakref.ref[Any], ToolDefinition]] = {}
"""By the id of the tool, as long as it is that tool's."""


def definition_of(tool: Any) -> ToolDefinition | None:
    """Return the tool's definition as the model sees it, without arguments that the framework injects."""
    cached = _definitions.get(id(tool))
    if cached is not None and cached[0]() is tool:
        return cached[1]
    definition = ToolDefinition(tool.name, guard(_schema, tool), tool.description or None)
    if len(_definitions) > 1024:
        _definitions.clear()
    _definitions[id(tool)] = weakref.ref(tool), definition
    return definition


def _schema(tool: Any) -> JsonValue:
    schema = tool.tool_call_schema
    if isinstance(schema, Mapping):
        return to_json(dict(schema))
    return schema.model_json_schema() if hasattr(schema, "model_json_schema") else schema.schema()


def read_result(output: Any) -> tuple[JsonValue, str | None]:
    """Return a tool's result, and its error message if the framework turned an error into an answer."""
    if is_message(output):
        content = _tool_text(output.content)
        return content, (content if isinstance(content, str) else "") if getattr(output, "status", None) == "error" else None
    return plain(output), None
