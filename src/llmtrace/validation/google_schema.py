"""Google's schemas, an older OpenAPI's: types in capitals, ``nullable``, numbers as text. Made standard JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.model import JsonValue

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
    """The same schema in standard JSON Schema; the very object where its root is not of Google's kind."""
    return _standard(schema) if isinstance(schema, Mapping) and _is_type(schema.get("type")) else schema


def _is_type(given: Any) -> bool:
    return isinstance(given, str) and given in _TYPES


def _standard(schema: Any) -> JsonValue:
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, JsonValue] = {}
    for name, given in schema.items():
        keyword = _NAMES.get(str(name), str(name))
        if keyword == "type" and _is_type(given):
            made[keyword] = given.lower()
        elif keyword == "properties" and isinstance(given, Mapping):
            made[keyword] = {name: _standard(member) for name, member in given.items()}
        elif keyword in ("items", "additionalProperties"):
            made[keyword] = _standard(given)
        elif keyword == "anyOf" and isinstance(given, list):
            made[keyword] = [_standard(branch) for branch in given]
        elif keyword in _COUNTS and isinstance(given, str) and given.isdigit():
            made[keyword] = int(given)
        elif keyword not in ("nullable", "property_ordering", "propertyOrdering"):
            made[keyword] = given
    return _or_null(made) if schema.get("nullable") is True else made


def _or_null(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
