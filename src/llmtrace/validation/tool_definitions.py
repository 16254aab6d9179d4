"""Reads tool definitions and output schemas in the formats of providers and protocols.

Law: never raises, for any input. Equal definitions give the same `ToolDefinition` object. So its validator is compiled once,
even if a program rebuilds its definitions for each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue, ToolDefinition, changes_by_hints, trusted_by_hints
from llmtrace.validation.annotations import adapt_annotation

_PARAMETERS = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema")
_OUTPUTS = ("outputSchema", "output_schema", "response_json_schema", "responseJsonSchema", "response")
_WRAPPERS = ("function", "custom", "toolSpec")


def read_definition(raw: Any) -> ToolDefinition:
    """Read the definition of an offered tool in any of these formats. From any other format, only the name or type is read.

    OpenAI chat ``{type, function: {name, parameters, strict}}`` and Responses ``{type, name, parameters, strict}``, Anthropic
    ``{name, input_schema}``, one of Google's ``function_declarations``, Bedrock ``{toolSpec: …}``, MCP
    ``{name, inputSchema, outputSchema}``, and bare ``{name, parameters}``.
    """
    if isinstance(raw, ToolDefinition):
        return raw
    try:
        return _read_cached(to_json(raw))
    except Exception:  # a part of it is not JSON
        return _definition(raw if isinstance(raw, Mapping) else {})


def is_definition(raw: Mapping[str, JsonValue]) -> bool:
    """Return True if an object is a tool's definition rather than a JSON Schema."""
    named = isinstance(raw.get("name"), str) and any(key in raw for key in (*_PARAMETERS, "description"))
    return named or any(isinstance(raw.get(wrapper), Mapping) for wrapper in _WRAPPERS)


def unusable_member(definition: Mapping[str, Any]) -> str | None:
    """Return the name of a member that should hold a JSON Schema but holds something else; None if there is none."""
    try:
        definition = from_json(to_json(definition))
    except Exception:  # a part of it is not JSON
        pass
    inner = _unwrapped(definition)
    schemas = {key: inner[key] for key in (*_PARAMETERS, *_OUTPUTS) if inner.get(key) is not None}
    return next((key for key, schema in schemas.items() if not isinstance(schema, Mapping)), None)


def output_schema(response_format: Any) -> JsonValue | None:
    """Return the JSON Schema that an answer must fit, or None if the answer is free text.

    Accepts OpenAI's ``response_format`` and ``text`` (also its ``format`` alone), Anthropic's ``output_format``, a JSON Schema
    of an object or array, pydantic models and other types. ``json_object`` without a schema gives ``{"type": "object"}``.
    """
    if isinstance(response_format, Mapping):
        return _schema_of_format(response_format)
    if response_format is None or isinstance(response_format, (str, int, float)):
        return None
    return type_schema(response_format)


def type_schema(annotation: Any) -> JsonValue | None:
    """Return pydantic's JSON Schema for a type, or None."""
    try:
        return _pydantic_schema(annotation)
    except Exception:  # pydantic raises many kinds of errors for types that it does not support
        return None


def may_have_schema(annotation: Any) -> bool:
    """Return True if pydantic has a JSON Schema for a type, or may have one once all names in the type are defined."""
    if isinstance(annotation, str):  # text is never the name of a type here, and pydantic would evaluate it
        return False
    try:
        _pydantic_schema(annotation)
    except NameError:
        return True
    except Exception as error:
        return getattr(error, "code", None) == "class-not-fully-defined"
    return True


def _pydantic_schema(annotation: Any) -> JsonValue:
    from pydantic import BaseModel, TypeAdapter  # imported late: it takes 50 ms, and few programs pass types

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_json_schema()
    return TypeAdapter(adapt_annotation(annotation)).json_schema()


@lru_cache(maxsize=512)
def _read_cached(text: bytes) -> ToolDefinition:
    # Built from the JSON, so that later changes to the program's dict have no effect.
    raw = from_json(text)
    return _definition(raw if isinstance(raw, dict) else {})


def _definition(raw: Mapping[str, Any]) -> ToolDefinition:
    inner = _unwrapped(raw)
    schema_key = next((key for key in _PARAMETERS if inner.get(key) is not None), None)
    kind = raw.get("type") if isinstance(raw.get("type"), str) else None
    if schema_key is not None or kind is None:
        kind = "function"  # Anthropic says "custom" for a tool with a schema
    candidates = (inner.get("name"), raw.get("type") if raw.get("type") != "function" else None)
    name = next((text for text in candidates if isinstance(text, str)), "")
    description = inner.get("description")
    return ToolDefinition(
        name=name,
        parameters=_schema(inner.get(schema_key)) if schema_key else None,
        description=description if isinstance(description, str) else None,
        type=kind,
        strict=inner.get("strict") is True or raw.get("strict") is True,
        output=next((_schema(inner[key]) for key in _OUTPUTS if isinstance(inner.get(key), Mapping)), None),
        cache={},
        changes=changes_by_hints(inner.get("annotations")),
        trusted=trusted_by_hints(inner.get("annotations")),
    )


def _unwrapped(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((raw[key] for key in _WRAPPERS if isinstance(raw.get(key), Mapping)), raw)


def _schema(schema: Any) -> JsonValue:
    if isinstance(schema, Mapping) and schema.keys() == {"json"}:  # Bedrock
        schema = schema["json"]
    return standard_schema(schema)


def _schema_of_format(form: Mapping[str, Any]) -> JsonValue | None:
    kind = form.get("type")
    if isinstance(form.get("format"), Mapping):  # the Responses API's `text`
        return _schema_of_format(form["format"])
    if kind == "json_schema":
        inner = form.get("json_schema") if isinstance(form.get("json_schema"), Mapping) else form
        return inner.get("schema") if inner is not None else None
    if kind == "json_object":
        return {"type": "object"}
    if kind in ("object", "array", "OBJECT", "ARRAY") or "$ref" in form or "$defs" in form or "anyOf" in form:
        return standard_schema(form)
    return None


_TYPES = frozenset(("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"))
_NAMES = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))


def standard_schema(schema: Any) -> Any:
    """Convert a schema in Google's format to standard JSON Schema. Any other schema is returned unchanged."""
    return _standard(schema) if isinstance(schema, Mapping) and _is_type(schema.get("type")) else schema


def _is_type(text: Any) -> bool:
    return isinstance(text, str) and text in _TYPES


def _standard(schema: Any) -> JsonValue:
    if not isinstance(schema, Mapping):
        return schema
    standard: dict[str, JsonValue] = {}
    for name, setting in schema.items():
        keyword = _NAMES.get(str(name), str(name))
        if keyword == "type" and _is_type(setting):
            standard[keyword] = setting.lower()
        elif keyword == "properties" and isinstance(setting, Mapping):
            standard[keyword] = {name: _standard(member) for name, member in setting.items()}
        elif keyword in ("items", "additionalProperties"):
            standard[keyword] = _standard(setting)
        elif keyword == "anyOf" and isinstance(setting, list):
            standard[keyword] = [_standard(branch) for branch in setting]
        elif keyword in _COUNTS and isinstance(setting, str) and setting.isdigit():
            standard[keyword] = int(setting)
        elif keyword not in ("nullable", "property_ordering", "propertyOrdering"):
            standard[keyword] = setting
    return _or_null(standard) if schema.get("nullable") is True else standard


def _or_null(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
