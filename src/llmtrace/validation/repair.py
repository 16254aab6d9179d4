"""Handles a call that breaks its schema: `repair` it without loss, or `reply` with all violations.

Law: a repair never changes the meaning, only the notation, and its result is always valid. A reply is text for the model that
made the call: short, complete, and without a stack trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue, ToolDefinition, Violation
from llmtrace.validation.check_values import Tools, check_arguments, errors_in, find_tool
from llmtrace.validation.json_pointers import follow, steps
from llmtrace.validation.parse_arguments import parse_arguments, strip_fence
from llmtrace.validation.violations import json_type, shown

_ROUNDS = 10
"""Most rounds of repair. A repair may uncover further errors, for example when text turns out to be an object."""
_SHOWN = 20
"""Most faults that a reply lists."""
_LONGEST = 1000
"""Most characters of a reply's description of the parameters, and of text that is converted to a number."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "True": True, "False": False}
_NONE: Any = object()


def repair(arguments: JsonValue, definition: ToolDefinition) -> tuple[dict[str, JsonValue], tuple[str, ...]] | None:
    """Return valid arguments with the same meaning, and the repairs, one line per JSON Pointer; None if no repair succeeds.

    A repair removes a code fence or a second encoding as text, and turns empty arguments into ``{}``. If the schema requires
    it, it converts text to the number, true, false, null, object or array that the text is in JSON, and a whole number to text.
    It never guesses: no rounding, no dropped or renamed members, no defaults, no wrapping of a value in a list. The given dict
    is not changed.
    """
    notes: list[str] = []
    copy = _unwrapped(arguments, notes)
    if copy is None:
        return None
    for _ in range(_ROUNDS):
        errors = errors_in(check_arguments(copy, definition))
        if not errors:
            return copy, tuple(notes)
        for error in errors:
            if not _mend(copy, error, notes):
                return None
    return None


def reply(tool: str, violations: Sequence[Violation], definitions: Tools) -> str:
    """Return the reply to the model. It says that the call did not run, lists all faults, and describes the parameters."""
    faults = [violation for violation in violations if violation.code != "schema"]
    unknown = next((violation for violation in faults if violation.code == "unknown_tool"), None)
    if unknown is not None:
        names = ", ".join(f"`{name}`" for name in unknown.expected or ())
        sentence = unknown.message if unknown.message.endswith("?") else f"{unknown.message}."
        return f"`{tool}` was not run: {sentence}\n" + (f"The tools are: {names}." if names else "There are no tools.")
    faults.sort(key=lambda violation: violation.severity != "error")
    lines = [f"`{tool}` was not run: its arguments have {len(faults)} fault{'' if len(faults) == 1 else 's'}."]
    lines += [f"- {_described(violation)}" for violation in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        lines.append(f"- and {len(faults) - _SHOWN} more")
    definition = find_tool(tool, definitions)
    takes = _describe_parameters(definition.parameters) if definition is not None else ""
    lines.append(f"`{tool}` takes {takes}." if takes else "")
    lines.append("Correct the arguments and call it again.")
    return "\n".join(filter(None, lines))


def _unwrapped(arguments: JsonValue, notes: list[str]) -> dict[str, JsonValue] | None:
    """Return the arguments as a new dict, without code fence and second encoding; None if they are not an object."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        notes.append(": nothing to {}")
        return {}
    for _ in range(3):  # each round removes a code fence and one encoding as text
        if not isinstance(arguments, str):
            break
        inner = strip_fence(arguments)
        if inner is not None:
            notes.append(": code fence removed")
            arguments = inner
        parsed = parse_arguments(arguments)
        if not isinstance(parsed, dict):
            parsed = _decoded(parsed)
            notes.append(": text to object")
        arguments = parsed
    if not isinstance(arguments, dict):
        return None
    try:
        copy: dict[str, JsonValue] = from_json(to_json(arguments, inf_nan_mode="constants"))
    except ValueError:
        return None
    return copy


def _decoded(text: str) -> JsonValue:
    """Decode the text of a JSON string; None if it is not one."""
    try:
        inner = from_json(text, allow_inf_nan=False)
    except (TypeError, ValueError):  # TypeError: an unescaped unpaired surrogate
        return None
    return inner if isinstance(inner, str) else None


def _mend(root: dict[str, JsonValue], error: Violation, notes: list[str]) -> bool:
    path = steps(error.pointer)
    if not path:
        return False
    try:
        home = follow(root, path[:-1])
        key: Any = int(path[-1]) if isinstance(home, list) else path[-1]
        value = home[key]
    except (LookupError, TypeError, ValueError):
        return False
    mended = _converted(value, error)
    if mended is _NONE:
        return False
    if mended is not value:
        home[key] = mended
        notes.append(f"{error.pointer}: {json_type(value)} to {json_type(mended)}")
    return True


def _converted(value: JsonValue, error: Violation) -> JsonValue:
    """Convert a value to a form that the schema may accept. Returns `_NONE` if that is not possible without loss."""
    if error.code == "wrong_type":
        types = error.expected if isinstance(error.expected, list) else [error.expected]
        if json_type(value) in types:  # already repaired for an earlier fault at this place
            return value
        return next((converted for kind in types if (converted := _as_type(value, kind)) is not _NONE), _NONE)
    if error.code == "not_allowed" and error.keyword in ("enum", "const"):
        options = error.expected if error.keyword == "enum" else [error.expected]
        if value in options:
            return value
        same = [option for option in options if _same(option, value)]
        return same[0] if len(same) == 1 else _NONE
    return _NONE


def _as_type(value: JsonValue, kind: JsonValue) -> JsonValue:
    if kind == "string":
        return str(value) if type(value) is int else _NONE
    if not isinstance(value, str) or (len(value) > _LONGEST and kind in ("integer", "number")):
        return _NONE
    if kind == "integer":
        return int(value) if _INTEGER.fullmatch(value) else _NONE
    if kind == "number":
        return _as_number(value)
    if kind == "boolean":
        return _WORDS.get(value, _NONE)
    if kind == "null":
        return None if value == "null" else _NONE
    if kind == "array":  # parsed inside an object, since parse_arguments only accepts objects
        parsed = parse_arguments(f'{{"array":{value}}}')
        parsed = parsed["array"] if isinstance(parsed, dict) and parsed.keys() == {"array"} else None
    else:
        parsed = parse_arguments(value)
    return parsed if json_type(parsed) == kind else _NONE


def _as_number(text: str) -> JsonValue:
    if not _NUMBER.fullmatch(text):
        return _NONE
    number = from_json(text)
    return number if isinstance(number, int) or Decimal(repr(number)) == Decimal(text) else _NONE


def _same(option: JsonValue, value: JsonValue) -> bool:
    """Return True if one of the values is text, the other is not, and both are written the same."""
    if isinstance(value, str):
        return not isinstance(option, str) and shown(option) == value
    return type(value) is int and option == str(value)


def _described(violation: Violation) -> str:
    place = violation.pointer[:200] or f"the {violation.where}"
    position = "" if violation.line is None else f" (line {violation.line}, column {violation.column})"
    return f"{place}: {violation.message}{position}"


def _describe_parameters(schema: JsonValue) -> str:
    """Describe the parameters in words: ``order_id (string, required), limit (integer)``."""
    members = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(members, Mapping):
        return ""
    if not members:
        return "no arguments"
    required = schema.get("required")
    required_names = required if isinstance(required, list) else []
    words = [
        f"{name} ({_kind(member, schema)}{', required' if name in required_names else ''})" for name, member in members.items()
    ]
    text = ", ".join(words)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _kind(member: JsonValue, root: Mapping[str, JsonValue]) -> str:
    """Describe the type of a parameter in a word or two."""
    if not isinstance(member, Mapping):
        return "any value"
    if isinstance(member.get("enum"), list):
        return " | ".join(shown(option) for option in member["enum"][:_SHOWN])
    if isinstance(member.get("type"), str):
        return str(member["type"])
    if isinstance(member.get("type"), list):
        return " | ".join(map(str, member["type"]))
    if isinstance(member.get("anyOf"), list):
        return " | ".join(dict.fromkeys(_kind(branch, root) for branch in member["anyOf"][:_SHOWN]))
    if "const" in member:
        return shown(member["const"])
    return "object" if "$ref" in member or "properties" in member else "any value"
