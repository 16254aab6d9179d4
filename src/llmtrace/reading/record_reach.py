"""How far a document or memory reached in a trace.

A search returns a record; a program may put it into what a model is sent; a model may use a value of it in a call or an
answer. Each is said only if the trace shows it: what is known only by a summary, or whose content was not kept, is just
*retrieved*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from llmtrace.codec import json_text
from llmtrace.codec.records import Record, records_of
from llmtrace.model import Inference, Memory, Operation, Span, Text, ToolResult, Trace
from llmtrace.model.value import value
from llmtrace.reading.graph import analyze
from llmtrace.text.matching import squash

Reach: TypeAlias = Literal["stored", "retrieved", "in the context", "used in a value"]
"""It was written to the store, returned by a search, sent to a model, or the origin of a value in a call or an answer."""

_SEARCH: Final = "search_memory"
_SHORTEST, _LONGEST = 12, 160
"""Letters and digits of a record that must stand in a message, at least; those of its beginning are enough."""


@value
class Reached:
    """How far a record reached in a trace."""

    record: Record
    reach: Reach
    span_id: str
    """The span with the use, the inference that was sent it, the search, or the operation that stored it."""


def reached(trace: Trace, record_id: str) -> Reached | None:
    """Return how far the record with this id came; None if no span has it."""
    sources = [(span, record) for span in trace.spans for record in records_of(span.operation) if record.id == record_id]
    searches = [(span, record) for span, record in sources if not _is_write(span.operation)]
    if not searches:
        return Reached(sources[0][1], "stored", sources[0][0].span_id) if sources else None
    used = _first_use(trace, {span.span_id: record for span, record in searches})
    if used is not None:
        return used
    for span, record in searches:
        sent = _first_sent(trace.spans, record, span.start)
        if sent is not None:
            return Reached(record, "in the context", sent.span_id)
    return Reached(searches[0][1], "retrieved", searches[0][0].span_id)


def _first_use(trace: Trace, found: Mapping[str, Record]) -> Reached | None:
    """Return the first value that stood nowhere before a search returned this record. ``found``: it, by the search's span."""
    graph = analyze(trace)
    for use in graph.uses:
        origin = use.provenance.earliest
        record = None if origin is None else found.get(origin.span_id)
        if origin is None or record is None:
            continue
        if any(_is_at(match.pointer, record.place) for match in graph.lineage.matches(origin, use)):
            return Reached(record, "used in a value", use.span_id)
    return None


def _is_write(operation: Operation) -> bool:
    return isinstance(operation, Memory) and operation.operation != _SEARCH


def _is_at(pointer: str, place: Sequence[str | int]) -> bool:
    start = "".join(f"/{part}" for part in place)
    return pointer == start or pointer.startswith(start + "/")


def _first_sent(spans: Sequence[Span], record: Record, since: int) -> Span | None:
    """Return the first inference, from a time on, that was sent the beginning of a record."""
    beginning = squash(record.text)[:_LONGEST]
    if len(beginning) < _SHORTEST:
        return None
    seen: dict[str, bool] = {}
    for span in sorted(spans, key=lambda span: span.start):
        if isinstance(span.operation, Inference) and span.start >= since:
            for text in _texts(span.operation):
                if text not in seen:
                    seen[text] = beginning in squash(text)
                if seen[text]:
                    return span
    return None


def _texts(inference: Inference) -> Iterator[str]:
    for part in (*inference.system, *(part for message in inference.input for part in message.parts)):
        if isinstance(part, Text):
            yield part.content
        elif isinstance(part, ToolResult):
            response = part.response
            yield response if isinstance(response, str) else json_text.write(response)
