"""The verdict on a run stands on its outermost span, and says of health what the trace says."""

from __future__ import annotations

import contextlib

import pytest

import llmtrace
from llmtrace import semconv as sc
from llmtrace.laws.finding import Finding
from llmtrace.model import HEALTHS, Confidence, Evaluation, Failure, Health, Span, Trace, replace, run_health
from llmtrace.run_verdict import RunVerdict
from llmtrace.testing import Captured, capture


@llmtrace.tool
def pay(amount: int) -> str:
    if amount < 0:
        raise ValueError("no")
    return "paid"


@llmtrace.tool(changes=True)
def refund(amount: int) -> str:
    return "refunded"


def test_the_outermost_span_carries_the_health_of_its_run(captured: Captured) -> None:
    """The same as the trace's, in each of the three states; no other span has it."""
    for amounts, outcome in (([1], None), ([-1, 1], None), ([1], "failure"), ([-1], None)):
        with contextlib.suppress(ValueError), llmtrace.agent("support"):
            for amount in amounts:
                if len(amounts) > 1:
                    with contextlib.suppress(ValueError):
                        pay(amount)
                else:
                    pay(amount)
            if outcome is not None:
                llmtrace.outcome(outcome)
    assert [trace.health for trace in captured.traces] == ["ok", "recovered", "failed", "failed"]
    for trace in captured.traces:
        assert trace.root.attributes[sc.HEALTH] == trace.health
        assert trace.root.attributes.get(sc.SUSPECT, False) is (trace.health == "failed")
        assert all(sc.HEALTH not in span.attributes for span in trace.spans if span is not trace.root)


def test_the_worst_finding_is_the_surest() -> None:
    """The count is that of the marks. A change that is declared, and made twice, is certain; another is possible."""
    for change, confidence in ((refund, "certain"), (pay, "possible")):
        with capture() as captured, llmtrace.agent("support"):
            for _ in range(2):
                change(7)
        root = captured.traces[0].root
        marks = [one for one in root.evaluations if one.confidence is not None]
        assert root.attributes[sc.FINDINGS_COUNT] == len(marks) == (confidence == "certain")
        assert root.attributes[sc.WORST_FINDING] == "duplicated_effect"
        assert root.attributes[sc.WORST_FINDING_CONFIDENCE] == confidence


FACT = Evaluation("some_law", "warning", "it was found")
FAILURE = Evaluation("outcome", "error", "", label="failure")


def found(confidence: Confidence) -> Finding:
    return Finding("some_law", "fail", confidence, "2" * 16, "it was found", "It was found.", "Look at it.")


def run_of(*said: Finding | Evaluation, error: str | None = None, root_error: str | None = None) -> Trace:
    """A run of an agent and one tool, as it is recorded: its outermost span has the marks of its findings, and the verdict."""
    findings = [one for one in said if isinstance(one, Finding)]
    marks = [finding.as_evaluation() for finding in findings if finding.is_marked]
    evaluations = (*(one for one in said if isinstance(one, Evaluation)), *marks)
    tool = Span("a" * 32, "2" * 16, "execute_tool pay", 2, 3, "1" * 16, run_id="r")
    agent = Span("a" * 32, "1" * 16, "invoke_agent support", 1, 4, run_id="r", evaluations=evaluations)
    tool = tool if error is None else replace(tool, failure=Failure(error))
    agent = agent if root_error is None else replace(agent, failure=Failure(root_error))
    attributes = RunVerdict().attributes(agent, findings, has_error=error is not None)
    return Trace([replace(agent, attributes=attributes), tool])


@pytest.mark.parametrize(
    ("said", "error", "root_error", "health"),
    [
        ((), None, None, "ok"),
        ((found("possible"),), None, None, "ok"),
        ((FACT,), None, None, "ok"),
        ((found("likely"),), None, None, "suspect"),
        ((found("certain"),), None, None, "suspect"),
        ((), "ValueError", None, "recovered"),
        ((found("possible"),), "ValueError", None, "recovered"),
        ((found("certain"),), "ValueError", None, "suspect"),
        ((found("certain"),), "ValueError", "KeyError", "failed"),
        ((found("certain"), FAILURE), None, None, "failed"),
    ],
)
def test_a_mark_makes_a_run_suspect(
    said: tuple[Finding | Evaluation, ...], error: str | None, root_error: str | None, health: str
) -> None:
    """A certain or likely finding: worse than recovered, better than failed. The root's attributes agree with the trace."""
    trace = run_of(*said, error=error, root_error=root_error)
    assert trace.health == health
    assert trace.root.attributes[sc.HEALTH] == health
    assert trace.root.attributes.get(sc.SUSPECT, False) is (health in ("suspect", "failed"))


def test_a_running_run_is_running_whatever_was_found() -> None:
    trace = run_of(found("certain"))
    running = replace(trace.root, end=None)
    assert Trace([running, *trace.spans[1:]], alive=frozenset({running.span_id})).health == "running"
    assert Trace([running, *trace.spans[1:]]).health == "failed"


@pytest.mark.parametrize("health", HEALTHS)
def test_the_word_for_a_run_never_contradicts_a_mark(health: Health) -> None:
    assert run_health(health, is_marked=False) == health
    assert run_health(health, is_marked=True) == {"ok": "suspect", "recovered": "suspect"}.get(health, health)
    assert run_health(health, is_marked=True, has_failed=True) == "failed"
