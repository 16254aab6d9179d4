"""The identity of a failure: the same in every run that has it, and another one for another failure."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent_run import AgentRun, tool

from llmtrace.diagnosis import Suspect, diagnose, findings_of
from llmtrace.diagnosis.identity import identity_of
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Failure, Trace

PAY = tool("pay", "order_id", amount="number", changes=True)
REFUND = tool("refund", "order_id", amount="number", changes=True)
TIMEOUT = Failure("TimeoutError", "no answer after 5 s")


def prime(run: AgentRun) -> Suspect:
    trace: Trace = run.trace()
    suspect = diagnose(evaluate_trace(trace)[0]).prime
    assert suspect is not None
    return suspect


def invalid(tool_name: str = "refund", order: Any = "KS-20457", amount: Any = "42 EUR", *, before: int = 0) -> AgentRun:
    """A change runs with an invalid argument. ``before``: number of good calls before it."""
    run = AgentRun(REFUND, PAY).user(f"Please settle {order} with 42.")
    for _ in range(before):
        run.calls(("pay", {"order_id": order, "amount": 42 + before}, {"paid": order}))
    return run.calls((tool_name, {"order_id": order, "amount": amount}, {"done": order})).answer(f"I settled {order}.")


def raising(failure: Failure = TIMEOUT, times: int = 1, order: str = "KS-20457", *, good_before: bool = False) -> AgentRun:
    """A tool fails so many times, and the run ends with an answer all the same."""
    run = AgentRun(REFUND).user(f"Please refund {order}: 42, and KS-1: 3.")
    if good_before:
        run.calls(("refund", {"order_id": "KS-1", "amount": 3}, {"refunded": "KS-1"}))
    for _ in range(times):
        run.calls(("refund", {"order_id": order, "amount": 42}, None), failure=failure)
    return run.answer(f"I refunded {order}.")


def test_ids_values_and_order_do_not_change_it() -> None:
    issue = prime(invalid()).issue
    assert issue.startswith("i")
    assert {prime(invalid(order="BX-1", amount="much")).issue, prime(invalid(before=1)).issue} == {issue}


def test_one_fault_that_shows_in_several_ways_is_one_failure() -> None:
    """Once, or again and again, or after a call that went well: laws and titles differ, the failure is one."""
    once, later = prime(raising()), prime(raising(good_before=True))
    assert once.title != later.title
    trace = evaluate_trace(raising(times=4, order="BX-1").trace())[0]
    findings = [finding for finding in findings_of(trace) if finding.is_marked]
    assert {finding.law for finding in findings} == {"failed_tool", "repeated_call"}
    assert {once.issue, later.issue, *(identity_of(finding, trace).id for finding in findings)} == {once.issue}


@pytest.mark.parametrize(
    "other",
    [
        invalid("pay"),
        invalid(order=7, amount=42),
        raising(),
        raising(Failure("ValueError", "no answer after 5 s")),
    ],
    ids=["tool", "field", "kind", "error"],
)
def test_another_tool_field_or_kind_is_another_failure(other: AgentRun) -> None:
    others = {prime(invalid()).issue, prime(raising(Failure("KeyError", "order"))).issue}
    assert prime(other).issue not in others


def test_lost_messages_are_one_failure_of_the_agent_whichever_tool_it_called_then() -> None:
    """The tool at which it shows is chance."""

    def lost(tool_name: str, order: str) -> Suspect:
        made_up = f"{order[:3]}55512"
        run = (
            AgentRun(PAY, REFUND)
            .user(f"My order is {order}.")
            .answer("One moment.")
            .user("Go on.")
            .answer("Yes?")
            .user("Do it.")
        )
        run.messages = run.messages[1:]
        return prime(run.calls((tool_name, {"order_id": made_up, "amount": 3}, {"done": made_up})).answer("Done."))

    first, second = lost("refund", "KS-20418"), lost("pay", "BX-77301")
    assert {first.check, second.check} == {"lost_context"}
    assert first.issue == second.issue
