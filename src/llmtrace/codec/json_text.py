"""Writes values as JSON text and reads them back.

Law: ``read(write(value)) == value`` for every JSON value, and `write` never raises. Integers have any size. NaN and infinities
are written as ``NaN`` and ``Infinity``, which is not strict JSON, but Python, jq and pydantic read it. Lone surrogates are
written as escapes; two that form a pair are read as one character.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue


def write(value: JsonValue) -> str:
    """Write compact JSON. An object that is not JSON is written as its repr, a value with a cycle as a placeholder."""
    try:
        return to_json(value).decode()
    except ValueError:  # a lone surrogate, nesting too deep for pydantic-core, or an unknown type
        return _write_odd(value)


def write_plain(value: JsonValue) -> str | None:
    """Write compact JSON. Returns None if the value is not plain JSON."""
    try:
        return to_json(value).decode()
    except ValueError:
        return None


def _write_odd(value: JsonValue) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), default=repr)
    except Exception:  # a cycle, endless nesting, a __repr__ that raises
        return json.dumps(f"<unserialisable {type(value).__qualname__}>")


def read(text: str) -> JsonValue:
    """Parse JSON text. Raises ValueError if it is not JSON."""
    try:
        return from_json(text)
    except (TypeError, ValueError):  # not JSON, or what only Python's own parser accepts: see `_write_odd`
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parsed(value: JsonValue) -> JsonValue:
    """Parse text that is a JSON object or list; return any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return read(value)
    except ValueError:
        return value


def read_object(text: str) -> dict[str, JsonValue] | None:
    """Parse the text of one JSON object without duplicate keys. Returns None for any other text."""
    try:
        value = from_json(text)
        if isinstance(value, dict) and write_plain(value) == text:  # the same text again, so no key was duplicate
            return value
    except (TypeError, ValueError):
        pass
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members
