"""Traces of a store, opened once and kept while they are looked at. All of it may be called from several threads.

Law: what is asked twice is read once; what the store gets meanwhile is merged in (`Source.tell`).
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmtrace.errors import DiagnosisFailed, TraceNotFound
from llmtrace.model import Span, Trace
from llmtrace.store import Query, Store, TraceSummary
from llmtrace.viewer.opened import Opened, first_suspect
from llmtrace.viewer.payload import Payload, payload
from llmtrace.viewer.rows import Row, span_row, trace_row

if TYPE_CHECKING:
    from llmtrace.statistics import By

MOST_OPEN = 8
MOST_KNOWN = 10_000
MOST_COUNTED = 5_000
"""Traces, the newest first, that the figures over time are of."""
MOST_GLANCED = 300
"""Spans up to which a trace is diagnosed to show its first suspect in the list."""
LONG = 500
"""Spans from which a trace is first read without what its models were given."""
SCREENFUL = 120
"""Rows that are sent at once of such a trace, before the others are read."""


class Source:
    """A store as the viewer reads it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.RLock()
        self._whole: OrderedDict[str, Opened] = OrderedDict()
        self._lean: OrderedDict[str, Opened] = OrderedDict()
        self._known: dict[str, TraceSummary] = {}
        self._glanced: OrderedDict[str, tuple[tuple[int, str], Any]] = OrderedDict()

    def traces(self, query: Query, offset: int) -> dict[str, Any]:
        """A page of the list; ``more`` says whether there is another. Raises UnreadableStore."""
        wanted = query.limit
        query = Query(wanted + offset + 1, query.since, query.until, query.health, query.agent, query.text)
        found = self.store.traces(query)
        self._known.update((one.trace_id, one) for one in found[offset:])
        return {"traces": [trace_row(one) for one in found[offset : offset + wanted]], "more": len(found) > offset + wanted}

    def suspicions(self, trace_ids: Iterable[str]) -> dict[str, Any]:
        """The first marked suspect of each listed trace that has ended and is not long; None if there is none. A trace that
        could not be diagnosed says so instead."""
        found: dict[str, Any] = {}
        for trace_id in trace_ids:
            summary = self._known.get(trace_id)
            if summary is None or summary.health == "running" or summary.spans > MOST_GLANCED:
                continue
            seen = self._glanced.get(trace_id)
            state = (summary.spans, summary.health)
            if seen is None or seen[0] != state:
                seen = self._glanced[trace_id] = (state, self._first_suspect(summary))
            found[trace_id] = seen[1]
        while len(self._glanced) > MOST_KNOWN:
            self._glanced.popitem(last=False)
        return found

    def _first_suspect(self, summary: TraceSummary) -> Any:
        from llmtrace.diagnosis import wrap_errors

        try:
            with wrap_errors(summary.trace_id):
                return first_suspect(self.store.trace(summary.trace_id))
        except TraceNotFound:
            return None
        except DiagnosisFailed as error:
            return {"title": f"not diagnosed, by a fault of llmtrace: {error.fault}", "confidence": "error"}

    def compared(self, left: str, right: str) -> dict[str, Any]:
        """Two traces beside each other. Raises TraceNotFound, UnreadableStore."""
        from llmtrace.diagnosis.difference import compare  # with lineage: not for who only opens a trace

        sides = self.opened(left), self.opened(right)
        found = compare(sides[0].trace, sides[1].trace)
        rows = [{row["id"]: row for row in side.rows(0)["rows"]} for side in sides]
        pairs = [
            {"what": pair.what, "left": rows[0].get(pair.left or ""), "right": rows[1].get(pair.right or "")}
            for pair in found.pairs
        ]
        heads = [trace_row(side.summary) for side in sides]
        return {"left": heads[0], "right": heads[1], "pairs": pairs, "first": found.first, "left_out": found.left_out}

    def over_time(self, since: int, by: By, size: int, offset: int) -> dict[str, Any]:
        """Raises UnreadableStore."""
        from llmtrace.viewer.overtime import over_time  # with statistics

        spans = self.store.spans(Query(limit=MOST_COUNTED, since=since), prompts=False)
        return over_time(spans, by, size, offset) | {"limit": MOST_COUNTED}

    def rows(self, trace_id: str, after: int = 0, around: str | None = None) -> dict[str, Any]:
        """What changed since the version ``after``. ``around``: of a long trace that is not open yet, only the rows that stand
        by this span or, where no span has this id, by the first that failed; ``more`` is true then. Raises TraceNotFound,
        UnreadableStore."""
        with self._lock:
            opened = self._whole.get(trace_id) or self._lean.get(trace_id)
            summary = self._known.get(trace_id) if opened is None else None
            if opened is None and summary is None and (ask := getattr(self.store, "summary", None)) is not None:
                summary = ask(trace_id)  # the trace comes from an address, not from the list
                self._known[summary.trace_id] = summary
            if summary is not None and _is_long(summary):
                if around is not None and (some := self._rows_around(summary, around)):
                    return {"version": 0, "trace": trace_row(summary), "rows": some, "more": True}
                opened = self._lean[summary.trace_id] = self._read_lean(summary)
                _bound(self._lean)
        return (opened or self.opened(trace_id)).rows(after)

    def _rows_around(self, summary: TraceSummary, around: str) -> list[Row]:
        """A screenful, with all that stands above it; nothing where the store has no outline."""
        store: Any = self.store
        outline = store.outline(summary.trace_id) if hasattr(store, "outline") else []
        if not outline:
            return []
        callers = {parent for _, parent, failed in outline if failed}
        began = (at for at, (span, _, failed) in enumerate(outline) if failed and span not in callers)
        at = next((at for at, (span, *_) in enumerate(outline) if span == around), next(began, 0))
        parents = {span: parent for span, parent, _ in outline}
        wanted = set[str]()
        for span, *_ in (outline[0], *outline[max(0, at - SCREENFUL // 2) : at + SCREENFUL // 2]):
            while span in parents and span not in wanted:
                wanted.add(span)
                span = parents[span]
        trace = Trace(store.pick(summary.trace_id, wanted, prompts=False))
        return [span_row(span, trace) for span in trace.spans]

    def opened(self, trace_id: str) -> Opened:
        """The whole trace. Raises TraceNotFound, UnreadableStore."""
        with self._lock:
            opened = self._whole.get(trace_id)
            if opened is None:
                trace = self.store.trace(trace_id)
                lean = self._lean.pop(trace.trace_id, None)
                opened = Opened(trace, None if lean is None else lean.summary)
                self._whole[trace.trace_id] = opened
                _bound(self._whole)
            self._whole.move_to_end(opened.trace.trace_id)
            return opened

    def payloads(self, trace_id: str, span_ids: list[str]) -> dict[str, Payload]:
        """Of a long trace of which the whole is not read yet, each with ``early``: what was new in a call is not known so soon.
        Raises TraceNotFound, UnreadableStore."""
        summary, pick = self._known.get(trace_id), getattr(self.store, "pick", None)
        if summary is None or not _is_long(summary) or trace_id in self._whole or pick is None:
            return self.opened(trace_id).payloads(span_ids)
        picked = Trace(pick(trace_id, span_ids))
        return {span.span_id: payload(span, picked, None) | {"early": True} for span in picked.spans}

    def _read_lean(self, summary: TraceSummary) -> Opened:
        query = Query(limit=10, since=summary.start, until=summary.start + 1)
        spans = [span for span in self.store.spans(query, prompts=False) if span.trace_id == summary.trace_id]
        if not spans:
            raise TraceNotFound(f"trace {summary.trace_id} is gone")
        return Opened(Trace(spans), summary)

    def tell(self, spans: Iterable[Span], *, alive: bool = True) -> set[str]:
        """Spans that the store just got. Gives the ids of their traces."""
        by_trace: dict[str, list[Span]] = {}
        for span in spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        with self._lock:
            for trace_id, held in by_trace.items():
                self._known.pop(trace_id, None)
                self._lean.pop(trace_id, None)
                if trace_id in self._whole:
                    self._whole[trace_id].merge(held, alive=alive)
        return set(by_trace)

    def reread(self) -> set[str]:
        """Read again those open traces that look as if they still ran: their program may have died. Gives their ids."""
        changed = set()
        with self._lock:
            for trace_id, opened in self._whole.items():
                if opened.trace.alive:
                    trace = self.store.trace(trace_id)
                    if trace.alive != opened.trace.alive or len(trace) != len(opened.trace):
                        opened.replace(trace)
                        changed.add(trace_id)
        return changed

    def drop(self, trace_ids: Iterable[str]) -> None:
        """These are read anew when they are next asked for. Versions go on: a page gets all rows again, not none."""
        with self._lock:
            for trace_id in trace_ids:
                self._known.pop(trace_id, None)
                self._lean.pop(trace_id, None)
                held = self._whole.get(trace_id)
                with contextlib.suppress(TraceNotFound):
                    if held is not None:
                        held.replace(self.store.trace(trace_id))

    def forget(self) -> None:
        """Everything is read anew: the store changed in a way that cannot be followed."""
        with self._lock:
            self._whole.clear()
            self._lean.clear()
            self._known.clear()


def _is_long(summary: TraceSummary) -> bool:
    """It has ended, too: so what was read of it stays true."""
    return summary.spans > LONG and summary.end is not None


def _bound(held: OrderedDict[str, Opened]) -> None:
    while len(held) > MOST_OPEN:
        held.popitem(last=False)
