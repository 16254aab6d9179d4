"""Spans in memory: the store ``memory:``, and `Spans` and `SpansStore`, the base of stores without an index."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from llmtrace.codec import genai, message_cache
from llmtrace.config import Config
from llmtrace.model import RawSpan, Span, Trace
from llmtrace.store import NEWEST, Query, Store, filters, journal_records, search
from llmtrace.store.summary import TraceSummary, summarise

SCHEMES = ("memory",)
MAX_BYTES = 256 << 20
"""Approximate size in characters from which the oldest traces are dropped (or ``max_store_bytes``, if that is less)."""


SpanKey: TypeAlias = tuple[str, str]
"""Trace id and span id."""


class Spans:
    """Encoded spans by trace. Of two versions of a span the richer is kept. Several threads may use them at once."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a finaliser may append while its thread is in here
        self._traces: dict[str, dict[str, _Entry]] = {}
        self._read: dict[str, Trace] = {}
        self._size = 0

    def add(self, raw: RawSpan, *, alive: bool = False) -> None:
        """Add a span. ``alive``: if the span is unfinished, its program still runs."""
        with self._lock:
            entry = _Entry(raw, journal_records.richness(raw), alive and raw.end is None)
            spans = self._traces.setdefault(raw.trace_id, {})
            before = spans.get(raw.span_id)
            if before is not None:
                if before.richness > entry.richness:
                    return
                self._size -= journal_records.size_of(before.richness)
            spans[raw.span_id] = entry
            self._size += journal_records.size_of(entry.richness)
            self._read.pop(raw.trace_id, None)

    def bound(self, size: int) -> None:
        """Drop the oldest traces until the rest has at most ``size`` characters. If one trace is left, drop its ended spans."""
        with self._lock:
            while self._size > size and len(self._traces) > 1:
                trace_id = next(iter(self._traces))
                self._size -= sum(journal_records.size_of(entry.richness) for entry in self._traces.pop(trace_id).values())
                self._read.pop(trace_id, None)
            if self._size > size:
                self._thin(size)

    def _thin(self, size: int) -> None:
        """Drop ended spans of the last trace. Open spans stay, since their end may still come, and so does the newest span."""
        for trace_id, spans in self._traces.items():
            self._read.pop(trace_id, None)
            *ended, _ = [span_id for span_id, entry in spans.items() if entry.raw.end is not None] or [""]
            for span_id in ended:
                if self._size <= size:
                    return
                self._size -= journal_records.size_of(spans.pop(span_id).richness)

    def ids(self, query: Query) -> list[str]:
        """Return the ids of the traces that `traces` returns."""
        return [summary.trace_id for summary in self.traces(query)]

    def spans_of(self, trace_id: str, *, prompts: bool) -> tuple[Span, ...]:
        """Return the spans of one trace in order of start; none if it was dropped. ``prompts``: see `Store.spans`."""
        with self._lock:
            if trace_id not in self._traces:
                return ()
            if prompts:
                return self._decoded(trace_id).spans
            raws = [journal_records.without_prompts(entry.raw) for entry in self._traces[trace_id].values()]
            return Trace([genai.decode(raw) for raw in raws]).spans

    def traces(self, query: Query) -> list[TraceSummary]:
        with self._lock:
            summaries: list[TraceSummary] = []
            for trace_id in self._newest():
                if len(summaries) >= query.limit and query.sort == "age" and not query.reverse:
                    break
                trace = self._decoded(trace_id)
                summary = summarise(trace)
                if search.keeps(query, summary) and (not query.text or search.matches(trace.spans, query.text)):
                    summaries.append(summary)
            return filters.in_order(summaries, query)[: query.limit]

    def trace(self, wanted: str) -> Trace:
        """Return the trace with this id or beginning of an id, or the newest for "last". Raises TraceNotFound."""
        with self._lock:
            newest = self._newest()
            return self._decoded(search.resolve(wanted, newest, lambda start: [i for i in newest if i.startswith(start)]))

    def richness_of(self, ids: Iterable[SpanKey]) -> dict[SpanKey, tuple[bool, int]]:
        """Return `journal_records.richness` of each of these spans that is stored."""
        with self._lock:
            stored = ((key, self._traces.get(key[0], {}).get(key[1])) for key in ids)
            return {key: entry.richness for key, entry in stored if entry is not None}

    def stored_traces(self, trace_ids: Iterable[str]) -> set[str]:
        """Return those of these trace ids that have spans."""
        with self._lock:
            return {trace_id for trace_id in trace_ids if trace_id in self._traces}

    def raw_spans(self, ids: Iterable[SpanKey]) -> list[RawSpan]:
        """Return those of these spans that are stored."""
        with self._lock:
            return [self._traces[trace_id][span_id].raw for trace_id, span_id in self.richness_of(ids)]

    def _newest(self) -> list[str]:
        return sorted(self._traces, key=lambda i: min(entry.raw.start for entry in self._traces[i].values()), reverse=True)

    def _decoded(self, trace_id: str) -> Trace:
        trace = self._read.get(trace_id)
        if trace is None:
            entries = self._traces[trace_id].values()
            alive = frozenset(entry.raw.span_id for entry in entries if entry.alive)
            with message_cache.together():
                trace = self._read[trace_id] = Trace([genai.decode(entry.raw) for entry in entries], alive=alive)
        return trace


class _Entry(NamedTuple):
    raw: RawSpan
    richness: tuple[bool, int]
    alive: bool


class SpansStore(Store):
    """A store that answers from `Spans`."""

    takes_encoded = True

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def current(self) -> Spans:
        """Return all stored spans. Raises UnreadableStore."""
        return self._spans

    def append(self, span: Span) -> None:
        self.append_encoded(genai.encode(span))

    def append_encoded(self, raw: RawSpan) -> None:
        self._spans.add(raw)

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        return self.current().traces(query)

    def trace(self, trace_id: str) -> Trace:
        return self.current().trace(trace_id)

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        spans = self.current()
        for trace_id in spans.ids(query):
            yield from spans.spans_of(trace_id, prompts=prompts)


class MemoryStore(SpansStore):
    """A store that ends with its process. Its unfinished spans count as running."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(Spans())
        self._max_bytes = max_bytes

    def append_encoded(self, raw: RawSpan) -> None:
        self._spans.add(raw, alive=True)
        self._spans.bound(self._max_bytes)


def open(url: str, config: Config) -> MemoryStore:  # noqa: A001, ARG001
    return MemoryStore(max_bytes=min(config.max_store_bytes, MAX_BYTES))
