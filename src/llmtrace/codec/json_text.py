"""JSON text of a value, and back.

Law: ``read(write(value)) == value`` for every JSON value: big integers, NaN and infinities (written ``NaN``, ``Infinity``:
not strict JSON, but what Python, jq and pydantic read), and lone surrogates (written as escapes). Two lone surrogates that
make up a pair come back as the one character they encode. `write` never raises.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue


def write(value: JsonValue) -> str:
    """Write compact JSON. A value that is not JSON becomes the text of its repr; a cycle becomes a placeholder."""
    try:
        return to_json(value).decode()
    except ValueError:  # a lone surrogate, nesting deeper than pydantic-core goes, an unknown type
        return _write_odd(value)


def write_plain(value: JsonValue) -> str | None:
    """Write compact JSON; None if the value is not plain JSON."""
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
    except (TypeError, ValueError):  # no JSON; a lone surrogate as it is; or one of the oddities that `_write_odd` wrote
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_object(text: str) -> dict[str, JsonValue] | None:
    """Parse text that is exactly one JSON object without duplicate keys; None for any other text."""
    try:
        value = from_json(text)
        if isinstance(value, dict) and write_plain(value) == text:  # as we wrote it: a key that came twice would be gone
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
