"""One trace in the viewer: its rows; and its diagnosis, lineage and texts, which are computed when they are needed.

Laws: a client that sends the version of its rows gets only the rows that changed since. Rows and payloads need no signals,
lineage or diagnosis. These take a third of a second to import, so the methods that need them import them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmtrace.errors import DiagnosisFailed
from llmtrace.evidence.call_inputs import Input, fresh, inputs
from llmtrace.model import AgentInvocation, Inference, Span, Trace, Workflow
from llmtrace.store import search, summarise
from llmtrace.viewer.payload import Payload, messages, payload
from llmtrace.viewer.rows import Row, span_row, title, trace_row

if TYPE_CHECKING:
    from llmtrace.diagnosis import Flow
    from llmtrace.evaluation import Evaluator
    from llmtrace.lineage import Propagation, ValueUse


class TraceView:
    """One trace, its rows with the version of their last change, and cached results."""

    def __init__(self, trace: Trace) -> None:
        self.version = 0
        self._rows: dict[str, tuple[Span, str | None, Row, int]] = {}
        self._take(trace)

    def _take(self, trace: Trace) -> None:
        self.trace = as_read(trace)
        self.summary = summarise(self.trace)
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
            if before is not None and before[0] is span and before[1] == alive:  # the same object: its row is the same
                continue
            row = span_row(span, self.trace)
            if before is None or before[2] != row:
                self._rows[span.span_id] = (span, alive, row, self.version)
            else:
                self._rows[span.span_id] = (span, alive, row, before[3])

    def merge(self, spans: Iterable[Span], *, alive: bool) -> None:
        """Add spans that were just stored. An unfinished span does not replace an ended one."""
        spans_by_id = {span.span_id: span for span in self.trace.spans}
        running = set(self.trace.alive)
        for span in spans:
            before = spans_by_id.get(span.span_id)
            if before is not None and before.end is not None and span.end is None:
                continue
            spans_by_id[span.span_id] = span
            running.discard(span.span_id)
            if span.end is None and alive:
                running.add(span.span_id)
        self.replace(Trace(list(spans_by_id.values()), alive=frozenset(running)))

    def replace(self, trace: Trace) -> None:
        if trace.spans[0].start != self.trace.spans[0].start:
            self._rows.clear()  # their times are relative to the first start
        self._take(trace)

    def rows(self, after: int) -> dict[str, Any]:
        """Return the rows that changed after version ``after``."""
        changed = [row for _, _, row, version in self._rows.values() if version > after]
        return {"version": self.version, "trace": trace_row(self.summary), "rows": changed}

    def payloads(self, span_ids: Iterable[str]) -> dict[str, Payload]:
        """Return the payloads of these spans, by id. Unknown ids are left out."""
        call_inputs = self._call_inputs()
        payloads: dict[str, Payload] = {}
        for span_id in span_ids:
            try:
                span = self.trace.span(span_id)
            except KeyError:
                continue
            payloads[span_id] = payload(span, self.trace, call_inputs.get(span_id))
        return payloads

    def history(self, span_id: str) -> list[Payload]:
        """Return the full input of a model call, an agent or a workflow. Raises KeyError."""
        operation = self.trace.span(span_id).operation
        return messages(operation.input if isinstance(operation, (Inference, AgentInvocation, Workflow)) else ())

    def diagnosis(self) -> dict[str, Any]:
        """Return the diagnosis as JSON. If it failed, it is empty, and ``fault`` says why and how to report it."""
        if self._diagnosis is None:
            from llmtrace.diagnosis import Diagnosis, diagnose, wrap_errors
            from llmtrace.viewer import lineage_json

            try:
                with wrap_errors(self.trace.trace_id):
                    flow = self._flowing()
                    self._diagnosis = lineage_json.diagnosis_as_json(diagnose(self.trace, flow))
            except DiagnosisFailed as error:
                empty = Diagnosis(self.trace.trace_id, self.trace.health)
                self._diagnosis = {**lineage_json.diagnosis_as_json(empty), "fault": str(error)}
        return self._diagnosis

    def origins(self, span_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the values that a model wrote into each span, and where each value came from."""
        from llmtrace.viewer import lineage_json

        flow = self._flowing()
        if self._uses is None:
            self._uses = lineage_json.uses_of(self.trace, flow)
        return {
            span_id: [lineage_json.use_as_json(use, flow.lineage) for use in self._uses.get(span_id, ())]
            for span_id in span_ids
        }

    def origins_of_call(self, call_id: str | None) -> list[dict[str, Any]]:
        """Return the values in the arguments of a tool call, like `origins`.

        ``step``: title of the span that the value came from; "" if it is not known.
        """
        from llmtrace.viewer import lineage_json

        flow = self._flowing()
        by_node = [[use for use in node.uses if use.part == "argument" and use.call_id == call_id] for node in flow.nodes]
        uses = next((uses for uses in reversed(by_node) if uses), []) if call_id is not None else []
        titles = {span.span_id: title(span) for span in self.trace.spans}
        contents = [lineage_json.use_as_json(use, flow.lineage) for use in uses]
        return [use | {"step": titles.get(((use["from"] or use["first"]) or {"span": ""})["span"], "")} for use in contents]

    def reached(self, span_id: str) -> dict[str, Any]:
        """Return the spans that a span's values came from, and those that they went into. Raises KeyError."""
        from llmtrace.lineage import Propagation
        from llmtrace.viewer import lineage_json

        self.trace.span(span_id)
        if self._propagation is None:
            flow = self._flowing()
            self._propagation = Propagation(self.trace, flow.uses, flow.lost_messages)
        return lineage_json.reached(self._propagation, span_id)

    def search(self, query: str) -> list[str]:
        """Return the ids of the spans that contain each term of a query.

        In a model call, only its new messages and its answer are searched.
        """
        if self._texts is None:
            call_inputs = self._call_inputs()
            self._texts = [
                (span.span_id, search.text_of(fresh(span, call_inputs.get(span.span_id)))) for span in self.trace.spans
            ]
        wanted = search.needles(query)
        return [span_id for span_id, text in self._texts if all(needle in text for needle in wanted)] if wanted else []

    def _call_inputs(self) -> dict[str, Input]:
        if self._inputs is None:
            self._inputs = inputs(self.trace)
        return self._inputs

    def _flowing(self) -> Flow:
        if self._flow is None:
            from llmtrace.diagnosis import Flow

            self._flow = Flow(self.trace)
        return self._flow


def as_read(trace: Trace) -> Trace:
    """Return the trace with evaluations of its interrupted spans, which only a reader can make: their program has died."""
    if not any(trace.interrupted(span) for span in trace.spans):
        return trace
    from llmtrace.evaluation import on_reading

    return on_reading(trace, _evaluator())


@lru_cache(maxsize=1)
def _evaluator() -> Evaluator:
    from llmtrace.evaluation import Evaluator

    return Evaluator()
