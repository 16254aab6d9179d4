"""Writes a part of a message as a JSON object and reads it back, also from the forms of the OpenAI and Anthropic APIs.

``type`` names the class of the part; the other members are its fields. Laws: ``read(write(part)) == part``, and `read` accepts
any value. A part with an unknown type, or with members that do not fit its type, becomes a `Generic` with all its members.
Members that a known type does not have are lost.
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


def _read_text(item: _Item) -> Part | None:
    content = json_members.text(item, "content", "text")
    if content is None and json_members.first(item, "content", "text") is None:
        content = ""
    return None if content is None else Text(content)


def _read_reasoning(item: _Item) -> Part | None:
    content = json_members.text(item, "content", "thinking", "text")
    return None if content is None else Reasoning(content)


def _read_tool_call(item: _Item) -> Part:
    return ToolCall(
        name=json_members.text(item, "name") or "",
        arguments=arguments(json_members.first(item, "arguments", "input")),
        id=json_members.text(item, "id", "call_id"),
    )


def _read_tool_result(item: _Item) -> Part:
    return ToolResult(
        response=json_members.first(item, "response", "result", "content", "output"),
        id=json_members.text(item, "id", "tool_use_id", "call_id"),
    )


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


def _read_image_url(item: _Item) -> Part | None:
    image = item.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        return None
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return Blob("image", head[len("data:") : -len(";base64")] or None, data)
    return Uri(url, "image")


_READERS: Final[dict[str, Callable[[_Item], Part | None]]] = {
    "text": _read_text,
    "reasoning": _read_reasoning,
    "tool_call": _read_tool_call,
    "tool_call_response": _read_tool_result,
    "blob": _read_blob,
    "uri": _read_uri,
    "file": _read_file,
    "server_tool_call": _read_server_tool_call,
    "server_tool_call_response": _read_server_tool_result,
    "compaction": _read_compaction,
    # names of OpenAI
    "input_text": _read_text,
    "output_text": _read_text,
    "image_url": _read_image_url,
    "function_call": _read_tool_call,
    "function_call_output": _read_tool_result,
    # names of Anthropic
    "thinking": _read_reasoning,
    "tool_use": _read_tool_call,
    "tool_result": _read_tool_result,
}
