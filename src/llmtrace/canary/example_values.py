"""A value that fits a JSON Schema, the same one each time; the caller checks it, since not every keyword is followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace.model import JsonValue

_DEEPEST: Final = 8
_FORMATS: Final = {
    "date": "2024-05-17",
    "date-time": "2024-05-17T09:30:00Z",
    "time": "09:30:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "ipv4": "192.0.2.1",
}


def example_of(schema: JsonValue) -> JsonValue:
    """An example: what the schema gives itself (const, enum, examples, default), else one made by type."""
    return _example(schema, schema, 0)


def _example(schema: Any, root: Any, depth: int) -> JsonValue:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return "example"
    stated = [schema.get("const"), *(_first(schema.get(name)) for name in ("enum", "examples")), schema.get("default")]
    if any(example is not None for example in stated):
        return next(example for example in stated if example is not None)
    inner = _inner(schema, root)
    if inner is not None:
        return _example(inner, root, depth + 1)
    kinds = schema.get("type")
    kind = next((one for one in kinds if one != "null"), "null") if isinstance(kinds, list) else kinds
    if kind == "object" or "properties" in schema:
        return _object(schema, root, depth)
    if kind == "array":
        return [_example(schema.get("items"), root, depth + 1) for _ in range(max(1, _count(schema.get("minItems"))))]
    if kind in ("integer", "number"):
        return _number(schema, kind)
    if kind == "boolean":
        return True
    return None if kind == "null" else _text(schema)


def _first(items: Any) -> JsonValue:
    return items[0] if isinstance(items, list) and items else None


def _inner(schema: Mapping[str, Any], root: Any) -> Any:
    """The schema that this one stands for: by reference, or the first choice that is not null."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target = root
        for step in reference[2:].split("/"):
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        return target
    for name in ("anyOf", "oneOf", "allOf"):
        choices = schema.get(name)
        if isinstance(choices, list) and choices:
            return next((one for one in choices if isinstance(one, Mapping) and one.get("type") != "null"), choices[0])
    return None


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> dict[str, JsonValue]:
    properties = schema.get("properties")
    required = schema.get("required")
    names = required if isinstance(required, list) and required else list(properties or ())
    return {name: _example((properties or {}).get(name, {}), root, depth + 1) for name in names}


def _number(schema: Mapping[str, Any], kind: str) -> float:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
    number: float = 3
    if isinstance(low, (int, float)):
        number = low + 1
    if isinstance(high, (int, float)) and number > high:
        number = high
    return int(number) if kind == "integer" else number


def _text(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "example")
    text += "x" * (_count(schema.get("minLength")) - len(text))
    longest = schema.get("maxLength")
    return text[:longest] if isinstance(longest, int) and longest > 0 else text


def _count(number: Any) -> int:
    return number if isinstance(number, int) else 0
