"""Google's contents, tools and parameters in llmtrace's words: as JSON that is sent (``functionCall``) or as the SDK's models
(``function_call``).

Law: nothing raises and nothing is lost: a part of a kind that is not known here is kept whole as `Generic`. Thought signatures
are no content.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._openai_messages import modality
from llmtrace.instrumentation._stainless import members
from llmtrace.model import (
    Blob,
    File,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
)
from llmtrace.validation.tool_definitions import read_definition, standard_schema

CODE_EXECUTION = "code_execution"

_ROLES = {"model": "assistant", "function": "tool"}
_URL_SAFE = str.maketrans("-_", "+/")
_HELD = "generativelanguage.googleapis.com"
"""The host of the files that are uploaded to the Gemini API."""
_KINDS = frozenset(
    {"function_call", "function_response", "inline_data", "file_data", "executable_code", "code_execution_result"}
    | {"tool_call", "tool_response"}
)
_BESIDE = frozenset(("thought", "thought_signature", "video_metadata", "media_resolution", "part_metadata"))
"""Members of a part that say something of it, and are none of its kinds."""


def python_members(thing: Any) -> Mapping[str, Any]:
    """Return the members of a model or JSON object by their Python names."""
    fields = members(thing)
    if type(thing) is dict and any(not key.islower() for key in fields if isinstance(key, str)):
        return {snake(key): member for key, member in fields.items()}
    return fields


@lru_cache(maxsize=512)
def snake(name: str) -> str:
    """Convert a name: ``maxOutputTokens`` becomes ``max_output_tokens``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def word(value: Any) -> str:
    return str(getattr(value, "value", value))


def read_content(raw: Any) -> Message:
    """Read one message of a request's ``contents``."""
    content = python_members(raw)
    parts = tuple(read_parts(content.get("parts")))
    role = str(to_json(content.get("role")) or "user")
    if parts and any(isinstance(part, ToolResult) for part in parts) and not any(isinstance(part, Text) for part in parts):
        role = "tool"  # what functions answered comes from the "user"
    return Message(_ROLES.get(role, role), parts, cache={})


def read_parts(raw: Any) -> Iterator[Part]:
    for raw_part in raw if isinstance(raw, (list, tuple)) else ():
        part = {name: member for name, member in python_members(raw_part).items() if member is not None}
        try:
            yield from _read_part(part)
        except Exception:  # not in the form that its kind has
            yield _generic(part)


def _read_part(part: Mapping[str, Any]) -> Iterator[Part]:
    kind = next((name for name in part if name in _KINDS), None)
    if kind is None:
        if part.get("text"):
            yield Reasoning(part["text"]) if part.get("thought") else Text(part["text"])
        elif "text" not in part and part.keys() - _BESIDE:
            yield _generic(part)
        return
    value = python_members(part[kind])
    if kind == "function_call":
        yield ToolCall(str(value.get("name") or ""), to_json(value.get("args") or {}), value.get("id"))
    elif kind == "function_response":
        yield ToolResult(to_json(value.get("response")), value.get("id"))
        yield from read_parts(value.get("parts"))
    elif kind in ("inline_data", "file_data"):
        yield _inline_data(value) if kind == "inline_data" else _file_data(value)
    elif kind == "executable_code":
        yield server_call(CODE_EXECUTION, _set_members(value, "language", "code"), value.get("id"))
    elif kind == "code_execution_result":
        yield server_result(CODE_EXECUTION, _set_members(value, "outcome", "output"), value.get("id"))
    elif kind == "tool_call":
        yield server_call(_tool_type(value), {"args": to_json(value.get("args") or {})}, value.get("id"))
    else:
        yield server_result(_tool_type(value), {"response": to_json(value.get("response"))}, value.get("id"))


def _tool_type(value: Mapping[str, Any]) -> str:
    return word(value.get("tool_type") or "").lower()


def _set_members(value: Mapping[str, Any], *names: str) -> dict[str, JsonValue]:
    return {name: to_json(value[name]) for name in names if value.get(name) is not None}


def _generic(part: Mapping[str, Any]) -> Generic:
    kind = next((name for name in part if name not in _BESIDE and name != "text"), "part")
    return Generic(kind, {name: to_json(member) for name, member in part.items() if name != "thought_signature"})


def _inline_data(blob: Mapping[str, Any]) -> Part:
    data, mime = blob.get("data"), blob.get("mime_type")
    content = base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data and str(data).translate(_URL_SAFE)
    return Blob(modality(mime), mime, content)


def _file_data(file: Mapping[str, Any]) -> Part:
    uri, mime = str(file["file_uri"]), file.get("mime_type")
    _, separator, name = uri.partition("/files/")
    return File(f"files/{name}", modality(mime), mime) if separator and _HELD in uri else Uri(uri, modality(mime), mime)


def server_call(kind: str, fields: Mapping[str, JsonValue], id: str | None = None) -> ServerToolCall:  # noqa: A002
    """Return a call of a tool that Google runs, with its kind as the conventions require."""
    return ServerToolCall(kind, {"type": kind, **fields}, id)


def server_result(kind: str, fields: Mapping[str, JsonValue], id: str | None = None) -> ServerToolResult:  # noqa: A002
    return ServerToolResult({"type": kind, **fields}, id)


# -- tools and parameters, as they are sent

_NAMES = {"max_output_tokens": "max_tokens", "candidate_count": "choice.count"}
_JSON = "application/json"


def read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """Read ``tools``: functions, and tools that Google runs itself (``googleSearch``, ``codeExecution`` …)."""
    return tuple(definition for tool in raw for definition in _definitions(python_members(tool)))


def _definitions(tool: Mapping[str, Any]) -> Iterator[ToolDefinition]:
    for name, value in tool.items():
        if name == "function_declarations":
            yield from (read_definition(to_json(declaration)) for declaration in value or ())
        elif value is not None:
            yield ToolDefinition(name, type=name, cache={})


def read_parameters(body: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Read the parameters of a request's body: all but contents, system instruction and tools."""
    parameters: dict[str, JsonValue] = {}
    config = python_members(body.get("generation_config") or {})
    for name, value in config.items():
        if value is not None:
            parameters[_NAMES.get(name, name)] = to_json(value)
    top_k = parameters.get("top_k")
    if isinstance(top_k, float) and top_k.is_integer():
        parameters["top_k"] = int(top_k)
    level = python_members(config.get("thinking_config") or {}).get("thinking_level")
    if level is not None:
        parameters["reasoning.level"] = word(level).lower()
    schemas = [parameters.pop(name, None) for name in ("response_schema", "response_json_schema")]
    schema = next((candidate for candidate in schemas if candidate is not None), None)
    if schema is not None and parameters.get("response_mime_type", _JSON) == _JSON:
        parameters["response_format"] = {"type": "json_schema", "json_schema": {"schema": standard_schema(schema)}}
    elif schema is not None:
        parameters["response_schema"] = schema
    for name in ("tool_config", "safety_settings", "cached_content", "labels"):
        if body.get(name):
            parameters[name] = to_json(body[name])
    return parameters
