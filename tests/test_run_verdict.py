"""The verdict on a run stands on its outermost span, and says of health what the trace says."""

from __future__ import annotations

import contextlib

import llmtrace
from llmtrace import semconv as sc
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
