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
    """Return a schema in standard JSON Schema; the same object if it is not one of Google's."""
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
