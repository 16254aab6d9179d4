"""One trace in the viewer: its rows; and its diagnosis, lineage and texts, which are computed when they are needed.

Laws: a client that sends the version of its rows gets only the rows that changed since. Rows and payloads need no signals,
lineage or diagnosis. These take a third of a second to import, so the properties that need them import them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmtrace.errors import DiagnosisFailed
from llmtrace.model import AgentInvocation, Inference, Span, Trace, Workflow
from llmtrace.reading.inputs import Input, fresh, inputs
from llmtrace.store import search, summarise
from llmtrace.viewer.payload import Payload, messages, payload
from llmtrace.viewer.rows import Row, span_row, title, trace_row

if TYPE_CHECKING:
    from llmtrace.diagnosis import Reading
    from llmtrace.reading.provenance import ValueUse


class TraceView:
    """A trace as it was read, its rows with the version of their last change, and what follows from it."""

    def __init__(self, trace: Trace, before: TraceView | None = None) -> None:
        """``before``: the view of the trace before it changed. The version numbers continue, and unchanged rows are taken."""
        self.trace = trace
        self.summary = summarise(self.trace)
        self.version: int = 1 if before is None else before.version + 1
        self._rows: dict[str, tuple[Span, bool, Row, int]] = {}
        is_shifted = before is None or before.trace.spans[0].start != trace.spans[0].start  # times count from the first start
        known = {} if before is None or is_shifted else before._rows
        for span in self.trace.spans:
            is_alive, earlier = span.span_id in trace.alive, known.get(span.span_id)
            if earlier is not None and earlier[0] is span and earlier[1] == is_alive:
                self._rows[span.span_id] = earlier
                continue
            row = span_row(span, self.trace)
            version = earlier[3] if earlier is not None and earlier[2] == row else self.version
            self._rows[span.span_id] = (span, is_alive, row, version)

    def merged(self, spans: Iterable[Span]) -> TraceView:
        """Return the view with spans that were just stored. An unfinished span does not replace an ended one."""
        spans_by_id = {span.span_id: span for span in self.trace.spans}
        running = set(self.trace.alive)
        for span in spans:
            before = spans_by_id.get(span.span_id)
            if before is not None and before.end is not None and span.end is None:
                continue
            spans_by_id[span.span_id] = span
            if span.end is None:
                running.add(span.span_id)
            else:
                running.discard(span.span_id)
        return TraceView(Trace(list(spans_by_id.values()), alive=frozenset(running)), self)

    def rows(self, after: int) -> dict[str, Any]:
        """Return the rows that changed after version ``after``."""
        changed = [row for _, _, row, version in self._rows.values() if version > after]
        return {"version": self.version, "trace": trace_row(self.summary), "rows": changed}

    def payloads(self, span_ids: Iterable[str]) -> dict[str, Payload]:
        """Return the payloads of these spans, by id. Unknown ids are left out."""
        payloads: dict[str, Payload] = {}
        for span_id in span_ids:
            if span_id in self._rows:
                payloads[span_id] = payload(self.trace.span(span_id), self.trace, self._inputs.get(span_id))
        return payloads

    def history(self, span_id: str) -> list[Payload]:
        """Return the full input of a model call, an agent or a workflow. Raises KeyError."""
        operation = self.trace.span(span_id).operation
        return messages(operation.input if isinstance(operation, (Inference, AgentInvocation, Workflow)) else ())

    def origins(self, span_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the values that a model wrote into each span, and where each value came from."""
        from llmtrace.viewer import lineage_json

        return {
            span_id: [lineage_json.use_as_json(use, self._reading.whole.lineage) for use in self._uses.get(span_id, ())]
            for span_id in span_ids
        }

    def origins_of_call(self, call_id: str | None) -> list[dict[str, Any]]:
        """Return the values in the arguments of a tool call, like `origins`.

        ``step``: title of the span that the value came from; "" if it is not known.
        """
        from llmtrace.viewer import lineage_json

        lineage, by_step = self._reading.whole.lineage, self._reading.whole.uses_by_step
        of_call = [[use for use in uses if use.part == "argument" and use.call_id == call_id] for uses in by_step.values()]
        uses = next((uses for uses in reversed(of_call) if uses), []) if call_id is not None else []
        titles = {span.span_id: title(span) for span in self.trace.spans}
        contents = [lineage_json.use_as_json(use, lineage) for use in uses]
        return [use | {"step": titles.get(((use["from"] or use["first"]) or {"span": ""})["span"], "")} for use in contents]

    def reached(self, span_id: str) -> dict[str, Any]:
        """Return the spans that a span's values came from, and those that they went into. Raises KeyError."""
        from llmtrace.viewer import lineage_json

        self.trace.span(span_id)
        return lineage_json.reached(self._reading.whole, span_id)

    def search(self, query: str) -> list[str]:
        """Return the ids of the spans that contain each term of a query.

        In a model call, only its new messages and its answer are searched.
        """
        wanted = search.needles(query)
        return [span_id for span_id, text in self._texts if all(needle in text for needle in wanted)] if wanted else []

    # -- computed once

    @cached_property
    def diagnosis(self) -> dict[str, Any]:
        """The diagnosis as JSON. If it failed, it is empty, and ``fault`` says why and how to report it."""
        from llmtrace.diagnosis import Diagnosis, diagnose, wrap_errors
        from llmtrace.viewer import lineage_json

        try:
            with wrap_errors(self.trace.trace_id):
                return lineage_json.diagnosis_as_json(diagnose(self.trace, self._reading))
        except DiagnosisFailed as error:
            empty = Diagnosis(self.trace.trace_id, self.summary.health)
            return {**lineage_json.diagnosis_as_json(empty), "fault": str(error)}

    @cached_property
    def _inputs(self) -> dict[str, Input]:
        return inputs(self.trace)

    @cached_property
    def _reading(self) -> Reading:
        from llmtrace.diagnosis import Reading

        return Reading(self.trace)

    @cached_property
    def _uses(self) -> dict[str, list[ValueUse]]:
        from llmtrace.viewer import lineage_json

        return lineage_json.uses_of(self._reading.whole)

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        return [(span.span_id, search.text_of(fresh(span, self._inputs.get(span.span_id)))) for span in self.trace.spans]
