"""Joins log records to their spans, whichever arrives first.

Records wait for their span, and are kept after that, since the records of one call may come in several requests. Each time, the
span is read again with all of them. Memory is bounded: over the limit, the records of the trace that changed least recently are
forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from llmtrace.codec.log_records import LogRecord, add_events
from llmtrace.model import Event, RawSpan

MOST_BYTES = 32 << 20
"""Approximate size of the records that are kept, in characters of their texts."""


class LogJoiner:
    """The log records of the latest traces. Can be used from any thread."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._events: dict[str, dict[str, list[Event]]] = {}
        """By trace id and span id; the trace that changed last comes last."""
        self._bare: dict[tuple[str, str], RawSpan] = {}
        """Spans as they were before records were added."""
        self._sizes: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        return not self._events

    def add(self, records: Sequence[LogRecord]) -> list[tuple[str, str]]:
        """Keep records. Returns the trace and span ids that they belong to, each once."""
        with self._lock:
            for record in records:
                trace_events = self._events.pop(record.trace_id, {})
                self._events[record.trace_id] = trace_events
                span_events = trace_events.setdefault(record.span_id, [])
                if record.event not in span_events:  # a sender may send a request again
                    span_events.append(record.event)
                    size = sum(len(str(value)) for value in record.event.attributes.values())
                    self._sizes[record.trace_id] = self._sizes.get(record.trace_id, 0) + size
            while sum(self._sizes.values()) > self._most_bytes and len(self._events) > 1:
                self._forget(next(iter(self._events)))
        return list(dict.fromkeys((record.trace_id, record.span_id) for record in records))

    def join(self, span: RawSpan, *, is_bare: bool = True) -> RawSpan:
        """Return the span with the records that wait for it. ``is_bare``: the span comes from its writer, without records."""
        with self._lock:
            events = self._events.get(span.trace_id, {}).get(span.span_id)
            if not events:
                return span
            key = (span.trace_id, span.span_id)
            if is_bare or key not in self._bare:
                self._bare[key] = span
            return add_events(self._bare[key], events)

    def _forget(self, trace_id: str) -> None:
        for span_id in self._events.pop(trace_id, {}):
            self._bare.pop((trace_id, span_id), None)
        self._sizes.pop(trace_id, None)
