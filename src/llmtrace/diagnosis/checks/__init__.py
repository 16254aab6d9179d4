"""Checks: each is a law about agents that a record can prove, or make likely. One file, one idea; the folder is the registry.

A module here has ``CHECKS``: a tuple of `Check`. A check never accuses for what may be right: in doubt its finding is
``possible``, which marks nothing.
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
"""Calls after a failed one that are searched for one that did the job."""


class Run:
    """A trace as the checks read it."""

    def __init__(self, trace: Trace, flow: Flow) -> None:
        self.trace = trace
        self.flow = flow
        self.calls = flow.calls

    @cached_property
    def inferences(self) -> tuple[Span, ...]:
        """Model calls that ended, in order of time, each counted once."""
        elsewhere = double_counted_spans(self.trace)
        spans = [
            span
            for span in self.trace.spans
            if isinstance(span.operation, (Inference, FetchResponse)) and span.end is not None
            if span.span_id not in elsewhere
        ]
        return tuple(sorted(spans, key=lambda span: (span.end or 0, span.sequence or 0)))

    @cached_property
    def final_inference(self) -> Span | None:
        """The model call that the run's outcome is from. A call that fails or ends after the last answer (a title, a guard) is
        not, unless tools were called after that answer."""
        outcome = self.flow.outcome
        answers = {span.span_id: span for span in self.inferences}
        if outcome is not None and outcome.kind == "answer" and self._is_last(outcome):
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
        """True if the user spoke once. In a conversation the user has seen what failed and could answer; a failure there is
        part of the talk."""
        return self.flow.log.turn <= 1

    @cached_property
    def calls_by_tool(self) -> dict[str, list[CallNode]]:
        calls: dict[str, list[CallNode]] = defaultdict(list)
        for node in self.calls:
            calls[node.tool].append(node)
        return calls

    def later_calls(self, node: CallNode, tool: str | None = None) -> Iterator[CallNode]:
        """Calls that were asked for after the model could know how this one went, so not those asked for beside it.

        ``tool``: only calls of this tool. At most the next `MOST_LATER`, so that a run in which everything fails does not cost
        the square of its length.
        """
        calls = self.calls if tool is None else self.calls_by_tool[tool]
        first = bisect_right(calls, node.position, key=lambda call: call.position)
        for later in calls[first : first + MOST_LATER]:
            if later.span_id != node.span_id or node.is_from_history:
                yield later

    def feeds_answer(self, node: Node) -> bool:
        """True if a value of the node's result stands in the answer that the run ended with."""
        return any(edge.via == "result" and edge.target is self.flow.outcome for edge in node.later)


def _answer_of(root: Span) -> str:
    """Return the answer of the outermost agent or workflow."""
    operation = root.operation
    output = operation.output if isinstance(operation, (AgentInvocation, Workflow)) else ()
    return "\n".join(message.text() for message in output).strip()


@value
class Check:
    """A check with what it needs to see. One check may give findings of several names."""

    name: str
    """The subject of the check, as listed under "checked"."""
    look: Callable[[Run], Iterator[Finding]]
    needs: tuple[Need, ...] = ()


@lru_cache(maxsize=1)
def all_checks() -> tuple[Check, ...]:
    """Every check, in the order of their files and places."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(check for name in modules for check in importlib.import_module(f"{__name__}.{name}").CHECKS)
