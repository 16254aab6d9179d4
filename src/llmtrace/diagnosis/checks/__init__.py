"""Checks: each looks for one kind of fault that a trace can prove or make likely. The folder is the registry.

Each module of this folder is about one idea and has ``CHECKS``, a tuple of `Check`. Law: if the run may have been right, the
finding is only ``possible``, which does not mark the run.
"""

from __future__ import annotations

import importlib
import pkgutil
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import CallNode, Flow, Node
from llmtrace.evidence.answer_endings import ending_of
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Span, Trace, Workflow, double_counted_spans
from llmtrace.model.value import value

Need: TypeAlias = Literal["calls", "results", "schemas", "content", "inferences", "lineage"]
"""Data that a check needs to see."""

MOST_LATER = 200
"""Number of calls after a failed one that are searched for one that did its job."""


class Run:
    """A trace as the checks read it."""

    def __init__(self, trace: Trace, flow: Flow) -> None:
        self.trace = trace
        self.flow = flow
        self.calls = flow.calls

    @cached_property
    def inferences(self) -> tuple[Span, ...]:
        """Model calls that ended, in order of time, each counted once."""
        elsewhere = double_counted_spans(self.trace)  # two instrumentations may have recorded the same call
        spans = [
            span
            for span in self.trace.spans
            if isinstance(span.operation, (Inference, FetchResponse)) and span.end is not None
            if span.span_id not in elsewhere
        ]
        return tuple(sorted(spans, key=lambda span: (span.end or 0, span.sequence or 0)))

    @cached_property
    def final_inference(self) -> Span | None:
        """The model call that produced the run's outcome.

        A call that ends or fails after the last answer, such as one for a title or a guard, is not the final one, unless tools
        were called after that answer.
        """
        outcome = self.flow.outcome
        answers = {span.span_id: span for span in self.inferences}
        if outcome is not None and outcome.kind == "answer" and self._is_last(outcome):
            # the answer that the root returned; a later one may be for a title or a guard
            root_answer = _answer_of(self.trace.root)
            same = (node.span_id for node in reversed(self.flow.answers) if root_answer and node.text.strip() == root_answer)
            return answers.get(next(same, outcome.span_id))
        return self.inferences[-1] if self.inferences else None

    def _is_last(self, outcome: Node) -> bool:
        return not any(node.position > outcome.position for node in self.calls[-1:])

    @cached_property
    def is_answered(self) -> bool:
        """True if the run ended with an answer in words."""
        final, outcome = self.final_inference, self.flow.outcome
        if outcome is None or outcome.kind != "answer" or not self._is_last(outcome) or self.trace.health == "running":
            return False
        return final is None or (final.failure is None and ending_of(final) not in ("empty", "missing", "filtered", "left"))

    @property
    def has_one_task(self) -> bool:
        """True if the user wrote at most one message.

        In a longer conversation the user has seen each failure and could react, so a failure there is part of the conversation.
        """
        return self.flow.log.turn <= 1

    @cached_property
    def calls_by_tool(self) -> dict[str, list[CallNode]]:
        calls: dict[str, list[CallNode]] = defaultdict(list)
        for node in self.calls:
            calls[node.tool].append(node)
        return calls

    def later_calls(self, node: CallNode, tool: str | None = None) -> Iterator[CallNode]:
        """Yield calls that were requested when the model could know the outcome of this one, so none from the same answer.

        ``tool``: only calls of this tool. At most the next `MOST_LATER` calls are searched, so that a run in which everything
        fails does not take time by the square of its length.
        """
        calls = self.calls if tool is None else self.calls_by_tool[tool]
        first = bisect_right(calls, node.position, key=lambda call: call.position)
        for later in calls[first : first + MOST_LATER]:
            if later.span_id != node.span_id or node.is_from_history:
                yield later

    def feeds_answer(self, node: Node) -> bool:
        """Return True if the run's outcome contains a value of the node's result."""
        return any(edge.via == "result" and edge.target is self.flow.outcome for edge in node.later)


def _answer_of(root: Span) -> str:
    """Return the answer of the root span, if it is an agent or workflow; else an empty text."""
    operation = root.operation
    output = operation.output if isinstance(operation, (AgentInvocation, Workflow)) else ()
    return "\n".join(message.text() for message in output).strip()


@value
class Check:
    """A check and the data that it needs to see. One check may yield findings of several names."""

    name: str
    """The subject of the check, as listed under "checked"."""
    look: Callable[[Run], Iterator[Finding]]
    needs: tuple[Need, ...] = ()


@lru_cache(maxsize=1)
def all_checks() -> tuple[Check, ...]:
    """Return every check, ordered by file name and by position in `CHECKS`."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(check for name in modules for check in importlib.import_module(f"{__name__}.{name}").CHECKS)
