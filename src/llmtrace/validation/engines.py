"""Which validator checks: jsonschema-rs where it can, else python-jsonschema."""

from __future__ import annotations

from types import ModuleType

from llmtrace.model import JsonValue
from llmtrace.validation.bounds import MAX_VISITS
from llmtrace.validation.faults import Engine

_FALLBACK_VISITS = 50_000
"""Subschemas applied during one check by the slower validator, at about 10 µs each."""


def rust_engine() -> ModuleType | None:
    """`rust`, or None without a wheel for this platform, or with a release too old to explain faults.

    A failure is not remembered: a program that has no file descriptor left may have one when the next schema is compiled.
    """
    try:
        from llmtrace.validation import rust
    except ImportError:
        return None
    return rust


def compile_schema(schema: JsonValue, *, formats: bool) -> tuple[Engine, int]:
    """A validator for a schema, and how many subschemas it may apply during one check. Raises `BrokenSchemaError`."""
    rust = rust_engine()
    if rust is not None:
        try:
            return rust.compile_schema(schema, formats=formats), MAX_VISITS
        except rust.OtherEngineError:
            pass
    from llmtrace.validation import fallback  # here, since jsonschema takes 100 ms to import, or a second with its extras

    return fallback.compile_schema(schema, formats=formats), _FALLBACK_VISITS
