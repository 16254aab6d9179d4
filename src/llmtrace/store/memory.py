"""Spans in memory: a store of its own (``memory:``), and what other stores read into when they have no index."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

from llmtrace.codec import genai, message_cache
from llmtrace.config import Config
from llmtrace.model import RawSpan, Span, Trace
from llmtrace.store import NEWEST, Query, Store, records, search
from llmtrace.store.summary import TraceSummary, summarise

SCHEMES = ("memory",)
MAX_BYTES = 256 << 20
"""Rough size in characters beyond which the oldest traces go (or ``max_store_bytes``, if that is less)."""


class Spans:
    """Encoded spans by trace; each once, the richer version."""

    def __init__(self) -> None:
        self._traces: dict[str, dict[str, _Held]] = {}
        self._read: dict[str, Trace] = {}
        self._size = 0

    def add(self, raw: RawSpan, *, alive: bool = False) -> None:
        """``alive``: if it is unfinished, its program still runs."""
        held = _Held(raw, records.richness(raw), alive and raw.end is None)
        spans = self._traces.setdefault(raw.trace_id, {})
        before = spans.get(raw.span_id)
        if before is not None:
            if before.richness > held.richness:
                return
            self._size -= before.richness[1]
        spans[raw.span_id] = held
        self._size += held.richness[1]
        self._read.pop(raw.trace_id, None)

    def bound(self, size: int) -> None:
        """Forget the traces that came first until the rest is within ``size`` characters; of the last one that is left, the
        spans that ended first."""
        while self._size > size and len(self._traces) > 1:
            trace_id = next(iter(self._traces))
            self._size -= sum(held.richness[1] for held in self._traces.pop(trace_id).values())
            self._read.pop(trace_id, None)
        if self._size > size:
            self._thin(size)

    def _thin(self, size: int) -> None:
        """Its open spans stay, so that what is still to come has its place; and what came last, however large."""
        for trace_id, spans in self._traces.items():
            self._read.pop(trace_id, None)
            *ended, _ = [span_id for span_id, held in spans.items() if held.raw.end is not None] or [""]
            for span_id in ended:
                if self._size <= size:
                    return
                self._size -= spans.pop(span_id).richness[1]

    def traces(self, query: Query) -> list[TraceSummary]:
        return list(self._found(query))

    def ids(self, query: Query) -> list[str]:
        """Ids of the traces that `traces` gives the summaries of."""
        return [summary.trace_id for summary in self._found(query)]

    def of(self, trace_id: str, *, prompts: bool) -> tuple[Span, ...]:
        """The spans of one trace in order of start; none where it is gone. ``prompts``: see `Store.spans`."""
        if trace_id not in self._traces:
            return ()
        if prompts:
            return self._decoded(trace_id).spans
        raws = [records.without_prompts(held.raw) for held in self._traces[trace_id].values()]
        return Trace([genai.decode(raw) for raw in raws]).spans

    def _found(self, query: Query) -> Iterator[TraceSummary]:
        found = 0
        for trace_id in self._newest():
            if found >= query.limit:
                return
            trace = self._decoded(trace_id)
            summary = summarise(trace)
            if search.keeps(query, summary) and (not query.text or search.matches(trace.spans, query.text)):
                found += 1
                yield summary

    def trace(self, wanted: str) -> Trace:
        """Raises TraceNotFound."""
        newest = self._newest()
        return self._decoded(search.resolve(wanted, newest, lambda start: [i for i in newest if i.startswith(start)]))

    def _newest(self) -> list[str]:
        return sorted(self._traces, key=lambda i: min(held.raw.start for held in self._traces[i].values()), reverse=True)

    def _decoded(self, trace_id: str) -> Trace:
        trace = self._read.get(trace_id)
        if trace is None:
            held = self._traces[trace_id].values()
            alive = frozenset(one.raw.span_id for one in held if one.alive)
            with message_cache.together():
                trace = self._read[trace_id] = Trace([genai.decode(one.raw) for one in held], alive=alive)
        return trace


class _Held(NamedTuple):
    raw: RawSpan
    richness: tuple[bool, int]
    alive: bool


class MemoryStore(Store):
    """Lives and dies with the process; its unfinished spans count as running."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.RLock()  # reentrant: a finaliser may append while its thread is in here
        self._max_bytes = max_bytes
        self._spans = Spans()

    def append(self, span: Span) -> None:
        raw = genai.encode(span)
        with self._lock:
            self._spans.add(raw, alive=True)
            self._spans.bound(self._max_bytes)

    def flush(self) -> None:
        pass

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        with self._lock:
            return self._spans.traces(query)

    def trace(self, trace_id: str) -> Trace:
        with self._lock:
            return self._spans.trace(trace_id)

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        with self._lock:
            found = self._spans.ids(query)
        for trace_id in found:
            with self._lock:
                spans = self._spans.of(trace_id, prompts=prompts)
            yield from spans

    def close(self) -> None:
        pass


def open(url: str, config: Config) -> MemoryStore:  # noqa: A001, ARG001
    return MemoryStore(max_bytes=min(config.max_store_bytes, MAX_BYTES))
