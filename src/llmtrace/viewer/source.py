"""Traces of a store, opened once and kept while they are looked at. All of it may be called from several threads.

Law: what is asked twice is read once; what the store gets meanwhile is merged in (`Source.tell`), and a reader that names the
version it has gets only the rows that changed since.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from llmtrace.diagnosis import LIKELY, diagnose
from llmtrace.diagnosis.difference import compare
from llmtrace.diagnosis.flow import Flow
from llmtrace.errors import TraceNotFound
from llmtrace.evaluation import Evaluator, on_reading
from llmtrace.model import Span, Trace
from llmtrace.statistics import By
from llmtrace.store import Query, Store, TraceSummary, search, summarise
from llmtrace.store.local import LocalStore
from llmtrace.viewer import values
from llmtrace.viewer.context import Input, fresh, inputs
from llmtrace.viewer.overtime import over_time
from llmtrace.viewer.payload import Payload, messages, payload
from llmtrace.viewer.rows import Row, span_row, trace_row

MOST_OPEN = 8
MOST_KNOWN = 10_000
MOST_COUNTED = 5_000
"""Traces, the newest first, that the figures over time are of."""
MOST_GLANCED = 300
"""Spans up to which a trace is diagnosed to say in the list what is suspected."""
LONG = 500
"""Spans from which a trace is first read without what its models were given."""


class Opened:
    """One trace, its rows by version, and what is worked out of it when asked for."""

    def __init__(self, trace: Trace, summary: TraceSummary, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self.version = 0
        self.stage = ""
        """What is being worked out, in words."""
        self._rows: dict[str, tuple[Span, str | None, Row, int]] = {}
        self._take(trace)
        self.summary = summary

    @classmethod
    def of(cls, trace: Trace) -> Opened:
        """A trace by itself, as it is exported."""
        evaluator = Evaluator()
        return cls(trace, summarise(on_reading(trace, evaluator)), evaluator)

    def _take(self, trace: Trace) -> None:
        self.trace = on_reading(trace, self._evaluator)
        self.version += 1
        self._inputs: dict[str, Input] | None = None
        self._origins: dict[str, list[dict[str, Any]]] | None = None
        self._diagnosis: dict[str, Any] | None = None
        self._flow: Flow | None = None
        self._texts: list[tuple[str, str]] | None = None
        for span in self.trace.spans:
            alive = span.span_id if span.span_id in trace.alive else None
            before = self._rows.get(span.span_id)
            if before is not None and before[0] is span and before[1] == alive:
                continue
            row = span_row(span, self.trace)
            if before is None or before[2] != row:
                self._rows[span.span_id] = (span, alive, row, self.version)
            else:
                self._rows[span.span_id] = (span, alive, row, before[3])

    def merge(self, spans: Iterable[Span], *, alive: bool) -> None:
        """Spans that have just been stored. An unfinished one does not replace one that ended."""
        held = {span.span_id: span for span in self.trace.spans}
        running = set(self.trace.alive)
        for span in spans:
            before = held.get(span.span_id)
            if before is not None and before.end is not None and span.end is None:
                continue
            held[span.span_id] = span
            running.discard(span.span_id)
            if span.end is None and alive:
                running.add(span.span_id)
        self.replace(Trace(list(held.values()), alive=frozenset(running)))

    def replace(self, trace: Trace) -> None:
        if trace.spans[0].start != self.trace.spans[0].start:
            self._rows.clear()  # every time in them counts from the first start
        self._take(trace)
        self.summary = summarise(self.trace)

    def rows(self, after: int) -> dict[str, Any]:
        changed = [row for _, _, row, version in self._rows.values() if version > after]
        return {"version": self.version, "trace": trace_row(self.summary), "rows": changed, "order": "start"}

    def payloads(self, span_ids: Iterable[str]) -> dict[str, Payload]:
        given = self._given()
        found: dict[str, Payload] = {}
        for span_id in span_ids:
            try:
                span = self.trace.span(span_id)
            except KeyError:
                continue
            found[span_id] = payload(span, self.trace, given.get(span_id))
        return found

    def history(self, span_id: str) -> list[Payload]:
        """The whole input of an inference. Raises KeyError."""
        return messages(getattr(self.trace.span(span_id).operation, "input", ()))

    def diagnosis(self) -> dict[str, Any]:
        if self._diagnosis is None:
            flow = self._flowing()
            self.stage = "weighing what was found"
            self._diagnosis = values.suspects(diagnose(self.trace, flow))
            self.stage = ""
        return self._diagnosis

    def origins(self) -> dict[str, list[dict[str, Any]]]:
        if self._origins is None:
            self._origins = values.origins(self.trace, self._flowing())
        return self._origins

    def search(self, query: str) -> list[str]:
        """Ids of the spans that hold each term of a query; of a model call, what was new in it and what it answered."""
        if self._texts is None:
            given = self._given()
            self._texts = [(span.span_id, search.text_of(fresh(span, given.get(span.span_id)))) for span in self.trace.spans]
        wanted = search.needles(query)
        return [span_id for span_id, text in self._texts if all(one in text for one in wanted)] if wanted else []

    def _given(self) -> dict[str, Input]:
        if self._inputs is None:
            self._inputs = inputs(self.trace)
        return self._inputs

    def _flowing(self) -> Flow:
        if self._flow is None:
            self.stage = "following where values came from"
            self._flow = Flow(self.trace)
        return self._flow


class Source:
    """A store as the viewer reads it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._evaluator = Evaluator()
        self._lock = threading.RLock()
        self._whole: OrderedDict[str, Opened] = OrderedDict()
        self._lean: OrderedDict[str, Opened] = OrderedDict()
        self._known: dict[str, TraceSummary] = {}
        self._glanced: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def traces(self, query: Query, offset: int) -> dict[str, Any]:
        """A page of the list; ``more`` says whether there is another. Raises UnreadableStore."""
        wanted = query.limit
        query = Query(wanted + offset + 1, query.since, query.until, query.health, query.agent, query.text)
        found = self.store.traces(query)
        self._known.update((one.trace_id, one) for one in found[offset:])
        return {"traces": [trace_row(one) for one in found[offset : offset + wanted]], "more": len(found) > offset + wanted}

    def suspicions(self, trace_ids: Iterable[str]) -> dict[str, Any]:
        """The strongest suspect of each listed trace that has ended and is not long; None where there is no likely one, and the
        trace has not failed."""
        found: dict[str, Any] = {}
        for trace_id in trace_ids:
            summary = self._known.get(trace_id)
            if summary is None or summary.end is None or summary.spans > MOST_GLANCED:
                continue
            seen = self._glanced.get(trace_id)
            if seen is None or seen[0] != summary.spans:
                seen = self._glanced[trace_id] = (summary.spans, self._strongest(summary))
            found[trace_id] = seen[1]
        while len(self._glanced) > MOST_KNOWN:
            self._glanced.popitem(last=False)
        return found

    def _strongest(self, summary: TraceSummary) -> Any:
        try:
            suspects = diagnose(on_reading(self.store.trace(summary.trace_id), self._evaluator)).suspects[:1]
        except TraceNotFound:
            return None
        failed = summary.health == "failed"
        found = [one for one in suspects if failed or one.score >= LIKELY]
        return {"title": found[0].title, "score": found[0].score, "likely": found[0].score >= LIKELY} if found else None

    def compared(self, left: str, right: str) -> dict[str, Any]:
        """Two traces beside each other. Raises TraceNotFound, UnreadableStore."""
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
        spans = self.store.spans(Query(limit=MOST_COUNTED, since=since), prompts=False)
        return over_time(spans, by, size, offset) | {"limit": MOST_COUNTED}

    def rows(self, trace_id: str, after: int = 0) -> dict[str, Any]:
        """Raises TraceNotFound, UnreadableStore."""
        summary = self._known.get(trace_id)
        with self._lock:
            opened = self._whole.get(trace_id) or self._lean.get(trace_id)
            if opened is None and summary is not None and summary.spans > LONG and summary.end is not None:
                opened = self._lean[trace_id] = self._read_lean(summary)
                _bound(self._lean)
        return (opened or self.opened(trace_id)).rows(after)

    def opened(self, trace_id: str) -> Opened:
        """The whole trace. Raises TraceNotFound, UnreadableStore."""
        with self._lock:
            opened = self._whole.get(trace_id)
            if opened is None:
                trace = self.store.trace(trace_id)
                lean = self._lean.pop(trace.trace_id, None)
                summary = lean.summary if lean is not None else summarise(on_reading(trace, self._evaluator))
                opened = Opened(trace, summary, self._evaluator)
                self._whole[trace.trace_id] = opened
                _bound(self._whole)
            self._whole.move_to_end(opened.trace.trace_id)
            return opened

    def stage(self, trace_id: str) -> str:
        """What is being done about a trace, while another request waits for it."""
        opened = self._whole.get(trace_id)
        return opened.stage if opened is not None else "reading the whole trace"

    def payloads(self, trace_id: str, span_ids: list[str]) -> dict[str, Payload]:
        """Of a long trace of which the whole is not read yet, each with ``early``: what was new in a call is not known so soon.
        Raises TraceNotFound, UnreadableStore."""
        lean = self._lean.get(trace_id)
        if lean is None or trace_id in self._whole or not isinstance(self.store, LocalStore):
            return self.opened(trace_id).payloads(span_ids)
        picked = self.store.pick(trace_id, span_ids)
        return {span.span_id: payload(span, lean.trace, None) | {"early": True} for span in picked}

    def _read_lean(self, summary: TraceSummary) -> Opened:
        query = Query(limit=10, since=summary.start, until=summary.start + 1)
        spans = [span for span in self.store.spans(query, prompts=False) if span.trace_id == summary.trace_id]
        if not spans:
            raise TraceNotFound(f"trace {summary.trace_id} is gone")
        return Opened(Trace(spans), summary, self._evaluator)

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


def _bound(held: OrderedDict[str, Opened]) -> None:
    while len(held) > MOST_OPEN:
        held.popitem(last=False)
