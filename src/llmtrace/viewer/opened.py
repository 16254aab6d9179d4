"""One open trace: its rows, and what is worked out of it when it is asked for.

Laws: a reader that names the version it has gets only the rows that changed since. Rows and payloads need neither signals nor
lineage nor diagnosis, which take a third of a second to load: these are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmtrace.errors import DiagnosisFailed
from llmtrace.model import Span, Trace
from llmtrace.store import TraceSummary, search, summarise
from llmtrace.viewer.context import Input, fresh, inputs
from llmtrace.viewer.payload import Payload, messages, payload
from llmtrace.viewer.rows import Row, span_row, trace_row

if TYPE_CHECKING:
    from llmtrace.diagnosis import Flow
    from llmtrace.evaluation import Evaluator
    from llmtrace.lineage import Propagation, ValueUse


class Opened:
    """One trace, its rows by version, and what is worked out of it when asked for."""

    def __init__(self, trace: Trace, summary: TraceSummary | None = None) -> None:
        """``summary``: where it is known already."""
        self.version = 0
        self._rows: dict[str, tuple[Span, str | None, Row, int]] = {}
        self._take(trace)
        self.summary = summary or summarise(self.trace)

    def _take(self, trace: Trace) -> None:
        self.trace = as_read(trace)
        self.version += 1
        self._inputs: dict[str, Input] | None = None
        self._uses: dict[str, list[ValueUse]] | None = None
        self._diagnosis: dict[str, Any] | None = None
        self._flow: Flow | None = None
        self._propagation: Propagation | None = None
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
        return {"version": self.version, "trace": trace_row(self.summary), "rows": changed}

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
            from llmtrace.diagnosis import diagnose, wrap_errors
            from llmtrace.viewer import values

            try:
                with wrap_errors(self.trace.trace_id):
                    flow = self._flowing()
                    self._diagnosis = values.diagnosis_as_json(diagnose(self.trace, flow))
            except DiagnosisFailed as error:
                self._diagnosis = values.without_diagnosis(self.trace, error)
        return self._diagnosis

    def origins(self, span_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Of each span the values that a model put into it, and the place that each came from."""
        from llmtrace.viewer import values

        flow = self._flowing()
        if self._uses is None:
            self._uses = values.uses_of(self.trace, flow)
        return {one: [values.use_as_json(use, flow.lineage) for use in self._uses.get(one, ())] for one in span_ids}

    def reached(self, span_id: str) -> dict[str, Any]:
        """What fed a span and what its values went into. Raises KeyError."""
        from llmtrace.lineage import Propagation
        from llmtrace.viewer import values

        self.trace.span(span_id)
        if self._propagation is None:
            flow = self._flowing()
            self._propagation = Propagation(self.trace, flow.uses, flow.lost_messages)
        return values.reached(self._propagation, span_id)

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
            from llmtrace.diagnosis import Flow

            self._flow = Flow(self.trace)
        return self._flow


def as_read(trace: Trace) -> Trace:
    """The trace with what only a reader can see: spans that never ended."""
    if not any(trace.interrupted(span) for span in trace.spans):
        return trace
    from llmtrace.evaluation import on_reading

    return on_reading(trace, _evaluator())


@lru_cache(maxsize=1)
def _evaluator() -> Evaluator:
    from llmtrace.evaluation import Evaluator

    return Evaluator()


def first_suspect(trace: Trace) -> dict[str, Any] | None:
    """The first suspect that marks the trace; None if there is none. Raises DiagnosisFailed."""
    from llmtrace.diagnosis import diagnose

    prime = diagnose(as_read(trace)).prime
    return None if prime is None else {"title": prime.title, "confidence": prime.confidence}
