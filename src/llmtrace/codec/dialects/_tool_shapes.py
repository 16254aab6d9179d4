"""What a tool was given, as instrumentations write it: bare arguments, or a Python call's ``args`` and ``kwargs``."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmtrace.codec import messages
from llmtrace.codec.dialects._span_reader import parsed
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
}


def parameters(said: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Request parameters under the conventions' names; those that are null were not given."""
    found: dict[str, JsonValue] = {}
    for name, value in said.items():
        if value is not None:
            found.setdefault(_NAMES.get(name, name), value)
    if isinstance(found.get("stop_sequences"), str):
        found["stop_sequences"] = [found["stop_sequences"]]
    return found


def definition(item: JsonValue) -> ToolDefinition | None:
    """A tool's definition, as JSON text or object, in any of the shapes that APIs know."""
    item = parsed(item)
    if not isinstance(item, Mapping):
        return None
    if isinstance(item.get("toolSpec"), Mapping):  # Bedrock
        item = item["toolSpec"]
    schema = item.get("inputSchema")
    if isinstance(schema, Mapping):  # Vercel's jsonSchema, Bedrock's json
        item = {**item, "inputSchema": schema.get("jsonSchema") or schema.get("json") or schema}
    found = messages.read_definitions([item])
    if not found or not (found[0].name or found[0].parameters):
        return None
    return found[0] if isinstance(found[0].parameters, (Mapping, bool, type(None))) else replace(found[0], parameters=None)


def schema_of(held: JsonValue) -> dict[str, Any] | None:
    """A tool's parameters as JSON Schema: a schema as it is, a mapping of names to schemas made one. None: it is neither.

    In a mapping, as smolagents and LlamaIndex write it, a parameter that is nullable or has a default may be left out.
    """
    if not isinstance(held, Mapping):
        return None
    if held.get("type") == "object" or isinstance(held.get("properties"), Mapping) or "$ref" in held:
        return dict(held)
    if not all(isinstance(one, Mapping) and ("type" in one or "anyOf" in one) for one in held.values()):
        return None
    needed = [name for name, one in held.items() if one.get("nullable") is not True and "default" not in one]
    return {"type": "object", "properties": {name: _property(one) for name, one in held.items()}, "required": needed}


def _property(said: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A type that JSON Schema has no word for (any, image, audio) says nothing that can be checked."""
    made = dict(said)
    kind = made.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "type" in made and not all(one in _TYPES for one in kinds if isinstance(one, str)):
        del made["type"]
    elif made.get("nullable") is True and "type" in made:
        made["type"] = [*kinds, "null"]
    made.pop("nullable", None)
    return made


def arguments(said: JsonValue, known: ToolDefinition | None) -> JsonValue:
    """The arguments that an input tells of: an object, or what the writer wrote instead of one, as it is.

    Some writers give a tool's only argument without its name. It stays as it is, since a value that was wrapped on the way in
    must not be judged by the tool's schema (`ToolExecution.arguments`).
    """
    said = parsed(said)
    if isinstance(said, str):
        return _of_text(said)
    if not isinstance(said, Mapping):
        return said
    given, named = said.get("args", []), said.get("kwargs", {})
    is_call = "kwargs" in said and (len(said) == 1 or "args" in said) and not _takes("kwargs", known)
    if is_call and isinstance(given, (list, tuple)) and isinstance(named, Mapping):
        bound = _bound(given, named, known)
        return _unbound(given, named) if bound is None else bound
    return dict(said)


def _unbound(given: Sequence[JsonValue], named: Mapping[str, JsonValue]) -> JsonValue:
    """Positional arguments whose names are not known: a list, or the only one."""
    if named:
        return [*given, dict(named)]
    return given[0] if len(given) == 1 and not isinstance(given[0], Mapping) else list(given)


def _takes(name: str, known: ToolDefinition | None) -> bool:
    """Whether a parameter of the tool has this name."""
    schema = known.parameters if known is not None else None
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return isinstance(properties, Mapping) and name in properties


def _bound(given: Any, named: Mapping[str, JsonValue], known: ToolDefinition | None) -> dict[str, JsonValue] | None:
    """Positional arguments by name; None where their names are not known."""
    schema = known.parameters if known is not None and isinstance(known.parameters, Mapping) else {}
    properties = schema.get("properties")
    names = list(properties) if isinstance(properties, Mapping) else []
    if len(given) == 1 and isinstance(given[0], Mapping) and not named and set(given[0]) <= set(names) and len(names) > 0:
        return dict(given[0])  # one dict of all arguments, as some frameworks pass it
    if len(given) > len(names):
        return None
    return {**dict(zip(names, given, strict=False)), **named}


def _of_text(said: str) -> JsonValue:
    if said.lstrip().startswith("{"):
        try:
            found = ast.literal_eval(said.strip()) if len(said) < 100_000 else None  # str() of a dict
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return said
        return found if isinstance(found, dict) and all(isinstance(name, str) for name in found) else said
    return said or None
