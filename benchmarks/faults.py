"""Plants faults: for a valid call and its schema, one fault of each kind that the schema admits, at a known pointer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class Fault(NamedTuple):
    code: str
    pointer: str
    raw: str
    """The arguments with the fault in them, as a model would have written them."""
    name: str | None = None
    """The tool's name, where that is the fault."""


def plant(schema: dict[str, Any], arguments: dict[str, Any], *, tool: str) -> list[Fault]:
    """At most one fault of each kind, each at the first place that admits it."""
    found = {fault.code: fault for fault in _whole(arguments, tool)}
    for pointer, value, under in _places(schema, arguments, ""):
        for code, changed in _local(value, under):
            if code not in found:
                found[code] = Fault(code, pointer, json.dumps(_put(arguments, pointer, changed)))
        for code, at, changed in _members(value, under):
            if code not in found:
                found[code] = Fault(code, f"{pointer}/{_escape(at)}", json.dumps(_put(arguments, pointer, changed)))
    return list(found.values())


def _whole(arguments: dict[str, Any], tool: str) -> Iterator[Fault]:
    raw = json.dumps(arguments)
    yield Fault("malformed_json", "", raw[:-1] or "{")
    yield Fault("not_an_object", "", json.dumps([arguments]))
    yield Fault("unknown_tool", "", raw, f"{tool}_please")
    if arguments:
        first = next(iter(arguments))
        twice = "{" + f"{json.dumps(first)}: {json.dumps(arguments[first])}, " + raw[1:]
        yield Fault("duplicate_key", f"/{_escape(first)}", twice)


def _places(schema: Any, value: Any, pointer: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every place in the arguments that a plain subschema describes."""
    if not isinstance(schema, dict) or any(word in schema for word in ("$ref", "anyOf", "oneOf", "allOf", "not", "if")):
        return
    yield pointer, value, schema
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _places(schema.get("properties", {}).get(name), member, f"{pointer}/{_escape(name)}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _places(schema["items"], item, f"{pointer}/{index}")


def _local(value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Faults of the value itself."""
    if "enum" in schema:
        if isinstance(value, str):
            yield "not_allowed", f"{value}-never"
    elif isinstance(schema.get("type"), str) and "const" not in schema:
        if schema["type"] in ("string", "integer", "number", "boolean", "array"):
            yield "wrong_type", {"wrong": 1}
        if isinstance(value, str):
            yield from _of_text(value, schema)
        elif isinstance(value, list):
            yield from _of_array(value, schema)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _of_number(schema)


def _of_number(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "maximum" in schema:
        yield "out_of_range", schema["maximum"] + 1
    elif "minimum" in schema:
        yield "out_of_range", schema["minimum"] - 1


def _of_text(value: str, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if schema.get("maxLength", 10_000) < 10_000:
        yield "too_long", (value or "x") * (schema["maxLength"] + 1)
    if schema.get("minLength", 0) > 0:
        yield "too_short", ""
    if schema.get("format") in ("date", "date-time", "email", "ipv4", "uuid"):
        yield "bad_format", "nonsense nonsense"


def _of_array(value: list[Any], schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if value and schema.get("maxItems", 1000) < 1000:
        yield "too_long", value * (schema["maxItems"] + 1)
    if schema.get("minItems", 0) > 0:
        yield "too_short", []
    if value and schema.get("uniqueItems") is True and "maxItems" not in schema:
        yield "not_unique", [*value, value[0]]


def _members(value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Faults of an object's members: one missing, one not expected."""
    if not isinstance(value, dict):
        return
    for name in schema.get("required", ()):
        if name in value:
            yield "missing", name, {key: kept for key, kept in value.items() if key != name}
            break
    if _is_closed(schema):
        yield "unexpected", "not_in_the_schema", {**value, "not_in_the_schema": 1}


def _is_closed(schema: dict[str, Any]) -> bool:
    """Whether a member that is not listed is a fault: the schema says so, or is silent and neither free-form nor composed."""
    if not schema.get("properties") or "patternProperties" in schema:
        return False
    silent = schema.get("type") == "object" and "dependencies" not in schema and "additionalProperties" not in schema
    return silent or schema.get("additionalProperties") is False


def _put(arguments: Any, pointer: str, changed: Any) -> Any:
    if not pointer:
        return changed
    whole = copy.deepcopy(arguments)
    place = whole
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[int(last) if isinstance(place, list) else last] = changed
    return whole


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
