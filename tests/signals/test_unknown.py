"""What was not recorded is never a verdict: a run of which less is known gets no finding that the whole run has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from signal_cases import CASES, infer, run

from llmtrace.content.bare import bare_operation
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, ToolExecution, Trace, replace

EVERY_RUN = [spans for cases in CASES.values() for spans in (*cases.bad.values(), *cases.good)]


def without(kind: type, **empty: Any) -> Callable[[Any], Any]:
    return lambda operation: replace(operation, **empty) if isinstance(operation, kind) else operation


LESS: dict[str, Callable[[Any], Any]] = {
    "results": without(ToolExecution, result=None, has_result=False),
    "arguments and results": without(ToolExecution, arguments=None, result=None, has_result=False),
    "messages": without(Inference, system=(), input=(), output=()),
    "any content": bare_operation,
}
"""What another writer may keep to itself, saying nothing of it."""
TRUE_OF_LESS = {("end_state", "asked_back"), ("end_state", "after_errors")}
"""Labels by which a finding on the end of the run gives way to another; each is true of what is left."""


def verdicts(spans: Iterable[Span]) -> set[tuple[str, str, str | None]]:
    judged, unknown = evaluate_trace(Trace([replace(span, evaluations=()) for span in spans]))
    assert unknown == ()
    return {(span.span_id, found.name, found.label) for span in judged.spans for found in span.evaluations}


@pytest.mark.parametrize("less", LESS)
def test_less_content_gives_no_other_findings(less: str) -> None:
    """Whatever a writer left out, what is said is said of the whole run too."""
    for spans in EVERY_RUN:
        known = [replace(span, operation=LESS[less](span.operation)) for span in spans]
        new = verdicts(known) - verdicts(spans)
        assert {one for one in new if one[1:] not in TRUE_OF_LESS} == set()


def handed_over(answer: str, given: str) -> set[str | None]:
    """An answer of a run whose only tool took it, and told no result."""
    tool = ToolExecution("final_answer", {"answer": given}, call_id="c1")
    spans = run(infer(f"I hand over: {given}"), tool)
    spans[-1] = replace(spans[-1], operation=AgentInvocation("support", output=(Message("assistant", (Text(answer),)),)))
    return {label for _, name, label in verdicts(spans) if name == "answer_without_evidence"}


def test_an_answer_handed_over_is_known_by_the_agents_own() -> None:
    """That a tool took the answer shows without its result: the agent answered just that."""
    assert handed_over("paid", "paid") == {"handed_over"}
    assert handed_over("paid", "when?") == set()
