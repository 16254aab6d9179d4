"""The actions of an agent in a test, as properties for an ``assert``."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis import Suspect, diagnose
from llmtrace.model import AgentInvocation, Health, Inference, Span, ToolExecution, Trace, double_counted_spans


class Run:
    """The traces of a test. All properties are computed at each use, so they can be used in the middle of a run."""

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The traces, oldest first."""
        raise NotImplementedError

    @property
    def trace(self) -> Trace:
        """The only trace. Raises ValueError if there is not exactly one."""
        traces = self.traces
        if len(traces) != 1:
            raise ValueError(f"expected one trace, but {len(traces)} were recorded")
        return traces[0]

    @property
    def tools(self) -> list[str]:
        """Names of the tools that ran, in the order in which they started. Refused calls are not included."""
        return [execution.name for execution in self.executions]

    @property
    def executions(self) -> list[ToolExecution]:
        """The tools that ran, with arguments and results, in the order in which they started."""
        operations = (span.operation for span in self._spans())
        return [operation for operation in operations if isinstance(operation, ToolExecution) and operation.executed]

    @property
    def invalid_calls(self) -> list[str]:
        """Violations in the arguments of tool calls, such as ``refund /amount: must be a number, not a string``."""
        return [
            f"{violation.tool or 'tool'} {violation.pointer}: {violation.message}"
            for span in self._spans()
            if isinstance(span.operation, Inference)
            for violation in span.violations
            if violation.severity == "error" and violation.where == "arguments"
        ]

    @property
    def findings(self) -> list[str]:
        """Names of the checks that found something certain or likely, as ``llmtrace why`` marks it, without duplicates."""
        return list(dict.fromkeys(suspect.check for suspect in self.suspects))

    @property
    def suspects(self) -> list[Suspect]:
        """Places where the run went wrong according to ``llmtrace why``, certain or likely ones."""
        return [suspect for trace in self.traces for suspect in diagnose(trace).marked]

    @property
    def ungrounded(self) -> list[str]:
        """Identifiers in tool calls that no message and no result contains, such as ``look_up /order_id``."""
        return [
            f"{span.operation.name} {evaluation.pointer}"
            for span in self._spans()
            if isinstance(span.operation, ToolExecution)
            for evaluation in span.evaluations
            if evaluation.name == "ungrounded_argument"
        ]

    @property
    def answer(self) -> str | None:
        """The final text of the last of the outermost agents, or else of the last model call; None without any."""
        outputs = [
            span.operation.output
            for trace in self.traces
            for span in trace.spans
            if isinstance(span.operation, AgentInvocation) and span.operation.output
            if not any(isinstance(above.operation, AgentInvocation) for above in trace.ancestors(span))
        ]
        outputs = outputs or [span.operation.output for span in self._spans() if isinstance(span.operation, Inference)]
        texts = ["".join(message.text() for message in output) for output in outputs]
        return texts[-1] if texts else None

    @property
    def cost_usd(self) -> float | None:
        """US dollars of all model calls whose price is known, as recorded for those that a replay answered; None if no price is
        known."""
        costs = [
            span.operation.cost_usd
            for trace in self.traces
            for span in trace.spans
            if isinstance(span.operation, Inference) and span.span_id not in double_counted_spans(trace)
        ]
        known_costs = [cost for cost in costs if cost is not None]
        return sum(known_costs) if known_costs else None

    @property
    def health(self) -> Health:
        """``ok``, ``recovered``, ``suspect``, ``failed`` or ``running``, as ``llmtrace why`` has it; of several traces the
        worst."""
        healths = [diagnose(trace).health for trace in self.traces]
        worst: tuple[Health, ...] = ("failed", "running", "suspect", "recovered")
        return next((health for health in worst if health in healths), "ok")

    @property
    def outcome(self) -> str | None:
        """The run's outcome as the program reported it by `llmtrace.outcome`: ``success``, ``failure`` or ``unknown``; None if
        it reported none."""
        outcomes = [trace.outcome for trace in self.traces if trace.outcome is not None]
        return outcomes[-1].label if outcomes else None

    def _spans(self) -> Iterator[Span]:
        return (span for trace in self.traces for span in trace.spans)


class StoredRun(Run):
    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    @property
    def traces(self) -> tuple[Trace, ...]:
        return (self._trace,)
