"""Joins log records to their spans, whichever arrives first.

Records wait for their span. They are kept after that, because the records of one call may come in several requests; each time,
the span is read again with all of them. Memory is bounded: over the limit, the records of the trace that changed least recently
are dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmtrace.codec.log_records import LogRecord, add_events
from llmtrace.model import Event, RawSpan

MOST_RECORDS = 10_000
"""Records of one span that are kept, at most; a conversation has one for each message."""
MOST_BYTES = 32 << 20
"""Approximate size of the kept records and their spans, at most, in characters of their texts. The limit also holds for each
trace."""


class LogJoiner:
    """The log records of the latest traces. Can be used from any thread."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._traces: dict[str, _TraceRecords] = {}
        """By trace id; the trace that changed last comes last."""
        self._size = 0

    @property
    def is_empty(self) -> bool:
        return not self._traces

    def add(self, records: Sequence[LogRecord]) -> dict[tuple[str, str], bool]:
        """Keep records. Returns their trace and span ids, each with True if that span may have arrived already."""
        changed: dict[tuple[str, str], bool] = {}
        with self._lock:
            for record in records:
                trace = self._traces.pop(record.trace_id, None) or _TraceRecords()
                self._traces[record.trace_id] = trace
                may_be_here = record.span_id not in trace.events or record.span_id in trace.bare
                if trace.size < self._most_bytes and (growth := trace.add(record)):
                    self._size += growth
                    changed.setdefault((record.trace_id, record.span_id), may_be_here)
            self._forget()
        return changed

    def events(self, trace_id: str, span_id: str) -> list[Event]:
        """Return the records of a span, in the order in which they arrived."""
        with self._lock:
            trace = self._traces.get(trace_id)
            return [] if trace is None else list(trace.events.get(span_id, ()))

    def join(self, span: RawSpan, *, subject: str | None = None, is_bare: bool = True) -> RawSpan:
        """Return the span with its waiting records. ``is_bare``: the span comes from its writer, without records.

        ``subject``: a second id by which records are kept for it.
        """
        with self._lock:
            trace = self._traces.get(span.trace_id)
            keys = (span.span_id,) if subject is None else (span.span_id, subject)
            events = [] if trace is None else [event for key in keys for event in trace.events.get(key, ())]
            if trace is None or not events:
                return span
            if is_bare or span.span_id not in trace.bare:
                self._size += trace.keep_bare(span)
                self._forget()
            if subject is not None:
                trace.bare[subject] = trace.bare[span.span_id]
            return add_events(trace.bare[span.span_id], events)

    def waiting(self) -> list[LogRecord]:
        """Return the records whose span has not arrived."""
        with self._lock:
            return [
                LogRecord(trace_id, span_id, event)
                for trace_id, trace in self._traces.items()
                for span_id, events in trace.events.items()
                if span_id not in trace.bare and span_id not in trace.without_span
                for event in events
            ]

    def is_waiting(self, record: LogRecord) -> bool:
        """Return True if the record is kept and its span has not arrived."""
        with self._lock:
            trace = self._traces.get(record.trace_id)
            is_kept = trace is not None and record.span_id in trace.events and record.span_id not in trace.bare
            return is_kept and record.has_span

    def _forget(self) -> None:
        """Drop the traces that changed least recently while the total size is over the limit."""
        while self._size > self._most_bytes and len(self._traces) > 1:
            self._size -= self._traces.pop(next(iter(self._traces))).size


@dataclass(slots=True)
class _TraceRecords:
    """The records of one trace."""

    events: dict[str, list[Event]] = field(default_factory=dict)
    """By span id."""
    bare: dict[str, RawSpan] = field(default_factory=dict)
    """Spans as they were before records were added."""
    without_span: set[str] = field(default_factory=set)
    """Span ids of records for which no span is sent."""
    seen: set[int] = field(default_factory=set)
    """Digests of the records, because a sender may send a request twice."""
    size: int = 0

    def add(self, record: LogRecord) -> int:
        """Keep a record. Returns its size, or 0 for a duplicate, or if its span has too many."""
        events = self.events.setdefault(record.span_id, [])
        digest = hash((record.span_id, record.event.name, record.event.time, str(record.event.attributes)))
        if digest in self.seen or len(events) >= MOST_RECORDS:
            return 0
        self.seen.add(digest)
        if not record.has_span:
            self.without_span.add(record.span_id)
        events.append(record.event)
        self.size += (growth := event_size(record.event))
        return growth

    def keep_bare(self, span: RawSpan) -> int:
        """Keep a span as it was before records were added. Returns the growth in size over an earlier version."""
        before = self.bare.get(span.span_id)
        self.bare[span.span_id] = span
        growth = span_size(span) - (0 if before is None else span_size(before))
        self.size += growth
        return growth


def event_size(event: Event) -> int:
    """Return the approximate size of a record in characters."""
    return 100 + sum([len(str(value)) for value in event.attributes.values()])


def span_size(span: RawSpan) -> int:
    """Return the approximate size of a span in characters, without its resource, which several spans share."""
    return 500 + sum([len(str(value)) for value in span.attributes.values()]) + sum(map(event_size, span.events))
