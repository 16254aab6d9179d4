"""Writes a part of a message as a JSON object and reads it back, also from the shapes of providers' and frameworks' APIs.

``type`` names the class of the part; the other members are its fields. No other module knows how OpenAI, Anthropic, Bedrock,
Google, Genkit and the AI SDK write texts, tool calls and results. Laws: ``read(write(part)) == part``, and `read` accepts any
value. A part with an unknown type, or with members that do not fit its type, becomes a `Generic` with all its members. Members
that a known type does not have are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pydantic_core import from_json

from llmtrace.codec import json_members, json_text
from llmtrace.model import (
    Blob,
    Compaction,
    File,
    Generic,
    JsonValue,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Uri,
)
from llmtrace.semconv import GENERIC_PART

_MEMBERS: Final[dict[type, tuple[str, tuple[str, ...]]]] = {
    Text: ("text", ("content",)),
    Reasoning: ("reasoning", ("content",)),
    ToolCall: ("tool_call", ("id", "name", "arguments")),
    ToolResult: ("tool_call_response", ("id", "response")),
    Blob: ("blob", ("mime_type", "modality", "content", "digest", "size")),
    Uri: ("uri", ("mime_type", "modality", "uri")),
    File: ("file", ("mime_type", "modality", "file_id")),
    ServerToolCall: ("server_tool_call", ("id", "name", "server_tool_call")),
    ServerToolResult: ("server_tool_call_response", ("id", "server_tool_call_response")),
    Compaction: ("compaction", ("id", "content")),
}


def write(part: Part) -> str:
    """Return the JSON text of a part."""
    if type(part) is Text:  # most parts are texts, and the longest ones are
        return '{"type":"text","content":' + json_text.write(part.content) + "}"
    return json_text.write(item(part))


def item(part: Part) -> dict[str, JsonValue]:
    """Return a part as a JSON object, which shares its values."""
    if isinstance(part, Generic):
        return _generic(part)
    kind, names = _MEMBERS[type(part)]
    members: dict[str, JsonValue] = {"type": kind}
    for name in names:
        member = getattr(part, name)
        if member is not None or name == "response":  # the result of a tool may be null
            members[name] = member
    return members


def _generic(part: Generic) -> dict[str, JsonValue]:
    if part.type in _READERS or "type" in part.fields or GENERIC_PART in part.fields:
        return {"type": part.type, GENERIC_PART: part.fields}
    return {"type": part.type, **part.fields}


def read(item: JsonValue) -> Part:
    """Read a part from a JSON value."""
    if isinstance(item, str):
        return Text(item)
    if type(item) is not dict and not isinstance(item, Mapping):  # the first test is fast, and mostly true
        return Generic("", {"value": item})
    kind = item.get("type")
    if kind == "text" and type(content := item.get("content")) is str and GENERIC_PART not in item:  # most parts
        return Text(content)
    if kind is None:
        return _read_untyped(item) or Generic("", dict(item))
    if not isinstance(kind, str):
        return Generic("", dict(item))
    hidden = item.get(GENERIC_PART)
    if isinstance(hidden, Mapping):
        return Generic(kind, dict(hidden))
    reader = _READERS.get(kind)
    part = reader(item) if reader is not None else None
    return part if part is not None else Generic(kind, {name: member for name, member in item.items() if name != "type"})


def arguments(value: JsonValue) -> JsonValue:
    """Parse arguments of a tool call that are the text of one JSON object without duplicate keys. Others stay unchanged."""
    if not isinstance(value, str):
        return value
    parsed = json_text.read_object(value)
    if parsed is None:
        return value
    try:
        from_json(value, allow_inf_nan=False)  # NaN and Infinity are not JSON: the text stays as the model wrote it
    except (TypeError, ValueError):  # TypeError: half a surrogate pair
        return value
    return parsed


_Item: TypeAlias = Mapping[str, JsonValue]
_CALL_IDS: Final = ("call_id", "tool_use_id", "id", "tool_call_id", "toolCallId", "toolUseId", "ref")
"""Names of a tool call's id. The items of OpenAI's Responses API also have an ``id`` of their own."""


def call(item: _Item) -> ToolCall:
    """Read a tool call in the shape of any API. OpenAI's has name and arguments in an inner object."""
    function = item.get("function")
    if isinstance(function, Mapping):
        item = {**item, **function}
    return ToolCall(
        json_members.text(item, "name", "toolName") or "",
        arguments(json_members.first(item, "arguments", "input", "args")),
        json_members.text(item, *_CALL_IDS),
    )


def _read_result(item: _Item) -> ToolResult:
    response = json_members.first(item, "response", "result", "content", "output")
    return ToolResult(response, json_members.text(item, *_CALL_IDS))


def _read_wrapped_result(item: _Item) -> ToolResult:
    result = _read_result(item)
    return ToolResult(unwrap(result.response), result.id)


def _read_ai_sdk_result(item: _Item) -> ToolResult:
    result = _read_result(item)
    typed = result.response
    if isinstance(typed, Mapping) and isinstance(typed.get("type"), str) and "value" in typed:
        return ToolResult(typed["value"], result.id)
    return result


def unwrap(result: JsonValue) -> JsonValue:
    """Unwrap a tool's result: a list of one text becomes that text, a list of one JSON value that value."""
    if isinstance(result, (list, tuple)) and len(result) == 1 and isinstance(result[0], Mapping):
        only = result[0]
        if isinstance(only.get("text"), str) and set(only) <= {"text", "type"}:
            return json_text.parsed(only["text"])
        if set(only) == {"json"}:
            return only["json"]
    return result


def _read_untyped(item: _Item) -> Part | None:
    """Read a part of Bedrock's, Google's or Genkit's API: the name of its only member is its kind."""
    text = item.get("text")
    if isinstance(text, str):
        return Reasoning(text) if item.get("thought") is True else Text(text)
    if isinstance(item.get("reasoning"), str):
        return Reasoning(item["reasoning"])
    for name, reader in _UNTYPED.items():
        member = item.get(name)
        if isinstance(member, Mapping):
            return reader(member)
    return None


def _read_google_call(item: _Item) -> ToolCall:
    return call({**item, "args": item.get("args") or {}})


def _read_bedrock_reasoning(item: _Item) -> Part | None:
    text = item.get("reasoningText")
    return Reasoning(json_members.text(text, "text") or "") if isinstance(text, Mapping) else None


_UNTYPED: Final[dict[str, Callable[[_Item], Part | None]]] = {
    "toolUse": call,
    "toolResult": _read_wrapped_result,
    "reasoningContent": _read_bedrock_reasoning,
    "function_call": _read_google_call,
    "function_response": _read_result,
    "toolRequest": call,
    "toolResponse": _read_result,
}


def _read_text(item: _Item) -> Part | None:
    content = json_members.text(item, "content", "text")
    if content is None and json_members.first(item, "content", "text") is None:
        content = ""
    return None if content is None else Text(content)


def _read_reasoning(item: _Item) -> Part | None:
    content = json_members.text(item, "content", "thinking", "text")
    return None if content is None else Reasoning(content)


def _read_blob(item: _Item) -> Part | None:
    size = item.get("size")
    if not isinstance(item.get("content"), (str, type(None))):
        return None
    return Blob(
        modality=_modality(item),
        mime_type=json_members.text(item, "mime_type"),
        content=json_members.text(item, "content"),
        digest=json_members.text(item, "digest"),
        size=size if isinstance(size, int) else None,
    )


def _modality(item: _Item) -> str:
    modality = json_members.text(item, "modality")
    return modality if modality is not None else (json_members.text(item, "mime_type") or "").partition("/")[0]


def _read_uri(item: _Item) -> Part | None:
    uri = json_members.text(item, "uri", "url")
    return None if uri is None else Uri(uri, _modality(item), json_members.text(item, "mime_type"))


def _read_file(item: _Item) -> Part | None:
    file_id = json_members.text(item, "file_id", "id")
    return None if file_id is None else File(file_id, _modality(item), json_members.text(item, "mime_type"))


def _read_server_tool_call(item: _Item) -> Part | None:
    call = item.get("server_tool_call")
    if not isinstance(call, Mapping):
        return None
    return ServerToolCall(json_members.text(item, "name") or "", call, json_members.text(item, "id"))


def _read_server_tool_result(item: _Item) -> Part | None:
    response = item.get("server_tool_call_response")
    return ServerToolResult(response, json_members.text(item, "id")) if isinstance(response, Mapping) else None


def _read_compaction(item: _Item) -> Part | None:
    if not isinstance(item.get("content"), (str, type(None))):
        return None
    return Compaction(json_members.text(item, "content"), json_members.text(item, "id"))


def _read_image(item: _Item) -> Part | None:
    """Read OpenAI's ``image_url``, the AI SDK's ``image`` and OpenInference's ``image.image.url``."""
    image = json_members.first(item, "image_url", "image")
    while isinstance(image, Mapping):
        image = json_members.first(image, "url", "image")
    if not isinstance(image, str):
        return None
    mime_type = json_members.text(item, "mimeType", "mediaType")
    head, comma, data = image.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return Blob("image", head[len("data:") : -len(";base64")] or None, data)
    is_url = ":" in image or item.get("image_url") is not None  # base64 has no colon
    return Uri(image, "image", mime_type) if is_url else Blob("image", mime_type, image)


_READERS: Final[dict[str, Callable[[_Item], Part | None]]] = {
    "text": _read_text,
    "reasoning": _read_reasoning,
    "tool_call": call,
    "tool_call_response": _read_result,
    "blob": _read_blob,
    "uri": _read_uri,
    "file": _read_file,
    "server_tool_call": _read_server_tool_call,
    "server_tool_call_response": _read_server_tool_result,
    "compaction": _read_compaction,
    # names of OpenAI
    "input_text": _read_text,
    "output_text": _read_text,
    "image_url": _read_image,
    "function_call": call,
    "custom_tool_call": call,
    "function_call_output": _read_wrapped_result,
    "function_call_result": _read_wrapped_result,
    "custom_tool_call_output": _read_wrapped_result,
    # names of Anthropic
    "thinking": _read_reasoning,
    "tool_use": call,
    "tool_result": _read_result,
    # names of the AI SDK and of Bedrock
    "tool-call": call,
    "tool-result": _read_ai_sdk_result,
    "toolUse": call,
    "toolResult": _read_wrapped_result,
    "image": _read_image,
}
