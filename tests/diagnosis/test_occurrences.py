"""The issues that one run shows, and the versions that it was made with."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent_run import AgentRun, tool

from llmtrace.diagnosis import diagnose
from llmtrace.diagnosis.occurrences import occurrences_of, version_of
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import ACCEPTANCE, FEEDBACK, OUTCOME, Evaluation, Failure, Fingerprint, Trace, replace
from llmtrace.model.issues import Occurrence
from llmtrace.semconv import SERVICE_VERSION, VCS_CHANGES, VCS_REVISION

REFUND = tool("refund", "order_id", amount="number", changes=True)
FAILED = Evaluation(OUTCOME, "error", "the program reported failure", "failure")


def occurrences(trace: Trace) -> tuple[Occurrence, ...]:
    evaluated = evaluate_trace(trace)[0]
    return occurrences_of(evaluated, diagnose(evaluated))


def fine(order: str = "KS-1", **root: Any) -> Trace:
    run = AgentRun(REFUND).user(f"Refund {order}: 3.").call("refund", {"refunded": order}, order_id=order, amount=3)
    return run.answer(f"I refunded {order}.").trace(**root)


def reported(*evaluations: Evaluation, order: str = "KS-1") -> tuple[Occurrence, ...]:
    return occurrences(fine(order, evaluations=evaluations))


def test_a_good_run_shows_none() -> None:
    assert occurrences(fine()) == ()
    assert reported(Evaluation(FEEDBACK, "info", "good", "good"), Evaluation(OUTCOME, "info", "fine", "success")) == ()


def test_each_mark_is_one_and_has_the_id_of_the_suspect() -> None:
    timeout = Failure("TimeoutError", "no answer")
    run = AgentRun(REFUND, tool("look_up", "order_id")).user("Refund KS-1: 3.")
    run.calls(("look_up", {"order_id": "KS-1"}, None), failure=timeout)
    run.calls(("refund", {"order_id": "KS-1", "amount": "3 EUR"}, {"refunded": "KS-1"})).answer("Done.")
    trace = evaluate_trace(run.trace())[0]
    diagnosis = diagnose(trace)
    found = occurrences_of(trace, diagnosis)
    assert [occurrence.issue for occurrence in found] == [suspect.issue for suspect in diagnosis.marked]
    assert {(one.subject, one.place, one.kind) for one in found} == {
        ("look_up", "", "timeout"),
        ("refund", "/amount", "wrong_type"),
    }


def test_a_report_has_an_identity_without_words() -> None:
    """Comments, explanations, ids and the task do not change it. The kind of report, its label and the agent do."""
    (outcome,) = reported(FAILED)
    assert (outcome.confidence, outcome.check, outcome.kind, outcome.subject) == (
        "reported",
        "outcome",
        "outcome failure",
        "helper",
    )
    assert reported(replace(FAILED, explanation="other words"), order="BX-9")[0].issue == outcome.issue
    (wrong,) = reported(Evaluation(FEEDBACK, "warning", "bad", "wrong amount", evidence={"comment": "KS-1 got 4"}))
    assert wrong.title == "bad feedback: wrong amount"
    assert reported(Evaluation(FEEDBACK, "warning", "bad", "wrong amount", evidence={"comment": "so what"})) == (wrong,)
    (rude,) = reported(Evaluation(FEEDBACK, "warning", "bad", "rude"))
    (refused,) = reported(Evaluation(ACCEPTANCE, "error", "refused", "fail", pointer="/items/3/total"))
    assert refused.place == "/items/*/total"
    assert len({outcome.issue, wrong.issue, rude.issue, refused.issue}) == 4


def test_feedback_that_comes_later_adds_an_issue_and_changes_none() -> None:
    (outcome,) = reported(FAILED)
    assert outcome in reported(FAILED, Evaluation(FEEDBACK, "warning", "bad", "rude"))


def test_an_outcome_that_repeats_an_acceptance_check_is_not_counted_twice() -> None:
    refused = Evaluation(ACCEPTANCE, "error", "refused", "fail")
    assert [one.check for one in reported(refused, replace(FAILED, source=ACCEPTANCE))] == [ACCEPTANCE]


def test_a_report_about_a_run_with_a_mark_adds_nothing() -> None:
    run = (
        AgentRun(REFUND)
        .user("Refund KS-1: 3.")
        .calls(("refund", {"order_id": "KS-1", "amount": "3 EUR"}, {"refunded": "KS-1"}))
    )
    (found,) = occurrences(run.answer("Done.").trace(evaluations=(FAILED,)))
    assert found.check == "invalid_tool_call"


@pytest.mark.parametrize(
    ("attributes", "commit"),
    [
        ({}, "4c2d9e1f"),
        ({VCS_CHANGES: "none"}, "4c2d9e1f"),
        ({VCS_CHANGES: "0123456789abcdef"}, "4c2d9e1f+01234567"),
    ],
)
def test_the_versions_of_a_run(attributes: dict[str, Any], commit: str) -> None:
    resource = {SERVICE_VERSION: "1.2", VCS_REVISION: "4c2d9e1f"}
    digests = Fingerprint("aaaa", "bbbb", None, None, ("refund cccc",))
    run = AgentRun(REFUND).user("Hi.").answer("Hello.", request_model="gpt-4o", fingerprint=digests)
    trace = run.trace(attributes=attributes, resource=resource)
    assert version_of(trace) == {
        "service version": ("1.2",),
        "commit": (commit,),
        "prompt template": ("refund cccc",),
        "system prompt": ("aaaa",),
        "tools": ("bbbb",),
        "model": ("gpt-4o",),
    }


def test_a_run_without_versions_has_none() -> None:
    assert version_of(AgentRun().user("Hi.").trace()) == {}
