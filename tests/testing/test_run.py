"""The properties of a run, on spans made by hand."""

from __future__ import annotations

import pytest
from tests.agent_run import AgentRun, tool

from llmtrace.model import AgentInvocation, Evaluation, Message, Text, Trace, Violation, replace
from llmtrace.testing import Run, capture


class Made(Run):
    def __init__(self, *traces: Trace) -> None:
        self._traces = traces

    @property
    def traces(self) -> tuple[Trace, ...]:
        return self._traces


def said(text: str) -> tuple[Message, ...]:
    return (Message("assistant", (Text(text),)),)


def test_what_an_agent_did() -> None:
    run = AgentRun(tool("look_up", "order_id"), tool("refund", "order_id")).user("KS-1, please")
    run.call("look_up", {"total": 1}, order_id="KS-1").call("refund", ran=False, order_id="KS-9").answer("Done.")
    made = Made(run.trace(operation=AgentInvocation("helper", output=said("All done."))))
    assert made.tools == ["look_up"]  # the other was refused
    assert made.executions[0].arguments == {"order_id": "KS-1"}
    assert made.answer == "All done."
    assert made.outcome is None
    assert made.cost_usd is None
    assert made.trace is made.traces[0]


def test_the_answer_is_of_the_last_agent_that_no_other_called() -> None:
    first = AgentRun().user("one").answer("inner").trace(operation=AgentInvocation("a", output=said("first")))
    inner = AgentRun().user("two")
    inner.span(AgentInvocation("below", output=said("of a helper")))
    last = inner.trace(operation=AgentInvocation("b", output=said("last")))
    assert Made(first, last).answer == "last"
    assert Made(AgentRun().user("three").answer("the model's").trace()).answer == "the model's"
    assert Made(AgentRun().user("nothing").trace()).answer is None


def test_invalid_and_made_up_arguments_and_the_outcome() -> None:
    run = AgentRun(tool("refund", "order_id", amount={"type": "number"})).user("please")
    run.call("refund", {"ok": True}, order_id="KS-7", amount="4")
    asked, executed = run.spans
    wrong = Violation("wrong_type", "/amount", "type", "must be a number, not a string", tool="refund")
    made_up = Evaluation("ungrounded_argument", "warning", "…", pointer="/order_id")
    run.spans[:] = [replace(asked, violations=(wrong,)), replace(executed, evaluations=(made_up,))]
    outcome = Evaluation("outcome", "error", "…", label="failure")
    made = Made(run.trace(evaluations=(outcome,)))
    assert made.invalid_calls == ["refund /amount: must be a number, not a string"]
    assert made.ungrounded == ["refund /order_id"]
    assert made.outcome == "failure"
    assert made.health == "failed"


def test_no_trace_or_several() -> None:
    with capture() as captured:
        assert (captured.tools, captured.findings, captured.answer, captured.health) == ([], [], None, "ok")
        with pytest.raises(ValueError, match="expected one trace, but 0 were recorded"):
            _ = captured.trace
