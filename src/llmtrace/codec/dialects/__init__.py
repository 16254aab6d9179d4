"""Dialects: readers for the spans of other instrumentations, one file for each.

This folder is the registry: every module in it without a leading underscore defines ``DIALECT``, an instance of `Dialect`.
Installed packages add theirs by entry points of the group ``llmtrace.dialects``. Laws: `decode` never raises. Attributes and
events that no dialect understands stay on the span. A decoded span that is encoded with `genai.encode` decodes to the same.

A span may be written in several dialects at once. All of them read it, and each field comes from the most trusted one that has
it: today's conventions, then the library's own names, then those of a translator, an exporter that copies the library's values.
"""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any, Final

from llmtrace import installed
from llmtrace import semconv as sc
from llmtrace.codec import genai, operations
from llmtrace.codec.best_fields import fill_in
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.codec.dialects._vocabulary import NO_MODEL, use_standard_words
from llmtrace.log_once import warn_once
from llmtrace.model import JsonValue, Operation, RawSpan, Span, replace

__all__ = ["GROUP", "NO_MODEL", "Dialect", "SpanReader", "decode", "dialects", "knows", "marks"]

GROUP: Final = "llmtrace.dialects"
_LAST: Final = ("openinference", "mlflow", "older_genai")
"""Tried last. Exporters add OpenInference's names to spans that a library wrote in its own dialect, and MLflow's server adds
its names to all spans. `older_genai` reads every span with names of former conventions."""


@lru_cache(maxsize=1)
def dialects() -> tuple[Dialect, ...]:
    """Return all dialects in the order in which they are tried: built-in ones, installed ones, then those of `_LAST`.

    A dialect of an installed package that cannot be loaded is logged and left out.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    built_in: dict[str, Dialect] = {name: import_module(f"{__name__}.{name}").DIALECT for name in names}
    added = [dialect for entry in installed.entries(GROUP, built_in) if (dialect := _load(entry)) is not None]
    return (*(built_in[name] for name in names if name not in _LAST), *added, *(built_in[name] for name in _LAST))


def _load(entry: EntryPoint) -> Dialect | None:
    dialect = installed.load(entry)
    if dialect is None or isinstance(dialect, Dialect):
        return dialect
    installed.log_broken(entry, "it is not an instance of llmtrace.codec.dialects.Dialect")
    return None


@lru_cache(maxsize=1)
def marks() -> frozenset[str]:
    """Return the names of attributes, events and spans by which dialects know a span. It must have at least one of them."""
    return frozenset[str]().union(*(dialect.marks for dialect in dialects()))


def decode(raw: RawSpan) -> Span:
    """Read the span of any writer. Never raises. Attributes and events that no dialect understands stay on the span."""
    if sc.RUN_ID in raw.attributes:
        return genai.decode(raw)
    if sc.SAME_CALL in raw.attributes or not _is_marked(raw):  # another span counts this call, or no dialect knows the span
        return use_standard_words(genai.decode(raw))
    known_by = [dialect for dialect in dialects() if _knows(dialect, raw)]
    if len(known_by) > 1 and known_by[-1] is dialects()[-1]:
        known_by.pop()  # `older_genai` is for spans that no other dialect knows
    return use_standard_words(_decode_with(known_by, raw))


def _is_marked(raw: RawSpan) -> bool:
    names = marks()
    return not names.isdisjoint(raw.attributes) or raw.name in names or any(event.name in names for event in raw.events)


def knows(raw: RawSpan) -> bool:
    """Return True if a dialect or the conventions can read the span, even if it is a plain step. Never raises."""
    return sc.OPERATION_NAME in raw.attributes or any(_knows(dialect, raw) for dialect in dialects())


def _knows(dialect: Dialect, raw: RawSpan) -> bool:
    try:
        return dialect.knows(raw)
    except Exception as error:
        _log_failure(dialect, error)
        return False


def _log_failure(dialect: Dialect, error: Exception) -> None:
    problem = f"dialect {dialect.name} failed on a span with {type(error).__qualname__}"
    warn_once(f"{problem}; such spans are read by the GenAI conventions only. This is reported once.")


def _decode_with(known_by: list[Dialect], raw: RawSpan) -> Span:
    """Read a span with the dialects that know it. The first has the say; the others fill in fields that only they have."""
    operation: Operation | None = None
    reader = SpanReader(raw)
    for dialect in known_by:
        try:
            attempt = SpanReader(replace(reader.raw, attributes=reader.rest, events=tuple(reader.events)))
            addition = dialect.read(attempt)
        except Exception as error:  # an odd span: the others and the conventions still read most of it
            _log_failure(dialect, error)
            continue
        expected = _class_named(reader.rest.get(sc.OPERATION_NAME)) if operation is None else type(operation)
        if dialect is known_by[0] or type(addition) is expected:
            operation = addition if operation is None or addition is None else fill_in(operation, addition)
            reader = attempt
    if sc.USAGE_CACHE_WRITE not in reader.rest and (written := reader.count(sc.USAGE_CACHE_CREATION)) is not None:
        reader.rest[sc.USAGE_CACHE_WRITE] = written
    displaced: dict[str, Any] = {}
    if operation is not None and operations.name_of(operation) != reader.rest.get(sc.OPERATION_NAME):
        displaced = _set_operation_name(reader, operation)
    span = genai.decode(replace(reader.raw, attributes=reader.rest, events=tuple(reader.events)))
    if operation is None:
        return span
    if type(span.operation) is type(operation):  # the conventions of today are trusted more than a library's own names
        operation = fill_in(span.operation, operation)
    return replace(span, operation=operation, attributes={**span.attributes, **displaced})


def _class_named(name: JsonValue) -> type | None:
    """Return the class of the operation with this name in the conventions."""
    shape = operations.BY_NAME.get(name) if isinstance(name, str) else None
    return None if shape is None else shape.operation_class


def _set_operation_name(reader: SpanReader, operation: Operation) -> dict[str, Any]:
    """Set the conventions' name of the operation, so that their attributes are read for it.

    Returns the former name, as an attribute, if it belongs to another operation.
    """
    name = operations.name_of(operation)
    former = reader.rest.pop(sc.OPERATION_NAME, None)
    if name is not None:
        reader.rest[sc.OPERATION_NAME] = name
    return {} if former is None or _class_named(former) is type(operation) else {sc.OPERATION_NAME: former}
