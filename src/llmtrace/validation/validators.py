"""Chooses the validator for a schema: jsonschema-rs if possible, else python-jsonschema."""

from __future__ import annotations

from llmtrace.model import JsonValue
from llmtrace.validation.limits import MAX_VISITS
from llmtrace.validation.schema_errors import Engine

_FALLBACK_VISITS = 50_000
"""Subschemas applied during one check by the slower validator, at about 10 µs each."""

try:
    from llmtrace.validation import rust_engine
except ImportError:  # no wheel for this platform, or a release too old to explain faults
    rust_engine = None  # type: ignore[assignment]


def compile_schema(schema: JsonValue, *, formats: bool) -> tuple[Engine, int]:
    """A validator for a schema, and how many subschemas it may apply during one check. Raises `BrokenSchemaError`."""
    if rust_engine is not None:
        try:
            return rust_engine.compile_schema(schema, formats=formats), MAX_VISITS
        except rust_engine.OtherEngineError:
            pass
    # imported only when needed: jsonschema takes 100 ms to import, or a second with its extras
    from llmtrace.validation import python_engine

    return python_engine.compile_schema(schema, formats=formats), _FALLBACK_VISITS
