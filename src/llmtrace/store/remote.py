"""Read-only stores over a tracing backend: what Jaeger, Tempo and ClickHouse have in common. A new one is one `Backend`.

Laws: nothing is written to a backend (spans arrive there by OTLP). A trace counts if one of its spans is about a model, a tool
or an agent, so other services' traces stay out. A backend may return too many traces; they are filtered by the same rules as
in every other store. Traces are fetched eight at a time, or a hundred in one request if the backend can do that. The summary
of a trace that got no span for `QUIET` seconds is cached.
"""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
"""How far back traces are searched if the query does not say."""
QUIET = 300
"""Seconds after its last span from which a trace counts as complete."""
AGENT_ATTRIBUTES = (OPERATION_NAME, RUN_ID, "openinference.span.kind", "traceloop.span.kind", "gen_ai.system", "ai.operationId")
"""A span with one of these attributes is about a model, a tool or an agent. Backends search by them."""
AT_ONCE = 8
MOST_SORTED = 10_000
"""Newest traces among which the largest are looked for."""
_BATCH = 100
_MAX_SUMMARIES = 10_000
_NEAR = 500
"""How many of the newest traces are searched for the beginning of an id."""
_FULL = re.compile(r"[0-9a-f]{32}")


class TraceHit(NamedTuple):
    """A trace that a backend found."""

    trace_id: str
    spans: Sequence[RawSpan] | None = None
    """Its spans, if the backend returned them with the search; None: they have to be fetched."""
    note: str = ""
    """Set on a last hit that is not a trace: which traces were not searched, and how to have them searched."""


class Backend(ABC):
    """One kind of tracing backend. Methods may be called from several threads, and raise UnreadableStore."""

    name: str
    """Its address without secrets."""
    fetches_many: ClassVar[bool] = False
    """True if `fetch_many` gets many traces with one request."""
    selects: ClassVar[bool] = True
    """True if `find` returns traces about models, tools and agents only, where it returns no spans."""

    @abstractmethod
    def find(self, query: Query, since: int, until: int) -> Iterable[TraceHit]:
        """Find the traces that may match ``query``, newest first.

        It may return too many, also more than ``query.limit``. ``since`` and ``until``: the query's, or their defaults.
        """

    @abstractmethod
    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        """All spans of a trace; none, or `Refused` with status 404, if it does not exist.

        ``prompts`` False: `journal_records.PROMPTS` may be left out.
        """

    def fetch_many(self, trace_ids: Sequence[str], *, prompts: bool = True) -> Iterable[RawSpan]:
        """All spans of these traces, in any order."""
        return [raw for trace_id in trace_ids for raw in self.fetch(trace_id, prompts=prompts)]

    def ids_starting_with(self, prefix: str) -> Sequence[str] | None:  # noqa: ARG002 - for backends that can search by prefix
        """A few trace ids that start with ``prefix``; None if the backend cannot search by prefix."""
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
        """Like `spans`, for these traces, whatever their number."""
        for _, trace in self._select(query, map(TraceHit, trace_ids), prompts=prompts, traces=True):
            if trace is not None:
                yield from trace.spans

    def trace(self, trace_id: str) -> Trace:
        wanted = trace_id.strip().lower()
        if _FULL.fullmatch(wanted):
            raws = self._fetch(wanted)
            if raws:
                return _decoded(raws)
        newest = self._last() if wanted == "last" else self._newest(_NEAR)
        full = search.resolve(wanted, newest, lambda start: self._starting(start, newest))
        raws = self._fetch(full)
        if not raws:
            raise TraceNotFound(f"no trace {full!r} in {self.source.name}. The backend may have deleted it because of its age")
        return _decoded(raws)

    def _fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        try:
            return self.source.fetch(trace_id, prompts=prompts)
        except Refused as refused:
            if refused.status == 404:
                return ()
            raise

    def _newest(self, limit: int) -> list[str]:
        query = Query(limit=limit)
        hits = (hit for hit in self.source.find(query, *self.bounds(query)) if not hit.note)
        trace_ids = (hit.trace_id for hit in hits if hit.spans is None or any(map(_is_known, hit.spans)))
        return list(islice(trace_ids, limit))

    def _last(self) -> list[str]:
        """The newest trace; none if the store is empty."""
        query = Query(limit=1)
        for hit in self.source.find(query, *self.bounds(query)):
            spans = hit.spans
            if spans is None and not self.source.selects and not hit.note:
                spans = self._fetch(hit.trace_id)
            if not hit.note and (spans is None or any(map(_is_known, spans))):
                return [hit.trace_id]
        return []

    def _starting(self, beginning: str, newest: Sequence[str]) -> list[str]:
        matching_ids = self.source.ids_starting_with(beginning)
        return [trace_id for trace_id in (newest if matching_ids is None else matching_ids) if trace_id.startswith(beginning)]

    def bounds(self, query: Query) -> tuple[int, int]:
        """The start and end of the time that is searched, in nanoseconds: the query's, or the defaults."""
        until = time.time_ns() + 60_000_000_000 if query.until is None else query.until
        return until - int(self._days * 86_400e9) if query.since is None else query.since, until

    def _find(self, query: Query) -> Iterable[TraceHit]:
        return self.source.find(query, *self.bounds(query)) if query.limit > 0 else ()

    def _select(
        self, query: Query, hits: Iterable[TraceHit], *, prompts: bool = True, traces: bool = False
    ) -> Iterator[tuple[TraceSummary, Trace | None]]:
        """Filter hits by ``query``. The trace is included if it was fetched, and always if ``traces``."""
        whole = prompts or bool(query.text)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="llmtrace-read") as pool:
            for batch in self._batches(hits, query, whole, traces):
                if batch[0].note:  # the hits before it were not enough
                    warn_once(batch[0].note)
                    continue
                for summary, trace in pool.map(lambda hit: self._read(hit, query, whole, traces), batch):
                    if summary is None or not search.keeps(query, summary):
                        continue
                    if query.text and trace is not None and not search.matches(trace.spans, query.text):
                        continue
                    yield summary, trace

    def _batches(self, hits: Iterable[TraceHit], query: Query, prompts: bool, traces: bool) -> Iterator[list[TraceHit]]:
        """Split hits into batches, with the spans that are needed if the backend returns many traces at once."""
        if not self.source.fetches_many:
            yield from _chunks(hits, min(AT_ONCE, query.limit))
            return
        for batch in _chunks(hits, min(_BATCH, query.limit)):
            with self._lock:
                cached = set() if traces or query.text else {hit.trace_id for hit in batch if hit.trace_id in self._summaries}
            missing_ids = [hit.trace_id for hit in batch if hit.spans is None and hit.trace_id not in cached]
            spans: dict[str, list[RawSpan]] = {trace_id: [] for trace_id in missing_ids}
            for raw in _fetch_halving(self.source, missing_ids, prompts):
                spans.setdefault(raw.trace_id, []).append(raw)
            yield [TraceHit(hit.trace_id, spans.get(hit.trace_id, hit.spans)) for hit in batch]

    def _read(self, hit: TraceHit, query: Query, prompts: bool, traces: bool) -> tuple[TraceSummary | None, Trace | None]:
        with self._lock:
            cached = self._summaries.get(hit.trace_id)
        if cached is not None and not traces and not query.text:
            return cached, None
        raws = self._fetch(hit.trace_id, prompts=prompts) if hit.spans is None else hit.spans
        if not any(_is_known(raw) for raw in raws):
            return None, None
        trace = _decoded(raws if prompts else [journal_records.without_prompts(raw) for raw in raws])
        summary = cached or summarise(trace)
        if prompts and max(span.end or span.start for span in trace.spans) < time.time_ns() - QUIET * 1_000_000_000:
            self._remember(summary)
        return summary, trace

    def _remember(self, summary: TraceSummary) -> None:
        with self._lock:
            self._summaries[summary.trace_id] = summary
            while len(self._summaries) > _MAX_SUMMARIES:
                self._summaries.popitem(last=False)


def days_of(address: Address) -> float:
    """``?days=`` of a store's URL. Raises UnreadableStore."""
    days_option = address.options.get("days")
    try:
        days = DAYS if days_option is None else float(days_option)
    except ValueError:
        days = 0
    if not 0 < days < 100_000:
        raise UnreadableStore(f"days={days_option!r} in the store's URL ({address.base}) must be a number above 0")
    return days


def _fetch_halving(source: Backend, trace_ids: Sequence[str], prompts: bool) -> Sequence[RawSpan]:
    """The spans of these traces, in several requests if the response to one is too large."""
    if not trace_ids:
        return ()
    try:
        return list(source.fetch_many(trace_ids, prompts=prompts))
    except TooLarge:
        half = len(trace_ids) // 2
        if not half:
            raise
    return [*_fetch_halving(source, trace_ids[:half], prompts), *_fetch_halving(source, trace_ids[half:], prompts)]


def _decoded(raws: Iterable[RawSpan]) -> Trace:
    """Decode spans; of two versions of one span the richer wins."""
    best: dict[str, RawSpan] = {}
    for raw in raws:
        before = best.get(raw.span_id)
        if before is None or journal_records.richness(raw) > journal_records.richness(before):
            best[raw.span_id] = raw
    return Trace([dialects.decode(raw) for raw in best.values()])


def _is_known(raw: RawSpan) -> bool:
    return RUN_ID in raw.attributes or dialects.knows(raw)


def _chunks(hits: Iterable[TraceHit], size: int) -> Iterator[list[TraceHit]]:
    """Batches of ``size`` hits. A note is a batch of its own, so it is read only if the hits before it were not enough."""
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
