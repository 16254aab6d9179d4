"""JSON for a browser. Law: the browser shows numbers exactly as they were written, although its own numbers are doubles."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic_core import to_json

from llmtrace.model import JsonValue

NUMBER = "\x00number"
"""Name of the only member of an object that represents a number which a browser would change: a big integer, 42.0, NaN or
infinity. A member of this name in a program's own data gets one more NUL in front."""
_EXACT = 1 << 53
DEEPEST = 64


def dumps(value: Any) -> bytes:
    """Write a value that `plain` returned as strict JSON."""
    try:
        return to_json(value)
    except ValueError:  # a lone surrogate, or nesting too deep for pydantic-core
        return json.dumps(value, default=repr, allow_nan=False).encode()


def plain(value: Any, depth: int = 0) -> JsonValue:
    """Convert a JSON value, or a value of the model by its field names, for `dumps`. Values nested deeper than 64 levels become
    their repr."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int:
        return value if -_EXACT < value < _EXACT else {NUMBER: str(value)}
    if kind is float:
        return value if math.isfinite(value) and not value.is_integer() else {NUMBER: repr(value)}
    if depth > DEEPEST:
        return repr(value)[:200]
    if isinstance(value, Mapping):
        members = {str(name): plain(member, depth + 1) for name, member in value.items()}
        if NUMBER in members:
            return {f"\x00{name}" if name.endswith(NUMBER) else name: member for name, member in members.items()}
        return members
    if isinstance(value, (list, tuple)):
        return [plain(member, depth + 1) for member in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name), depth + 1) for field in fields(value) if field.compare}
    return str(value)
