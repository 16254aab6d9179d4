"""Chooses the validator for a schema: jsonschema-rs if possible, else python-jsonschema."""

from __future__ import annotations

from types import ModuleType

from llmtrace.model import JsonValue
from llmtrace.validation.limits import MAX_VISITS
from llmtrace.validation.schema_errors import Engine

_FALLBACK_VISITS = 50_000
"""Subschemas applied during one check by the slower validator, at about 10 µs each."""


def load_rust_engine() -> ModuleType | None:
    """Return `rust_engine`, or None without a wheel for this platform, or with a release too old to explain faults.

    A failure is not remembered: a program that has no file descriptor left may have one when the next schema is compiled.
    """
    try:
        from llmtrace.validation import rust_engine
    except ImportError:
        return None
    return rust_engine


def compile_schema(schema: JsonValue, *, formats: bool) -> tuple[Engine, int]:
    """A validator for a schema, and how many subschemas it may apply during one check. Raises `BrokenSchemaError`."""
    rust_engine = load_rust_engine()
    if rust_engine is not None:
        try:
            return rust_engine.compile_schema(schema, formats=formats), MAX_VISITS
        except rust_engine.OtherEngineError:
            pass
    # imported only when needed: jsonschema takes 100 ms to import, or a second with its extras
    from llmtrace.validation import python_engine

    return python_engine.compile_schema(schema, formats=formats), _FALLBACK_VISITS
