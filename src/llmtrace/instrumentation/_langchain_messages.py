"""LangChain's messages, tools and results as values of the model. Read by attribute: no class of LangChain's is needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json as dump

from llmtrace.content import to_json
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
FINISH_REASONS = {
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "end_turn": "stop",
    "STOP": "stop",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
}
"""The provider's word to the conventions', where they differ."""


def is_message(thing: Any) -> bool:
    return hasattr(thing, "content") and hasattr(thing, "type") and hasattr(thing, "additional_kwargs")


def read_message(message: Any, finish_reason: str | None = None) -> Message:
    role = getattr(message, "role", None) or _ROLES.get(message.type, message.type)
    if role == "tool":
        return Message("tool", (ToolResult(_told(message.content), getattr(message, "tool_call_id", None)),))
    parts = tuple(_parts(message.content))
    calls = tuple(ToolCall(call["name"], to_json(call["args"]), call.get("id")) for call in getattr(message, "tool_calls", ()))
    broken = tuple(
        ToolCall(call.get("name") or "", call.get("args") or "", call.get("id"))
        for call in getattr(message, "invalid_tool_calls", ())
    )
    return Message(role, (*parts, *calls, *broken), name=getattr(message, "name", None), finish_reason=finish_reason)


def _told(content: Any) -> JsonValue:
    """A tool's answer: its text, or its blocks."""
    blocks = content if isinstance(content, list) else [content]
    texts = [each.get("text") if isinstance(each, Mapping) else each for each in blocks]
    plain_text = [each for each in texts if isinstance(each, str)]
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
        found = block.get("image_url")
        return _uri(str(found.get("url") if isinstance(found, Mapping) else found), "image")
    if kind in ("image", "audio", "video", "file"):
        data = block.get("base64") or block.get("data")
        if isinstance(data, str):
            return Blob(kind, block.get("mime_type"), data)
        if isinstance(block.get("url"), str):
            return Uri(block["url"], kind, block.get("mime_type"))
    return Generic(str(kind or "unknown"), {name: to_json(each) for name, each in block.items() if name != "type"})


def _uri(url: str, modality: str) -> Part:
    if not url.startswith("data:"):
        return Uri(url, modality)
    head, _, data = url.removeprefix("data:").partition(",")
    return Blob(modality, head.partition(";")[0] or None, data)


def read_usage(message: Any) -> Usage | None:
    said = getattr(message, "usage_metadata", None)
    if not said:
        return None
    read, written = said.get("input_token_details") or {}, said.get("output_token_details") or {}
    hour, minutes = read.get("ephemeral_1h_input_tokens"), read.get("ephemeral_5m_input_tokens")
    kept = [count for count in (read.get("cache_creation"), hour, minutes) if count is not None]  # beside each other there
    return Usage(
        said.get("input_tokens"),
        said.get("output_tokens"),
        read.get("cache_read"),
        sum(kept) if kept else None,
        written.get("reasoning"),
        hour or None,
        read.get("audio") or None,
        written.get("audio") or None,
        read.get("image") or None,
        written.get("image") or None,
    )


def read_reason(metadata: Mapping[str, Any]) -> str | None:
    reason = next((metadata[key] for key in ("finish_reason", "stop_reason", "done_reason") if metadata.get(key)), None)
    return None if reason is None else FINISH_REASONS.get(str(reason), str(reason))


# -- what goes into an agent or graph, and comes out


def read_input(state: Any) -> tuple[Message, ...]:
    """The state that an agent or graph starts from: its messages, or the whole of it as text."""
    messages = _messages(state)
    return (Message("user", (Text(text_of(state)),)),) if messages is None else messages


def read_output(state: Any) -> tuple[Message, ...]:
    """What it came to: its last message, or the whole state as text."""
    messages = _messages(state)
    return (Message("assistant", (Text(text_of(state)),)),) if messages is None else messages[-1:]


def _messages(state: Any) -> tuple[Message, ...] | None:
    said = (
        state.get("messages")
        if isinstance(state, Mapping)
        else [state]
        if is_message(state)
        else getattr(state, "messages", None)
    )
    if not isinstance(said, (list, tuple)):
        return None
    return tuple(found for found in map(_any_message, said) if found is not None)


def _any_message(said: Any) -> Message | None:
    """A message in any of the forms that LangChain takes."""
    if is_message(said):
        return read_message(said)
    if isinstance(said, str):
        return Message("user", (Text(said),))
    if isinstance(said, (list, tuple)) and len(said) == 2:
        return Message(_ROLES.get(said[0], str(said[0])), tuple(_parts(said[1])))
    if isinstance(said, Mapping) and "role" in said:
        return Message(_ROLES.get(said["role"], str(said["role"])), tuple(_parts(said.get("content") or "")))
    return None


def text_of(thing: Any) -> str:
    found = plain(thing)
    return found if isinstance(found, str) else dump(found).decode()


def plain(thing: Any) -> JsonValue:
    """Anything as JSON; messages in it as role and content."""
    if is_message(thing):
        return {"role": _ROLES.get(thing.type, thing.type), "content": to_json(thing.content)}
    if isinstance(thing, Mapping):
        return {str(key): plain(each) for key, each in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(each) for each in thing]
    return to_json(thing)


# -- tools

_definitions: dict[int, tuple[weakref.ref[Any], ToolDefinition]] = {}
"""By the id of the tool, as long as it is that tool's."""


def definition_of(tool: Any) -> ToolDefinition | None:
    """The tool as a model is told of it: without the arguments that the framework itself puts in."""
    known = _definitions.get(id(tool))
    if known is not None and known[0]() is tool:
        return known[1]
    made = ToolDefinition(tool.name, guard(_schema, tool), tool.description or None)
    if len(_definitions) > 1024:
        _definitions.clear()
    _definitions[id(tool)] = weakref.ref(tool), made
    return made


def _schema(tool: Any) -> JsonValue:
    schema = tool.tool_call_schema
    if isinstance(schema, Mapping):
        return to_json(dict(schema))
    return schema.model_json_schema() if hasattr(schema, "model_json_schema") else schema.schema()


def read_result(output: Any) -> tuple[JsonValue, str | None]:
    """What a tool gave, and what it says went wrong if that was an error which its caller turned into an answer."""
    if is_message(output):
        told = _told(output.content)
        return told, (told if isinstance(told, str) else "") if getattr(output, "status", None) == "error" else None
    return plain(output), None
