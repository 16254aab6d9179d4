"""The verdict on a run stands on its outermost span, and says of health what the trace says."""

from __future__ import annotations

import contextlib

import pytest

import llmtrace
from llmtrace import semconv as sc
from llmtrace.model import HEALTHS, Confidence, Evaluation, Failure, Health, Severity, Span, Trace, replace, run_health
from llmtrace.run_verdict import RunVerdict
from llmtrace.testing import Captured, capture


@llmtrace.tool
def pay(amount: int) -> str:
    if amount < 0:
        raise ValueError("no")
    return "paid"


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
    with capture() as captured, llmtrace.agent("support"):
        for _ in range(3):
            pay(1)
    attributes = captured.traces[0].root.attributes
    assert attributes[sc.FINDINGS_COUNT] == len(
        [one for span in captured.spans for one in span.evaluations if one.severity != "info"]
    )
    if attributes[sc.FINDINGS_COUNT]:
        assert attributes[sc.WORST_FINDING_CONFIDENCE] in ("certain", "likely", "possible")


def run_of(*evaluations: Evaluation, error: str | None = None, root_error: str | None = None) -> tuple[Trace, RunVerdict]:
    """A run of an agent and one tool, with evaluations of the tool, and its verdict."""
    tool = Span("a" * 32, "2" * 16, "execute_tool pay", 2, 3, "1" * 16, run_id="r", evaluations=evaluations)
    agent = Span("a" * 32, "1" * 16, "invoke_agent support", 1, 4, run_id="r")
    tool = tool if error is None else replace(tool, failure=Failure(error))
    agent = agent if root_error is None else replace(agent, failure=Failure(root_error))
    verdict = RunVerdict()
    for span in (tool, agent):
        verdict.add(span)
    return Trace([agent, tool]), verdict


def found(confidence: Confidence | None, severity: Severity = "warning") -> Evaluation:
    return Evaluation("some_law", severity, "it was found", confidence=confidence)


@pytest.mark.parametrize(
    ("evaluations", "error", "root_error", "health"),
    [
        ((), None, None, "ok"),
        ((found("possible"),), None, None, "ok"),
        ((found(None, "info"),), None, None, "ok"),
        ((found("likely"),), None, None, "suspect"),
        ((found("certain", "info"),), None, None, "suspect"),
        ((), "ValueError", None, "recovered"),
        ((found("possible"),), "ValueError", None, "recovered"),
        ((found("certain"),), "ValueError", None, "suspect"),
        ((found("certain"),), "ValueError", "KeyError", "failed"),
        ((found("certain"), Evaluation("outcome", "error", "", label="failure")), None, None, "failed"),
    ],
)
def test_a_mark_makes_a_run_suspect(
    evaluations: tuple[Evaluation, ...], error: str | None, root_error: str | None, health: str
) -> None:
    """A certain or likely evaluation on any span: worse than recovered, better than failed. The root's attributes agree."""
    trace, verdict = run_of(*evaluations, error=error, root_error=root_error)
    assert trace.health == health
    attributes = verdict.attributes(trace.root)
    assert attributes[sc.HEALTH] == health
    assert attributes.get(sc.SUSPECT, False) is (health in ("suspect", "failed"))


def test_a_running_run_is_running_whatever_was_found() -> None:
    trace, _ = run_of(found("certain"))
    running = replace(trace.root, end=None)
    assert Trace([running, *trace.spans[1:]], alive=frozenset({running.span_id})).health == "running"
    assert Trace([running, *trace.spans[1:]]).health == "failed"


@pytest.mark.parametrize("health", HEALTHS)
def test_the_word_for_a_run_never_contradicts_a_mark(health: Health) -> None:
    assert run_health(health, is_marked=False) == health
    assert run_health(health, is_marked=True) == {"ok": "suspect", "recovered": "suspect"}.get(health, health)
    assert run_health(health, is_marked=True, has_failed=True) == "failed"
