"""Tool definitions and output schemas, read from the forms in which providers and protocols write them.

Law: never raises, whatever is handed over. Equal definitions give the same `ToolDefinition`, so that what is derived from it
(its compiled validator) is derived once, though programs build their definitions anew for each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue, ToolDefinition, changes_by_hints
from llmtrace.validation.annotations import known_to_pydantic
from llmtrace.validation.google_schema import standard_schema

_PARAMETERS = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema")
_OUTPUTS = ("outputSchema", "output_schema", "response_json_schema", "responseJsonSchema", "response")
_WRAPPERS = ("function", "custom", "toolSpec")


def read_definition(raw: Any) -> ToolDefinition:
    """One tool on offer, from any of these forms; what is in none of them becomes a definition by its name or type only.

    OpenAI chat ``{type, function: {name, parameters, strict}}`` and Responses ``{type, name, parameters, strict}``, Anthropic
    ``{name, input_schema}``, one of Google's ``function_declarations``, Bedrock ``{toolSpec: …}``, MCP
    ``{name, inputSchema, outputSchema}``, and bare ``{name, parameters}``.
    """
    if isinstance(raw, ToolDefinition):
        return raw
    try:
        return _known(to_json(raw))
    except Exception:  # something in it is no JSON
        return _definition(raw if isinstance(raw, Mapping) else {})


def is_definition(raw: Mapping[str, JsonValue]) -> bool:
    """Whether an object is a tool's definition, and not a JSON Schema."""
    named = isinstance(raw.get("name"), str) and any(key in raw for key in (*_PARAMETERS, "description"))
    return named or any(isinstance(raw.get(wrapper), Mapping) for wrapper in _WRAPPERS)


def unusable_member(definition: Mapping[str, Any]) -> str | None:
    """The member of a tool's definition that is to hold a JSON Schema, and holds something else."""
    try:
        definition = from_json(to_json(definition))
    except Exception:  # something in it is no JSON
        pass
    inner = _unwrapped(definition)
    given = {key: inner[key] for key in (*_PARAMETERS, *_OUTPUTS) if inner.get(key) is not None}
    return next((key for key, schema in given.items() if not isinstance(schema, Mapping)), None)


def output_schema(response_format: Any) -> JsonValue | None:
    """The JSON Schema that an answer is to follow, or None where the answer is free text.

    Takes OpenAI's ``response_format`` and ``text`` (also its ``format`` alone), Anthropic's ``output_format``, a JSON Schema of
    an object or array, and pydantic models and other types. JSON of no schema (``json_object``) gives ``{"type": "object"}``.
    """
    if isinstance(response_format, Mapping):
        return _schema_of_format(response_format)
    if response_format is None or isinstance(response_format, (str, int, float)):
        return None
    return type_schema(response_format)


def type_schema(annotation: Any) -> JsonValue | None:
    """The JSON Schema that pydantic has for a type, or None."""
    try:
        return _made_schema(annotation)
    except Exception:  # pydantic raises errors of many kinds on what it does not know
        return None


def may_have_schema(annotation: Any) -> bool:
    """Whether pydantic has a JSON Schema for a type, or may have one when what the type names is defined."""
    if isinstance(annotation, str):  # never the name of a type here, and pydantic would evaluate it
        return False
    try:
        _made_schema(annotation)
    except NameError:
        return True
    except Exception as error:
        return getattr(error, "code", None) == "class-not-fully-defined"
    return True


def _made_schema(annotation: Any) -> JsonValue:
    from pydantic import BaseModel, TypeAdapter  # here, since it takes 50 ms to import and few programs hand over types

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_json_schema()
    return TypeAdapter(known_to_pydantic(annotation)).json_schema()


@lru_cache(maxsize=512)
def _known(text: bytes) -> ToolDefinition:
    # From its JSON, so that it stays as it is when the program changes its dict.
    raw = from_json(text)
    return _definition(raw if isinstance(raw, dict) else {})


def _definition(raw: Mapping[str, Any]) -> ToolDefinition:
    inner = _unwrapped(raw)
    given = next((key for key in _PARAMETERS if inner.get(key) is not None), None)
    kind = raw.get("type") if isinstance(raw.get("type"), str) else None
    if given is not None or kind is None:
        kind = "function"  # Anthropic says "custom" for a tool with a schema
    named = (inner.get("name"), raw.get("type") if raw.get("type") != "function" else None)
    name = next((found for found in named if isinstance(found, str)), "")
    description = inner.get("description")
    return ToolDefinition(
        name=name,
        parameters=_schema(inner.get(given)) if given else None,
        description=description if isinstance(description, str) else None,
        type=kind,
        strict=inner.get("strict") is True or raw.get("strict") is True,
        output=next((_schema(inner[key]) for key in _OUTPUTS if isinstance(inner.get(key), Mapping)), None),
        cache={},
        changes=changes_by_hints(inner.get("annotations")),
    )


def _unwrapped(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((raw[key] for key in _WRAPPERS if isinstance(raw.get(key), Mapping)), raw)


def _schema(given: Any) -> JsonValue:
    if isinstance(given, Mapping) and given.keys() == {"json"}:  # Bedrock
        given = given["json"]
    return standard_schema(given)


def _schema_of_format(given: Mapping[str, Any]) -> JsonValue | None:
    kind = given.get("type")
    if isinstance(given.get("format"), Mapping):  # the Responses API's `text`
        return _schema_of_format(given["format"])
    if kind == "json_schema":
        inner = given.get("json_schema") if isinstance(given.get("json_schema"), Mapping) else given
        return inner.get("schema") if inner is not None else None
    if kind == "json_object":
        return {"type": "object"}
    if kind in ("object", "array", "OBJECT", "ARRAY") or "$ref" in given or "$defs" in given or "anyOf" in given:
        return standard_schema(given)
    return None
