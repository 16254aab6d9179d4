"""Read-only stores over a tracing backend: the common part of Jaeger, Tempo and ClickHouse. A new backend derives from
`Backend`.

Laws: nothing is written to a backend (it receives spans by OTLP). A trace counts if one of its spans is about a model, a tool
or an agent, so other services' traces are left out. A backend may return too many traces; they are filtered by the same rules
as in every other store. Several traces are fetched at a time. The summary of a trace that got no span for `QUIET` seconds is
cached.
"""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import ClassVar, NamedTuple

from llmtrace.codec import dialects
from llmtrace.errors import TraceNotFound, UnreadableStore
from llmtrace.model import RawSpan, Span, Trace, replace
from llmtrace.semconv import OPERATION_NAME, RUN_ID
from llmtrace.store import NEWEST, Query, Store, filters, journal_records, search
from llmtrace.store._http import Address, Refused, TooLarge
from llmtrace.store.summary import TraceSummary, summarise
from llmtrace.store.warnings import warn_once

DAYS = 7.0
"""Days back that traces are searched if the query does not say."""
QUIET = 300
"""Seconds after its last span from which a trace counts as complete."""
AGENT_ATTRIBUTES = (OPERATION_NAME, RUN_ID, "openinference.span.kind", "traceloop.span.kind", "gen_ai.system", "ai.operationId")
"""A span with one of these attributes is about a model, a tool or an agent. Backends search by them."""
MOST_SORTED = 10_000
"""A sort by anything but age considers at most this many traces, the newest."""
_MAX_SUMMARIES = 10_000
_NEAR = 500
"""Newest traces that are searched for the beginning of an id."""
_FULL = re.compile(r"[0-9a-f]{32}")


class TraceHit(NamedTuple):
    """A trace that a backend found."""

    trace_id: str
    spans: Sequence[RawSpan] | None = None
    """The trace's spans, if the backend returned them with the search; None: they must be fetched."""
    note: str = ""
    """Set on a last hit that is not a trace: which traces were not searched, and how to include them."""


class Backend(ABC):
    """A kind of tracing backend. Methods may be called from several threads, and raise UnreadableStore."""

    name: str
    """The backend's address without secrets."""
    at_once: ClassVar[int] = 8
    """Traces that are fetched at once."""
    selects: ClassVar[bool] = True
    """True if `find` leaves out traces that are not about models, tools or agents. Hits with spans are checked anyway."""

    @abstractmethod
    def find(self, query: Query, since: int, until: int) -> Iterable[TraceHit]:
        """Find the traces that may match ``query``, newest first.

        It may return too many, also more than ``query.limit``. ``since`` and ``until``: the query's times or the defaults, in
        nanoseconds since the Unix epoch.
        """

    @abstractmethod
    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        """Return all spans of a trace. If it does not exist, return none or raise `Refused` with status 404.

        ``prompts`` False: `journal_records.PROMPTS` may be left out.
        """

    def fetch_if_there(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        """Return all spans of a trace; none if it does not exist."""
        try:
            return self.fetch(trace_id, prompts=prompts)
        except Refused as refused:
            if refused.status == 404:
                return ()
            raise

    def fetch_many(self, trace_ids: Sequence[str], *, prompts: bool = True) -> dict[str, Sequence[RawSpan]]:
        """Return all spans of each of these traces. Default: one request for each trace."""
        with ThreadPoolExecutor(self.at_once, thread_name_prefix="llmtrace-read") as pool:
            return dict(zip(trace_ids, pool.map(partial(self.fetch_if_there, prompts=prompts), trace_ids), strict=True))

    def ids_starting_with(self, prefix: str) -> Sequence[str] | None:  # noqa: ARG002 - for backends that can search by prefix
        """Return a few trace ids that start with ``prefix``; None if the backend cannot search by prefix."""
        return None


class RemoteStore(Store):
    is_remote = True

    def __init__(self, source: Backend, *, days: float = DAYS) -> None:
        self.source = source
        self._days = days
        self._lock = threading.Lock()
        self._summaries: OrderedDict[str, TraceSummary] = OrderedDict()

    def append(self, span: Span) -> None:  # noqa: ARG002 - backends get spans by OTLP
        warn_once(
            f"{self.source.name} is read-only for llmtrace, so spans are not kept. Set LLMTRACE_STORE to a folder, and send "
            "spans to the backend by OTLP (OTEL_EXPORTER_OTLP_ENDPOINT)"
        )

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        newest_first = query.sort == "age" and not query.reverse
        wide = query if newest_first else replace(query, limit=max(query.limit, MOST_SORTED))
        summaries = (summary for summary, _ in self._select(wide, self._find(wide)))
        return filters.in_order(list(islice(summaries, wide.limit)), query)[: query.limit]

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        for _, trace in islice(self._select(query, self._find(query), prompts=prompts, traces=True), query.limit):
            if trace is not None:
                yield from trace.spans

    def spans_of(self, trace_ids: Iterable[str], query: Query, *, prompts: bool = True) -> Iterator[Span]:
        """Yield the spans of these traces that match ``query``, regardless of its limit."""
        for _, trace in self._select(query, map(TraceHit, trace_ids), prompts=prompts, traces=True):
            if trace is not None:
                yield from trace.spans

    def trace(self, trace_id: str) -> Trace:
        wanted = trace_id.strip().lower()
        if _FULL.fullmatch(wanted):
            raws = self.source.fetch_if_there(wanted)
            if raws:
                return _decoded(raws)
        newest = self._newest(1 if wanted == "last" else _NEAR)

        def starting(beginning: str) -> list[str]:
            trace_ids = self.source.ids_starting_with(beginning)
            return [trace_id for trace_id in (newest if trace_ids is None else trace_ids) if trace_id.startswith(beginning)]

        full = search.resolve(wanted, newest, starting)
        raws = self.source.fetch_if_there(full)
        if not raws:
            raise TraceNotFound(f"no trace {full!r} in {self.source.name}. The backend may have deleted it because of its age")
        return _decoded(raws)

    def _newest(self, limit: int) -> list[str]:
        """Return the ids of the newest traces.

        If only one is wanted, its spans are checked, since the trace may be about something else than models, tools and agents.
        """
        query = Query(limit=limit)
        newest: list[str] = []
        for hit in self.source.find(query, *self.bounds(query)):
            if len(newest) == limit or hit.note:
                break
            spans = hit.spans
            if spans is None and limit == 1 and not self.source.selects:
                spans = self.source.fetch_if_there(hit.trace_id)
            if spans is None or any(map(_is_known, spans)):
                newest.append(hit.trace_id)
        return newest

    def bounds(self, query: Query) -> tuple[int, int]:
        """Return the start and end of the time that is searched, in nanoseconds: the query's, or the defaults."""
        # a minute ahead, since clocks of other machines may be fast
        until = time.time_ns() + 60_000_000_000 if query.until is None else query.until
        return until - int(self._days * 86_400e9) if query.since is None else query.since, until

    def _find(self, query: Query) -> Iterable[TraceHit]:
        return self.source.find(query, *self.bounds(query)) if query.limit > 0 else ()

    def _select(
        self, query: Query, hits: Iterable[TraceHit], *, prompts: bool = True, traces: bool = False
    ) -> Iterator[tuple[TraceSummary, Trace | None]]:
        """Filter hits by ``query``. The trace is included if it was fetched, and always if ``traces``."""
        whole = prompts or bool(query.text)
        for batch in _chunks(hits, min(self.source.at_once, query.limit)):
            if batch[0].note:  # the hits before it were not enough
                warn_once(batch[0].note)
                continue
            with self._lock:
                cached = {hit.trace_id: self._summaries[hit.trace_id] for hit in batch if hit.trace_id in self._summaries}
            # words are searched in the spans, which a summary does not have
            needed = [hit for hit in batch if traces or query.text or hit.trace_id not in cached]
            spans = {hit.trace_id: hit.spans for hit in needed if hit.spans is not None}
            spans |= _fetch_halving(self.source, [hit.trace_id for hit in needed if hit.spans is None], whole)
            for hit in batch:
                summary, trace = cached.get(hit.trace_id), None
                if hit.trace_id in spans:
                    raws = spans[hit.trace_id]
                    if not any(map(_is_known, raws)):
                        continue
                    trace = _decoded(raws if whole else map(journal_records.without_prompts, raws))
                    summary = summary or self._summarise(trace, whole=whole)
                has_text = not query.text or trace is None or search.matches(trace.spans, query.text)
                if summary is not None and has_text and search.keeps(query, summary):
                    yield summary, trace

    def _summarise(self, trace: Trace, *, whole: bool) -> TraceSummary:
        summary = summarise(trace)
        if whole and max(span.end or span.start for span in trace.spans) < time.time_ns() - QUIET * 1_000_000_000:
            with self._lock:
                self._summaries[summary.trace_id] = summary
                if len(self._summaries) > _MAX_SUMMARIES:
                    self._summaries.popitem(last=False)
        return summary


def days_of(address: Address) -> float:
    """Return ``?days=`` of a store's URL. Raises UnreadableStore."""
    days_option = address.options.get("days")
    try:
        days = DAYS if days_option is None else float(days_option)
    except ValueError:
        days = 0
    if not 0 < days < 100_000:
        raise UnreadableStore(f"days={days_option!r} in the store's URL ({address.base}) must be a number above 0")
    return days


def _fetch_halving(source: Backend, trace_ids: Sequence[str], prompts: bool) -> dict[str, Sequence[RawSpan]]:
    """Return the spans of these traces. If the response is too large, request each half of the traces separately."""
    if not trace_ids:
        return {}
    try:
        return source.fetch_many(trace_ids, prompts=prompts)
    except TooLarge:
        half = len(trace_ids) // 2
        if not half:
            raise
    return _fetch_halving(source, trace_ids[:half], prompts) | _fetch_halving(source, trace_ids[half:], prompts)


def _decoded(raws: Iterable[RawSpan]) -> Trace:
    """Decode spans. Of two versions of the same span the richer wins."""
    best: dict[str, RawSpan] = {}
    for raw in raws:
        before = best.get(raw.span_id)
        if before is None or journal_records.richness(raw) > journal_records.richness(before):
            best[raw.span_id] = raw
    return Trace([dialects.decode(raw) for raw in best.values()])


def _is_known(raw: RawSpan) -> bool:
    return RUN_ID in raw.attributes or dialects.knows(raw)


def _chunks(hits: Iterable[TraceHit], size: int) -> Iterator[list[TraceHit]]:
    """Yield batches of ``size`` hits. A note is a batch of its own, so it is read only if the hits before it were not
    enough."""
    batch = list[TraceHit]()
    for hit in hits:
        if hit.note and batch:
            yield batch
            batch = []
        batch.append(hit)
        if hit.note or len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
