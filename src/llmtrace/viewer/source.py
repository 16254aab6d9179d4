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
from llmtrace.config import Config
from llmtrace.errors import StoreError, TraceNotFound
from llmtrace.issues import Issue, Runs, decisions_of, issues_of, judged_runs, runs_judged_so_far
from llmtrace.list_verdicts import PENDING, Verdict, Verdicts
from llmtrace.model import Span, replace
from llmtrace.store import Query, Store, TraceSummary
from llmtrace.viewer.rows import session_row, trace_row
from llmtrace.viewer.trace_view import TraceView

if TYPE_CHECKING:
    from llmtrace.statistics import By

MOST_OPEN = 8
MOST_COUNTED = 5_000
"""Number of newest traces that trends count in a store without hourly statistics."""
MOST_READ = 200
"""Number of newest runs whose issues are shown of a store without an index."""
ISSUES_SECONDS = 2.0
"""Seconds that the page of issues waits for verdicts."""
LIST_SECONDS = 0.5
"""Seconds that an answer waits for verdicts. Their thread continues, and the page asks again."""


class Source:
    """The viewer's view of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._verdicts = Verdicts(store)
        self._lock = threading.RLock()
        self._open: OrderedDict[str, TraceView] = OrderedDict()
        self._summaries: dict[str, TraceSummary] = {}

    def traces(self, query: Query, offset: int) -> dict[str, Any]:
        """Return a page of the list. Raises UnreadableStore.

        ``more`` is true if another page follows. ``undiagnosed``: number of traces that are not diagnosed yet, so that it is
        not known if they have the query's confidence or health.
        """
        wider = replace(query, limit=query.limit + offset + 1)
        summaries, undiagnosed = listing.find(self.store, wider, self._verdicts, seconds=LIST_SECONDS)
        self._summaries.update((summary.trace_id, summary) for summary in summaries[offset:])
        waiting = listing.waiting(self.store)
        return {
            "traces": [trace_row(summary, waiting) for summary in summaries[offset : offset + query.limit]],
            "more": len(summaries) > offset + query.limit,
            "undiagnosed": undiagnosed,
        }

    def sessions(self, query: Query) -> dict[str, Any]:
        """Return the conversations that have a matching trace, with all their turns. Raises UnreadableStore.

        ``undiagnosed``: number of traces that are not diagnosed yet, so that health and matches may change.
        """
        wider = replace(query, limit=query.limit + 1)
        sessions, undiagnosed = listing.sessions(self.store, wider, self._verdicts, seconds=LIST_SECONDS)
        waiting = listing.waiting(self.store)
        for session in sessions:
            self._summaries.update((turn.trace_id, turn) for turn in session.turns)
        return {
            "sessions": [session_row(session, waiting) for session in sessions[: query.limit]],
            "more": len(sessions) > query.limit,
            "undiagnosed": undiagnosed,
        }

    def issues(self) -> tuple[Runs, list[Issue]]:
        """Return the runs that are diagnosed by now, and their issues. Raises StoreError."""
        if self.store.has_index:
            runs = runs_judged_so_far(self._verdicts, Query(), seconds=ISSUES_SECONDS)
        else:
            runs = judged_runs(self.store, Query(), limit=MOST_READ)
        return runs, issues_of(runs.judged, decisions_of(self.store.folder, Config.read()))

    def suspicions(self, trace_ids: Iterable[str]) -> dict[str, Any]:
        """Return first suspect and health of each listed trace, by trace id; None for a trace without a suspect.

        A trace that is still being diagnosed is left out: ask again. If the diagnosis of a trace failed, its suspect is
        replaced by a text that says so.
        """
        summaries = [self._summaries[trace_id] for trace_id in trace_ids if trace_id in self._summaries]
        pairs = zip(summaries, self._verdicts.get(summaries, seconds=LIST_SECONDS), strict=True)
        return {trace.trace_id: _suspicion(trace, verdict) for trace, verdict in pairs if verdict is not PENDING}

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
        heads = [trace_row(side.summary) | {"health": side.diagnosis["health"]} for side in sides]
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

    def trace_view(self, trace_id: str) -> TraceView:
        """Return a trace. Raises TraceNotFound, UnreadableStore."""
        with self._lock:
            view = self._open.get(trace_id)
            if view is None:
                trace = self.store.trace(trace_id)  # the id may be the beginning of one, whose trace is open already
                view = self._open[trace.trace_id] = TraceView(trace, self._open.get(trace.trace_id))
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(view.trace.trace_id)
            return view

    def add(self, spans: Iterable[Span]) -> set[str]:
        """Merge spans that the store got since it was read. Returns the ids of their traces."""
        by_trace: dict[str, list[Span]] = {}
        for span in spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        with self._lock:
            for trace_id, new_spans in by_trace.items():
                self._summaries.pop(trace_id, None)
                if trace_id in self._open:
                    self._open[trace_id] = self._open[trace_id].merged(new_spans)
        return set(by_trace)

    def running(self) -> list[str]:
        """Return the ids of the cached traces that seem to be running; their programs may have died."""
        with self._lock:
            return [trace_id for trace_id, view in self._open.items() if view.trace.alive]

    def reread(self, trace_ids: Iterable[str]) -> set[str]:
        """Read cached traces again. Their version numbers continue, so that an open page gets the new rows.

        Returns the ids of those that have new rows.
        """
        changed = set()
        with self._lock:
            for trace_id in trace_ids:
                self._summaries.pop(trace_id, None)
                before = self._open.get(trace_id)
                with contextlib.suppress(TraceNotFound):
                    if before is None:
                        continue
                    trace = self.store.trace(trace_id)
                    # an unchanged trace keeps its view, with the diagnosis and the lineage that were computed for it
                    if trace.alive != before.trace.alive or trace != before.trace:
                        view = self._open[trace_id] = TraceView(trace, before)
                        if view.rows(before.version)["rows"]:
                            changed.add(trace_id)
        return changed

    def forget(self) -> None:
        """Drop all cached traces. Needed if the store changed in an unknown way."""
        with self._lock:
            self._open.clear()
            self._summaries.clear()


def _suspicion(trace: TraceSummary, verdict: Verdict) -> dict[str, str] | None:
    if verdict.fault:
        return {"title": f"not diagnosed because of a bug in llmtrace: {verdict.fault}", "confidence": "error"}
    if verdict.confidence is None:
        return None
    health = listing.health_of(trace, verdict)
    return {"title": verdict.title, "confidence": verdict.confidence, "health": health}
