"""Tool arguments and definitions as instrumentations write them: as JSON, or as a Python call's ``args`` and ``kwargs``."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmtrace.codec import messages
from llmtrace.codec.json_text import parsed
from llmtrace.model import JsonValue, ToolDefinition, replace

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_NAMES: Final = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "max_tokens_to_sample": "max_tokens",
    "maxTokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "n": "choice.count",
    "candidate_count": "choice.count",
    "stop": "stop_sequences",
    "stopSequences": "stop_sequences",
    "topP": "top_p",
    "topK": "top_k",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}


def parameters(request: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return request parameters under the conventions' names, without those that are null."""
    renamed: dict[str, JsonValue] = {}
    for name, value in request.items():
        if value is not None:
            renamed.setdefault(_NAMES.get(name, name), value)
    if isinstance(renamed.get("stop_sequences"), str):
        renamed["stop_sequences"] = [renamed["stop_sequences"]]
    return renamed


def definition(item: JsonValue) -> ToolDefinition | None:
    """Read a tool's definition, as JSON text or object, in the shape of any API. Returns None for anything else."""
    item = parsed(item)
    if not isinstance(item, Mapping):
        return None
    tool = next(iter(messages.read_definitions([item]) or ()), None)
    if tool is None or not (tool.name or tool.parameters):
        return None
    return tool if isinstance(tool.parameters, (Mapping, bool, type(None))) else replace(tool, parameters=None)


def definitions(items: JsonValue) -> tuple[ToolDefinition, ...]:
    """Read the tools on offer: a list of definitions, or a single one. Anything else is left out."""
    listed = items if isinstance(items, (list, tuple)) else [items]
    return tuple([tool for item in listed if (tool := definition(item)) is not None])


def schema_of(parameters: JsonValue) -> dict[str, Any] | None:
    """Return a tool's parameters as JSON Schema, from a schema or a mapping of names to schemas. None for anything else.

    In a mapping, as smolagents and LlamaIndex write it, a parameter that is nullable or has a default may be left out.
    """
    if not isinstance(parameters, Mapping):
        return None
    if parameters.get("type") == "object" or isinstance(parameters.get("properties"), Mapping) or "$ref" in parameters:
        return dict(parameters)
    if not all(
        isinstance(parameter, Mapping) and ("type" in parameter or "anyOf" in parameter) for parameter in parameters.values()
    ):
        return None
    needed = [
        name for name, parameter in parameters.items() if parameter.get("nullable") is not True and "default" not in parameter
    ]
    return {
        "type": "object",
        "properties": {name: _property(parameter) for name, parameter in parameters.items()},
        "required": needed,
    }


def _property(parameter: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return one parameter's schema without types that JSON Schema does not have (any, image, audio)."""
    schema = dict(parameter)
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "type" in schema and not all(name in _TYPES for name in kinds if isinstance(name, str)):
        del schema["type"]
    elif schema.get("nullable") is True and "type" in schema:
        schema["type"] = [*kinds, "null"]
    schema.pop("nullable", None)
    return schema


def arguments(recorded: JsonValue, definition: ToolDefinition | None) -> JsonValue:
    """Return the arguments that a recorded input holds: an object, or what the writer wrote instead of one.

    Some writers record a tool's only argument without its name. It is not wrapped in an object, since the tool's schema must
    not be applied to an object that llmtrace made (`ToolExecution.arguments`).
    """
    recorded = parsed(recorded)
    if isinstance(recorded, str):
        return _of_text(recorded)
    if not isinstance(recorded, Mapping):
        return recorded
    positional, keywords = recorded.get("args", []), recorded.get("kwargs", {})
    # a tool may itself have a parameter that is called kwargs
    is_call = "kwargs" in recorded and (len(recorded) == 1 or "args" in recorded) and "kwargs" not in _names_of(definition)
    if is_call and isinstance(positional, (list, tuple)) and isinstance(keywords, Mapping):
        bound = _bound(positional, keywords, definition)
        return _unbound(positional, keywords) if bound is None else bound
    return dict(recorded)


def _unbound(positional: Sequence[JsonValue], keywords: Mapping[str, JsonValue]) -> JsonValue:
    """Return positional arguments whose names are not known: a list, or the argument itself if it is the only one."""
    if keywords:
        return [*positional, dict(keywords)]
    return positional[0] if len(positional) == 1 and not isinstance(positional[0], Mapping) else list(positional)


def _names_of(definition: ToolDefinition | None) -> list[str]:
    """Return the names of a tool's parameters."""
    schema = definition.parameters if definition is not None else None
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return list(properties) if isinstance(properties, Mapping) else []


def _bound(
    positional: Any, keywords: Mapping[str, JsonValue], definition: ToolDefinition | None
) -> dict[str, JsonValue] | None:
    """Return the arguments by name; None if the names of the positional ones are not known."""
    names = _names_of(definition)
    only = positional[0] if len(positional) == 1 and not keywords else None
    if names and isinstance(only, Mapping) and set(only) <= set(names):
        return dict(only)  # one dict of all arguments, as some frameworks pass it
    if len(positional) > len(names):
        return None
    return {**dict(zip(names, positional, strict=False)), **keywords}


def _of_text(text: str) -> JsonValue:
    if text.lstrip().startswith("{"):
        try:
            value = ast.literal_eval(text.strip()) if len(text) < 100_000 else None  # str() of a dict
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return value if isinstance(value, dict) and all(isinstance(name, str) for name in value) else text
    return text or None
