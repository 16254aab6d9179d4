"""Burn rates: what the spans themselves say of an objective, over all and lately."""

from __future__ import annotations

from typing import Any

import pytest

from llmtrace.model import AgentInvocation, Span
from llmtrace.statistics import Statistics, burn_rate, collect
from llmtrace.statistics.error_budget import is_few
from tests.statistics.spans import BEGIN, SECOND, call, span

HOUR = 3600


def run(number: int, took: float, *, at: float = 0, **bounds: Any) -> Span:
    attributes = {"llmtrace.slo.name": "support", **{f"llmtrace.slo.{name}": bound for name, bound in bounds.items()}}
    return span(number, AgentInvocation("support"), took=took, at=at, attributes=attributes)


def test_burn_rate_is_the_share_of_breaches_by_the_share_that_may() -> None:
    """2 of 100 too slow, where 1 of 100 may be: 2.0. Exactly as long as allowed is no breach."""
    spans = [run(number, took=9 if number <= 2 else 8, p99=8.0) for number in range(1, 101)]
    ((objective, burn),) = collect(spans, Statistics("agent")).objectives.report()
    assert (objective.name, objective.measure, objective.seconds, objective.share) == ("support", "p99", 8.0, 0.99)
    assert (burn.calls["all"], burn.breaches["all"]) == (100, 2)
    assert burn_rate(objective, burn, "all") == pytest.approx(2.0)
    assert not is_few(objective, burn, "all")


def test_windows_count_back_from_now() -> None:
    """The last hour, the last day, and all; without calls in it a window has no rate."""
    spans = [run(1, 9, at=0, p50=8), run(2, 1, at=20 * HOUR, p50=8), run(3, 9, at=30 * HOUR, p50=8)]
    ((objective, burn),) = collect(spans, Statistics("agent", now=BEGIN + 31 * HOUR * SECOND)).objectives.report()
    assert burn.calls == {"all": 3, "1h": 1, "1d": 2}
    assert burn.breaches == {"all": 2, "1h": 1, "1d": 1}
    assert [burn_rate(objective, burn, window) for window in ("1h", "1d")] == [2.0, 1.0]
    ((objective, burn),) = collect(spans, Statistics("agent", now=BEGIN + 99 * HOUR * SECOND)).objectives.report()
    assert burn_rate(objective, burn, "1h") is None
    assert is_few(objective, burn, "1h")


def test_each_bound_is_an_objective_of_its_own() -> None:
    """Also one that was changed; a first token that is not known counts for nothing; the fastest burning comes first."""
    slow = span(2, call(stream=True, time_to_first_chunk=3.0), parent=1, at=0.5)
    spans = [run(1, 9, p95=8.0, time_to_first_token=1.0), slow, run(3, 1, p95=8.0, time_to_first_token=1.0), run(4, 1, p95=2)]
    report = collect(spans, Statistics("agent")).objectives.report()
    assert [(one.measure, one.seconds, burn.calls["all"], burn.breaches["all"]) for one, burn in report] == [
        ("ttft", 1.0, 1, 1),
        ("p95", 8.0, 2, 1),
        ("p95", 2.0, 1, 0),
    ]


@pytest.mark.parametrize("bound", ["8", None, True, [8]])
def test_odd_attributes_are_no_objective(bound: Any) -> None:
    """A span may come from anybody."""
    odd = span(1, AgentInvocation("a"), attributes={"llmtrace.slo.name": 7, "llmtrace.slo.p99": 8})
    assert collect([odd, run(2, 9, p99=bound)], Statistics("agent")).objectives.report() == []
