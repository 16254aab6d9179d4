"""Values that stand where a value is missing: texts that people and programs write for "nothing", zeros, empty containers."""

from __future__ import annotations

from typing import Any

from llmtrace.text.patterns import lazy_pattern

_WORDS = frozenset(
    {
        *(
            "n/a",
            "none",
            "null",
            "nil",
            "unknown",
            "undefined",
            "unspecified",
            "not available",
            "not provided",
            "not specified",
        ),
        *("string", "example", "placeholder", "dummy", "todo", "tbd", "xxx", "foo", "...", "…", "?", "-"),
    }
)
_ZEROS = lazy_pattern(r"[0\W_]*")
"""Zeros and punctuation only, or nothing at all."""


def is_dummy(value: Any) -> bool:
    """True for null, zero, an empty list or object, and text that is empty, zeros, or a word for nothing."""
    if isinstance(value, str):
        text = value.strip().casefold()
        return text.strip("<>[](){}\"'") in _WORDS or _ZEROS.fullmatch(text) is not None
    return value is None or (value in (0, [], {}) and value is not False)
