"""Reads the traces of a store for the viewer, and caches them. All methods may be called from several threads.

Law: a trace is read once. Spans that the store gets later are merged into it (`Source.add`).
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmtrace import listing
from llmtrace.errors import StoreError, TraceNotFound
from llmtrace.model import Span, Trace, replace
from llmtrace.store import Query, Store, TraceSummary
from llmtrace.viewer.payload import Payload, payload
from llmtrace.viewer.rows import Row, session_row, span_row, trace_row
from llmtrace.viewer.trace_view import TraceView

if TYPE_CHECKING:
    from llmtrace.statistics import By

MOST_OPEN = 8
MOST_COUNTED = 5_000
"""Number of newest traces that trends count in a store without hourly statistics."""
LIST_SECONDS = 0.5
"""Seconds that a list filtered by confidence may spend on diagnoses before it is answered."""
LONG = 500
"""Number of spans beyond which a trace is long. A long trace is first read without the inputs of its model calls."""
SCREENFUL = 120
"""Number of rows of a long trace that are sent first, before the others are read."""


class Source:
    """The viewer's view of a store. Long traces are cached apart until they are read with their models' input."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.RLock()
        self._complete: OrderedDict[str, TraceView] = OrderedDict()
        self._without_prompts: OrderedDict[str, TraceView] = OrderedDict()
        self._summaries: dict[str, TraceSummary] = {}

    def traces(self, query: Query, offset: int) -> dict[str, Any]:
        """Return a page of the list. Raises UnreadableStore.

        ``more`` is true if another page follows. ``undiagnosed``: number of traces that are not diagnosed yet, so that it is
        not known if they have the query's confidence.
        """
        summaries, undiagnosed = listing.find(self.store, replace(query, limit=query.limit + offset + 1), seconds=LIST_SECONDS)
        self._summaries.update((summary.trace_id, summary) for summary in summaries[offset:])
        waiting = listing.waiting(self.store)
        return {
            "traces": [trace_row(summary, waiting) for summary in summaries[offset : offset + query.limit]],
            "more": len(summaries) > offset + query.limit,
            "undiagnosed": undiagnosed,
        }

    def sessions(self, query: Query) -> dict[str, Any]:
        """Return the conversations that have a matching trace, with all their turns. Raises UnreadableStore."""
        sessions, waiting = listing.sessions(self.store, replace(query, limit=query.limit + 1)), listing.waiting(self.store)
        for session in sessions:
            self._summaries.update((turn.trace_id, turn) for turn in session.turns)
        return {
            "sessions": [session_row(session, waiting) for session in sessions[: query.limit]],
            "more": len(sessions) > query.limit,
        }

    def suspicions(self, trace_ids: Iterable[str]) -> dict[str, Any]:
        """Return the first suspect of each listed trace that was diagnosed, by trace id; None for a trace without a suspect.

        If the diagnosis of a trace failed, its suspect is replaced by a text that says so.
        """
        summaries = [self._summaries[trace_id] for trace_id in trace_ids if trace_id in self._summaries]
        pairs = zip(summaries, listing.verdicts(self.store, summaries), strict=True)
        return {trace.trace_id: _suspicion(verdict) for trace, verdict in pairs if not verdict.undiagnosed}

    def find_summary(self, trace_id: str) -> TraceSummary | None:
        """Return the summary of a trace; None if the store does not have it."""
        summary = self._summaries.get(trace_id)
        if summary is None and trace_id and self.store.has_index:
            with contextlib.suppress(StoreError):
                summary = self._summaries[trace_id] = self.store.summary(trace_id)
        return summary

    def compared(self, left_trace_id: str, right: str) -> dict[str, Any]:
        """Compare two traces. Raises TraceNotFound, UnreadableStore."""
        from llmtrace.diagnosis.difference import compare  # imports lineage, which most pages do not need

        sides = self.trace_view(left_trace_id), self.trace_view(right)
        comparison = compare(sides[0].trace, sides[1].trace)
        rows = [{row["id"]: row for row in side.rows(0)["rows"]} for side in sides]
        pairs = [
            {"what": pair.what, "left": rows[0].get(pair.left or ""), "right": rows[1].get(pair.right or "")}
            for pair in comparison.pairs
        ]
        heads = [trace_row(side.summary) for side in sides]
        return {"left": heads[0], "right": heads[1], "pairs": pairs, "first": comparison.first, "left_out": comparison.left_out}

    def over_time(self, since: int, until: int, by: By, size: int, offset: int, seconds: float) -> dict[str, Any]:
        """Return the trends of a period, see `trends.over_time`. Raises UnreadableStore."""
        from llmtrace.viewer.trends import over_time  # imports statistics, which most pages do not need

        return over_time(self.store, Query(MOST_COUNTED, since, until), by, size, offset, seconds)

    def drift(self, since: int, until: int) -> list[dict[str, Any]]:
        """Return the changes that the monitors found in a period. Raises UnreadableStore.

        Empty for a store without an index, which would have to read all its spans.
        """
        from llmtrace.viewer.trends import drift

        return drift(self.store, since, until) if self.store.has_index else []

    def rows(self, trace_id: str, after: int = 0, around: str | None = None) -> dict[str, Any]:
        """Return the rows that changed after version ``after``. Raises TraceNotFound, UnreadableStore.

        ``around``: for a long trace that is not cached yet, return only the rows near this span, and ``more`` as true. If no
        span has this id, return the rows near the first failed span.
        """
        with self._lock:
            view = self._complete.get(trace_id) or self._without_prompts.get(trace_id)
            summary = self._summaries.get(trace_id) if view is None else None
            if view is None and summary is None and self.store.has_index:
                summary = self.store.summary(trace_id)  # the trace was opened by its URL, not from the list
                self._summaries[summary.trace_id] = summary
            if summary is not None and _is_long(summary):
                if around is not None and (some := self._rows_around(summary, around)):
                    return {"version": 0, "trace": trace_row(summary), "rows": some, "more": True}
                view = self._without_prompts[summary.trace_id] = self._read_without_prompts(summary)
                _bound(self._without_prompts)
        return (view or self.trace_view(trace_id)).rows(after)

    def _rows_around(self, summary: TraceSummary, around: str) -> list[Row]:
        """Return a screenful of rows with their ancestors; empty if the store cannot read a trace's outline."""
        outline = self.store.outline(summary.trace_id)
        if not outline:
            return []
        callers = {parent for _, parent, failed in outline if failed}
        began = (at for at, (span, _, failed) in enumerate(outline) if failed and span not in callers)
        at = next((at for at, (span, *_) in enumerate(outline) if span == around), next(began, 0))
        parents = {span: parent for span, parent, _ in outline}
        wanted = set[str]()
        for span_id, *_ in (outline[0], *outline[max(0, at - SCREENFUL // 2) : at + SCREENFUL // 2]):
            ancestor: str | None = span_id
            while ancestor in parents and ancestor not in wanted:
                wanted.add(ancestor)
                ancestor = parents[ancestor]
        trace = Trace(self.store.pick(summary.trace_id, wanted, prompts=False))
        return [span_row(span, trace) for span in trace.spans]

    def trace_view(self, trace_id: str) -> TraceView:
        """Return the complete trace. Raises TraceNotFound, UnreadableStore."""
        with self._lock:
            view = self._complete.get(trace_id)
            if view is None:
                trace = self.store.trace(trace_id)
                lean = self._without_prompts.pop(trace.trace_id, None)
                view = TraceView(trace, None if lean is None else lean.summary)
                self._complete[trace.trace_id] = view
                _bound(self._complete)
            self._complete.move_to_end(view.trace.trace_id)
            return view

    def payloads(self, trace_id: str, span_ids: list[str]) -> dict[str, Payload]:
        """Return the payloads of these spans. Raises TraceNotFound, UnreadableStore.

        Until a long trace was read completely, each payload has ``early``: it is not known yet which of a call's messages are
        new.
        """
        summary = self._summaries.get(trace_id)
        if summary is None or not _is_long(summary) or trace_id in self._complete or not self.store.has_index:
            return self.trace_view(trace_id).payloads(span_ids)
        picked = Trace(self.store.pick(trace_id, span_ids))
        return {span.span_id: payload(span, picked, None) | {"early": True} for span in picked.spans}

    def _read_without_prompts(self, summary: TraceSummary) -> TraceView:
        query = Query(limit=10, since=summary.start, until=summary.start + 1)
        spans = [span for span in self.store.spans(query, prompts=False) if span.trace_id == summary.trace_id]
        if not spans:
            raise TraceNotFound(f"trace {summary.trace_id} is gone")
        return TraceView(Trace(spans), summary)

    def add(self, spans: Iterable[Span], *, alive: bool = True) -> set[str]:
        """Merge spans that the store got since it was read. Returns the ids of their traces."""
        by_trace: dict[str, list[Span]] = {}
        for span in spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        with self._lock:
            for trace_id, new_spans in by_trace.items():
                self._summaries.pop(trace_id, None)
                self._without_prompts.pop(trace_id, None)
                if trace_id in self._complete:
                    self._complete[trace_id].merge(new_spans, alive=alive)
        return set(by_trace)

    def reread(self) -> set[str]:
        """Read again the cached traces that seem to be running, because their programs may have died.

        Returns the ids of the traces that changed.
        """
        changed = set()
        with self._lock:
            for trace_id, view in self._complete.items():
                if view.trace.alive:
                    trace = self.store.trace(trace_id)
                    if trace.alive != view.trace.alive or len(trace) != len(view.trace):
                        view.replace(trace)
                        changed.add(trace_id)
        return changed

    def drop(self, trace_ids: Iterable[str]) -> None:
        """Read these traces again. Their version numbers continue, so that an open page gets the new rows."""
        with self._lock:
            for trace_id in trace_ids:
                self._summaries.pop(trace_id, None)
                self._without_prompts.pop(trace_id, None)
                view = self._complete.get(trace_id)
                with contextlib.suppress(TraceNotFound):
                    if view is not None:
                        view.replace(self.store.trace(trace_id))

    def forget(self) -> None:
        """Drop all cached traces. Needed if the store changed in an unknown way."""
        with self._lock:
            self._complete.clear()
            self._without_prompts.clear()
            self._summaries.clear()


def _suspicion(verdict: listing.Verdict) -> dict[str, str] | None:
    if verdict.fault:
        return {"title": f"not diagnosed because of a bug in llmtrace: {verdict.fault}", "confidence": "error"}
    return None if verdict.confidence is None else {"title": verdict.title, "confidence": verdict.confidence}


def _is_long(summary: TraceSummary) -> bool:
    """Return True for an ended trace with many spans. Since it has ended, the parts that were read stay valid."""
    return summary.spans > LONG and summary.end is not None


def _bound(open_traces: OrderedDict[str, TraceView]) -> None:
    while len(open_traces) > MOST_OPEN:
        open_traces.popitem(last=False)
