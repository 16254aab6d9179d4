"""Spans of other instrumentations, read as what they tell of. A dialect is one file; the folder is the registry.

A dialect says by ``knows(raw)`` whether a span is in its writing (a look or two: it is asked of every span), and by
``read(reading)`` what the span did: it takes what it understands out of ``reading.rest`` and ``reading.events``, or gives
attributes today's names there, and returns the operation, or None where those names say it. One whose spans may have lost
their trace on the way has ``placed(raw)``, which gives the span where it belongs. ``MARKS`` are what a database can tell its
spans by. Laws: `decode` never raises; what is not understood stays in attributes and events; what `genai.encode` makes of a
decoded span decodes to the same.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any, Final, Protocol, cast

from llmtrace import semconv as sc
from llmtrace.codec import genai, operations
from llmtrace.codec.dialects._span_reader import Reading
from llmtrace.codec.dialects._vocabulary import in_one_vocabulary
from llmtrace.model import Operation, RawSpan, Span, replace


class Dialect(Protocol):
    MARKS: frozenset[str]
    """Names of attributes, of events and of spans: a span that it knows has one of them."""

    def knows(self, raw: RawSpan) -> bool: ...

    def read(self, reading: Reading) -> Operation | None: ...


_LAST: Final = {"openinference": 1, "older": 2}
"""`openinference`, since exporters add its names to spans that their library wrote in its own; `older`, which takes whatever
has names of former conventions."""
DIALECTS: Final[tuple[Dialect, ...]] = tuple(
    [
        cast("Dialect", import_module(f"{__name__}.{found.name}"))
        for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: (_LAST.get(found.name, 0), found.name))
        if not found.name.startswith("_")
    ]
)
"""In the order in which they are asked."""
MARKS: Final = frozenset[str]().union(*(dialect.MARKS for dialect in DIALECTS))
"""Names of attributes, events and spans; a span without any of them is in no dialect's writing."""


def decode(raw: RawSpan) -> Span:
    """The span of any writer. Never raises; what no dialect understands stays in attributes and events."""
    if sc.RUN_ID in raw.attributes:
        return genai.decode(raw)
    for dialect in DIALECTS:
        try:
            if dialect.knows(raw):
                placed = getattr(dialect, "placed", None)
                return in_one_vocabulary(_decoded(raw if placed is None else placed(raw), dialect))
        except Exception:  # somebody's odd span, of which the plain reading makes what it can
            break
    return in_one_vocabulary(genai.decode(raw))


def knows(raw: RawSpan) -> bool:
    """Whether a span is in the writing of a dialect or of the conventions, be it a plain step. Never raises."""
    try:
        return sc.OPERATION_NAME in raw.attributes or any(dialect.knows(raw) for dialect in DIALECTS)
    except Exception:
        return False


def _decoded(raw: RawSpan, dialect: Dialect) -> Span:
    reading = Reading(raw)
    operation = dialect.read(reading)
    if operation is not None:
        operation = _completed(operation, reading, DIALECTS[DIALECTS.index(dialect) + 1 : -1])
    hidden: dict[str, Any] = {}
    if operation is not None and operations.name_of(operation) != reading.rest.get(sc.OPERATION_NAME):
        hidden = _other_names(reading, operation)
    span = genai.decode(replace(raw, attributes=reading.rest, events=tuple(reading.events)))
    if operation is None:
        return span
    if hidden:
        span = replace(span, attributes={**span.attributes, **hidden})
    return replace(span, operation=filled(operation, span.operation))


def _completed(operation: Operation, reading: Reading, others: tuple[Dialect, ...]) -> Operation:
    """The operation with what only another dialect on the same span says of it."""
    for dialect in others:
        if not dialect.knows(reading.raw):
            continue
        again = Reading(replace(reading.raw, attributes=reading.rest, events=tuple(reading.events)))
        try:
            other = dialect.read(again)
        except Exception:  # what was read so far stands
            continue
        if type(other) is type(operation):
            operation, reading.rest, reading.events = filled(operation, other), again.rest, again.events
    return operation


def _other_names(reading: Reading, operation: Operation) -> dict[str, Any]:
    """Have today's names read for the operation that the dialect found, should a span have both; what another name said."""
    name = operations.name_of(operation)
    said = reading.rest.pop(sc.OPERATION_NAME, None)
    if name is not None:
        reading.rest[sc.OPERATION_NAME] = name
    shape = operations.BY_NAME.get(said) if isinstance(said, str) else None
    if said is None or (shape is not None and shape.made is type(operation)):
        return {}
    return {sc.OPERATION_NAME: said}


def filled(operation: Operation, other: Operation) -> Operation:
    """An operation with what it does not say filled in from another of its class."""
    if type(operation) is not type(other):
        return operation
    changes: dict[str, Any] = {}
    made: Any = type(operation)
    for name in made.__slots__:
        held, given = getattr(operation, name), getattr(other, name)
        if (held is None or held == () or held == {} or held == "" or held is False) and given != held and given is not None:
            changes[name] = given
    return replace(operation, **changes) if changes else operation
