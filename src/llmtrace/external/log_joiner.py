"""Joins log records to their spans, whichever arrives first.

Records wait for their span, and are kept after that, since the records of one call may come in several requests. Each time, the
span is read again with all of them. Memory is bounded: over the limit, the records of the trace that changed least recently are
forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmtrace.codec.log_records import LogRecord, add_events
from llmtrace.model import Event, RawSpan

MOST_RECORDS = 10_000
"""Records of one span that are kept; a conversation has one for each message."""
MOST_BYTES = 32 << 20
"""Approximate size of the records that are kept, in characters of their texts."""


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
        """Keep records. Returns the trace and span ids that they belong to, and whether that span may have arrived already."""
        changed: dict[tuple[str, str], bool] = {}
        with self._lock:
            for record in records:
                trace = self._traces.pop(record.trace_id, None) or _TraceRecords()
                self._traces[record.trace_id] = trace
                may_be_here = record.span_id not in trace.events or record.span_id in trace.bare
                if trace.add(record):
                    self._size += record_size(record)
                    changed.setdefault((record.trace_id, record.span_id), may_be_here)
            while self._size > self._most_bytes and len(self._traces) > 1:
                self._size -= self._traces.pop(next(iter(self._traces))).size
        return changed

    def join(self, span: RawSpan, *, is_bare: bool = True) -> RawSpan:
        """Return the span with the records that wait for it. ``is_bare``: the span comes from its writer, without records."""
        with self._lock:
            trace = self._traces.get(span.trace_id)
            events = None if trace is None else trace.events.get(span.span_id)
            if trace is None or not events:
                return span
            if is_bare or span.span_id not in trace.bare:
                trace.bare[span.span_id] = span
            return add_events(trace.bare[span.span_id], events)


@dataclass(slots=True)
class _TraceRecords:
    """The records of one trace."""

    events: dict[str, list[Event]] = field(default_factory=dict)
    """By span id."""
    bare: dict[str, RawSpan] = field(default_factory=dict)
    """Spans as they were before records were added."""
    seen: set[int] = field(default_factory=set)
    """Digests of the records: a sender may send a request again."""
    size: int = 0

    def add(self, record: LogRecord) -> bool:
        """Keep a record. Returns False if it is known, or if its span has too many."""
        events = self.events.setdefault(record.span_id, [])
        digest = hash((record.span_id, record.event.name, record.event.time, str(record.event.attributes)))
        if digest in self.seen or len(events) >= MOST_RECORDS:
            return False
        self.seen.add(digest)
        events.append(record.event)
        self.size += record_size(record)
        return True


def record_size(record: LogRecord) -> int:
    """The approximate size of a record in characters."""
    return 100 + sum([len(str(value)) for value in record.event.attributes.values()])
