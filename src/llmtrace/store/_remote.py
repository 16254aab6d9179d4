"""A team's traces, read where they are: what every backend has in common, so that one is a file with two questions in it.

Laws: nothing is written there (spans arrive by OTLP); a trace counts if a span of it tells of a model, a tool or an agent, so
that the other services of a backend stay out; what a backend finds too much is sifted here by the same rules as in every
other store. Traces are fetched eight at a time (a hundred with one question, where a backend answers such), and what has been
quiet for `QUIET` is summarised once.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from llmtrace.codec import dialects
from llmtrace.errors import TraceNotFound, UnreadableStore
from llmtrace.model import RawSpan, Span, Trace
from llmtrace.semconv import OPERATION_NAME, RUN_ID
from llmtrace.store import NEWEST, Query, Store, records, search
from llmtrace.store._http import Address, TooLarge
from llmtrace.store.notices import say
from llmtrace.store.summary import TraceSummary, summarise

DAYS = 7.0
"""How far back is looked where a query does not say."""
QUIET = 300
"""Seconds after its last span after which a trace counts as whole."""
TELLING = (OPERATION_NAME, RUN_ID, "openinference.span.kind", "traceloop.span.kind", "gen_ai.system", "ai.operationId")
"""A span with one of these attributes tells of a model, a tool or an agent: what a backend can search by."""
AT_ONCE = 8
_TOGETHER = 100
_REMEMBERED = 10_000
_NEAR = 500
"""Newest traces among which the beginning of an id is looked for."""
_FULL = re.compile(r"[0-9a-f]{32}")


class Found(NamedTuple):
    """A trace that a backend found."""

    trace_id: str
    spans: Sequence[RawSpan] | None = None
    """Where the backend told them at once; None: they are to be fetched."""
    note: str = ""
    """Instead of a trace, after all others: what was not looked at, and how to have it looked at."""


class Source(Protocol):
    """One backend. Its methods may be called from several threads, and raise UnreadableStore."""

    name: str
    """Its address without secrets."""

    def find(self, query: Query, since: int, until: int) -> Iterable[Found]:
        """Traces that may be what a query asks for, newest first; more is fine, and more than ``limit`` where it cannot tell.
        ``since`` and ``until`` are those of the query, or what stands for them."""

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        """All spans of a trace; empty where there is none. ``prompts`` False: `records.PROMPTS` may be left out."""

    def starting(self, beginning: str) -> Sequence[str] | None:
        """Ids that begin so, a few; None: the backend cannot say."""


@runtime_checkable
class Together(Protocol):
    """A backend that gives many traces with one answer."""

    def fetch_together(self, trace_ids: Sequence[str], *, prompts: bool = True) -> Iterable[RawSpan]:
        """All spans of these traces, in any order."""


class RemoteStore(Store):
    """A `Store` over a backend."""

    elsewhere = True

    def __init__(self, source: Source, *, days: float = DAYS) -> None:
        self.source = source
        self._days = days
        self._lock = threading.Lock()
        self._summaries: OrderedDict[str, TraceSummary] = OrderedDict()

    def append(self, span: Span) -> None:  # noqa: ARG002 - a store is for reading and writing, this one for reading
        say(
            f"{self.source.name} is read here, not written: spans are not kept. Set LLMTRACE_STORE to a folder, and send "
            "spans to the backend by OTLP (OTEL_EXPORTER_OTLP_ENDPOINT)"
        )

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        found = (summary for summary, _ in self._kept(query, self._found(query)))
        return sorted(islice(found, query.limit), key=lambda summary: summary.start, reverse=True)

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        for _, trace in islice(self._kept(query, self._found(query), prompts=prompts, traces=True), query.limit):
            if trace is not None:
                yield from trace.spans

    def spans_of(self, trace_ids: Iterable[str], query: Query, *, prompts: bool = True) -> Iterator[Span]:
        """As `spans`, of these traces only, and whatever their number."""
        for _, trace in self._kept(query, map(Found, trace_ids), prompts=prompts, traces=True):
            if trace is not None:
                yield from trace.spans

    def trace(self, trace_id: str) -> Trace:
        wanted = trace_id.strip().lower()
        if _FULL.fullmatch(wanted):
            raws = self.source.fetch(wanted)
            if raws:
                return _decoded(raws)
        newest = self._newest(1 if wanted == "last" else _NEAR)
        full = search.resolve(wanted, newest, lambda start: self._starting(start, newest))
        raws = self.source.fetch(full)
        if not raws:
            raise TraceNotFound(f"no trace {full!r} in {self.source.name}; it may be older than what is kept there")
        return _decoded(raws)

    def _newest(self, limit: int) -> list[str]:
        query = Query(limit=limit)
        found = (one for one in self.source.find(query, *self.bounds(query)) if not one.note)
        told = (one.trace_id for one in found if one.spans is None or any(map(_is_known, one.spans)))
        return list(islice(told, limit))

    def _starting(self, beginning: str, newest: Sequence[str]) -> list[str]:
        told = self.source.starting(beginning)
        return [one for one in (newest if told is None else told) if one.startswith(beginning)]

    def bounds(self, query: Query) -> tuple[int, int]:
        """From when until when traces are looked for: what a query says, or what stands for it."""
        until = time.time_ns() + 60_000_000_000 if query.until is None else query.until
        return until - int(self._days * 86_400e9) if query.since is None else query.since, until

    def _found(self, query: Query) -> Iterable[Found]:
        return self.source.find(query, *self.bounds(query)) if query.limit > 0 else ()

    def _kept(
        self, query: Query, found: Iterable[Found], *, prompts: bool = True, traces: bool = False
    ) -> Iterator[tuple[TraceSummary, Trace | None]]:
        """What a query asks for of what was found; the trace too where it was fetched, always if ``traces``."""
        whole = prompts or bool(query.text)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="llmtrace-read") as pool:
            for some in self._fetched(found, query, whole, traces):
                if some[0].note:  # more was wanted than was found
                    say(some[0].note)
                    continue
                for summary, trace in pool.map(lambda one: self._look(one, query, whole, traces), some):
                    if summary is None or not search.keeps(query, summary):
                        continue
                    if query.text and trace is not None and not search.matches(trace.spans, query.text):
                        continue
                    yield summary, trace

    def _fetched(self, found: Iterable[Found], query: Query, prompts: bool, traces: bool) -> Iterator[list[Found]]:
        """What was found, some at a time; with the spans that are needed where the backend gives those of many at once."""
        if not isinstance(self.source, Together):
            yield from _chunks(found, min(AT_ONCE, query.limit))
            return
        for some in _chunks(found, min(_TOGETHER, query.limit)):
            with self._lock:
                known = set() if traces or query.text else {one.trace_id for one in some if one.trace_id in self._summaries}
            asked = [one.trace_id for one in some if one.spans is None and one.trace_id not in known]
            spans: dict[str, list[RawSpan]] = {trace_id: [] for trace_id in asked}
            for raw in _all_of(self.source, asked, prompts):
                spans.setdefault(raw.trace_id, []).append(raw)
            yield [Found(one.trace_id, spans.get(one.trace_id, one.spans)) for one in some]

    def _look(self, found: Found, query: Query, prompts: bool, traces: bool) -> tuple[TraceSummary | None, Trace | None]:
        with self._lock:
            known = self._summaries.get(found.trace_id)
        if known is not None and not traces and not query.text:
            return known, None
        raws = self.source.fetch(found.trace_id, prompts=prompts) if found.spans is None else found.spans
        if not any(_is_known(raw) for raw in raws):
            return None, None
        trace = _decoded(raws if prompts else [records.without_prompts(raw) for raw in raws])
        summary = known or summarise(trace)
        if prompts and max(span.end or span.start for span in trace.spans) < time.time_ns() - QUIET * 1_000_000_000:
            self._remember(summary)
        return summary, trace

    def _remember(self, summary: TraceSummary) -> None:
        with self._lock:
            self._summaries[summary.trace_id] = summary
            while len(self._summaries) > _REMEMBERED:
                self._summaries.popitem(last=False)


def days_of(address: Address) -> float:
    """``?days=`` of a store's URL. Raises UnreadableStore."""
    said = address.options.get("days")
    try:
        days = DAYS if said is None else float(said)
    except ValueError:
        days = 0
    if not 0 < days < 100_000:
        raise UnreadableStore(f"{address.base}: days={said!r} is no number of days above 0")
    return days


def _all_of(source: Together, trace_ids: Sequence[str], prompts: bool) -> Sequence[RawSpan]:
    """Their spans; in two answers where one would be too large."""
    if not trace_ids:
        return ()
    try:
        return list(source.fetch_together(trace_ids, prompts=prompts))
    except TooLarge:
        half = len(trace_ids) // 2
        if not half:
            raise
    return [*_all_of(source, trace_ids[:half], prompts), *_all_of(source, trace_ids[half:], prompts)]


def _decoded(raws: Iterable[RawSpan]) -> Trace:
    """Each span once, the richer version."""
    best: dict[str, RawSpan] = {}
    for raw in raws:
        before = best.get(raw.span_id)
        if before is None or records.richness(raw) > records.richness(before):
            best[raw.span_id] = raw
    return Trace([dialects.decode(raw) for raw in best.values()])


def _is_known(raw: RawSpan) -> bool:
    return RUN_ID in raw.attributes or dialects.knows(raw)


def _chunks(found: Iterable[Found], size: int) -> Iterator[list[Found]]:
    """So many at a time; a note by itself, so that it is read only where what comes before was not enough."""
    some = list[Found]()
    for one in found:
        if one.note and some:
            yield some
            some = []
        some.append(one)
        if one.note or len(some) == size:
            yield some
            some = []
    if some:
        yield some
