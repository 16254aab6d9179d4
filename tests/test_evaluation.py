"""The verdicts of a stored trace that is judged again."""

from __future__ import annotations

import pytest

from llmtrace import semconv as sc
from llmtrace.diagnosis import diagnose
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import AgentInvocation, Failure, Review, ToolExecution, Trace, replace
from tests.cli.traces import REFUND, Maker, answers, user


def test_nothing_of_an_old_verdict_stays() -> None:
    """More spans of a trace arrived: what marked the run before marks it no more."""
    maker = Maker("1" * 32, 0)
    agent = AgentInvocation("support", input=(user("Refund it."),), output=(answers("Done: KS-20457 is refunded."),))
    call = ToolExecution("refund", {"order_id": "KS-20457", "amount": 1}, call_id="c1", definition=REFUND)
    root = maker.span(1, None, "invoke_agent support", agent, took=9.0)
    failed = maker.span(2, 1, "execute_tool refund", call, failure=Failure("TimeoutError", "no answer"))
    again = maker.span(3, 1, "execute_tool refund", replace(call, result={"refunded": 1}, has_result=True, call_id="c2"))
    first, _ = evaluate_trace(Trace([root, failed]))
    assert (first.health, first.root.attributes[sc.SUSPECT]) == ("suspect", True)
    assert first.root.attributes[sc.WORST_FINDING_CONFIDENCE] == "certain"
    second, _ = evaluate_trace(Trace([*first.spans, again]))
    assert (second.health, second.root.attributes[sc.HEALTH]) == ("recovered", "recovered")
    assert second.root.attributes[sc.FINDINGS_COUNT] == 0
    assert sc.SUSPECT not in second.root.attributes
    assert second.root.attributes.get(sc.WORST_FINDING_CONFIDENCE) == "possible"


def test_a_tool_that_failed_on_a_server_is_not_the_end_of_a_run() -> None:
    """The span of the server is a run of its own, below the call of the run that asked for it."""
    maker = Maker("2" * 32, 0)
    agent = AgentInvocation("support", input=(user("Refund it."),), output=(answers("It did not work."),))
    failure = Failure("tool_error", "no such order")
    call = ToolExecution("refund", {"order_id": "KS-20457", "amount": 1}, call_id="c1", definition=REFUND)
    done = replace(call, result={"refunded": 1}, has_result=True, call_id="c3")
    spans = [
        maker.span(1, None, "invoke_agent support", agent, took=9.0),
        maker.span(2, 1, "tools/call refund", call, failure=failure),
        replace(maker.span(3, 2, "tools/call refund", replace(call, call_id=None), failure=failure), run_id="server"),
        maker.span(4, 1, "tools/call refund", done),
    ]
    trace, _ = evaluate_trace(Trace(spans))
    assert trace.health == "recovered"
    assert diagnose(trace).marked == ()


@pytest.mark.parametrize(
    ("review", "execution", "codes"),
    [
        (Review("refund", tool="refund", call_id="c1", decision="rejected"), ToolExecution("refund"), []),
        (Review("refund", tool="refund", decision="rejected"), ToolExecution("refund"), []),
        (Review("Go on?", decision="rejected"), ToolExecution("refund", result="no", has_result=True), []),
        (Review("refund", tool="refund", decision="rejected"), ToolExecution("repay"), ["unknown_tool"]),
    ],
)
def test_a_tool_whose_call_a_person_rejected_is_not_unknown(review: Review, execution: ToolExecution, codes: list[str]) -> None:
    """A call that did not run, of a tool without a definition, names an unknown tool only if nobody decided on it."""
    maker = Maker("3" * 32, 0)
    spans = [
        maker.span(1, None, "invoke_agent support", AgentInvocation("support"), took=9.0),
        maker.span(2, 1, "review", review),
        maker.span(3, 1, "execute_tool", replace(execution, call_id="c1", executed=False)),
    ]
    trace, _ = evaluate_trace(Trace(spans))
    assert [violation.code for span in trace.spans for violation in span.violations] == codes
