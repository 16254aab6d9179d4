"""The burn rate of each objective's error budget, computed from spans.

An objective is recorded on every span that it is about (`llmtrace.slo`), so every reader of the store knows it. "99 % within 8
seconds" allows 1 % of the calls to take longer: that is the error budget. Burn rate 1 uses it up exactly; 5 means that five
times as many calls were too slow as the budget allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace.model.value import value
from llmtrace.semconv import SLO_NAME, SLO_P50, SLO_P95, SLO_P99, SLO_TIME_TO_FIRST_TOKEN
from llmtrace.statistics.counted_steps import Step
from llmtrace.statistics.distribution import needed

SHARES: Final[Mapping[str, tuple[str, float]]] = {
    SLO_P50: ("p50", 0.5),
    SLO_P95: ("p95", 0.95),
    SLO_P99: ("p99", 0.99),
    SLO_TIME_TO_FIRST_TOKEN: ("ttft", 0.99),
}
"""Name and share of calls that must meet the bound, for each attribute of an objective."""
WINDOWS: Final[Mapping[str, int]] = {"1h": 3600, "1d": 86400}
"""Windows before now that are also counted separately, in seconds."""
MAX_OBJECTIVES = 256


@value
class Objective:
    name: str
    """Name of the agent, workflow, tool or operation that has this objective."""
    measure: str
    """``p50``, ``p95`` or ``p99`` of the duration, or ``ttft`` (time to the first token)."""
    seconds: float
    share: float
    """Share of calls that must meet the objective, such as 0.99."""


class Burn:
    """Numbers of all calls and of too slow calls under one objective, for each window and for ``all`` spans that were read."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = dict.fromkeys(("all", *WINDOWS), 0)
        self.breaches: dict[str, int] = dict.fromkeys(("all", *WINDOWS), 0)


class Objectives:
    def __init__(self, now: int | None) -> None:
        self._now = now
        self.burns: dict[tuple[str, str, float], Burn] = {}

    def add(self, step: Step) -> None:
        attributes = step.span.attributes
        name = attributes.get(SLO_NAME)
        if not isinstance(name, str):
            return
        for attribute, (measure, _) in SHARES.items():
            allowed, took = attributes.get(attribute), step.first_token if measure == "ttft" else step.span.latency
            if took is None or isinstance(allowed, bool) or not isinstance(allowed, (int, float)):
                continue
            seconds, start = float(allowed), step.span.start
            for window in ("all", *WINDOWS):
                if window == "all" or (self._now is not None and start >= self._now - WINDOWS[window] * 1_000_000_000):
                    self.merge((name, measure, seconds), window, 1, took > seconds)

    def merge(self, key: tuple[str, str, float], window: str, calls: int, breaches: int) -> None:
        """Add calls that were counted elsewhere. ``key``: the objective's name, measure and seconds."""
        if key in self.burns or len(self.burns) < MAX_OBJECTIVES:
            burn = self.burns.setdefault(key, Burn())
            burn.calls[window] += calls
            burn.breaches[window] += breaches

    def report(self) -> list[tuple[Objective, Burn]]:
        """Return the objectives by name, for each name the fastest burning first."""
        shares = dict(SHARES.values())
        pairs = [(Objective(*key, shares[key[1]]), burn) for key, burn in self.burns.items()]
        return sorted(pairs, key=lambda pair: (pair[0].name, -(burn_rate(pair[0], pair[1], "all") or 0)))


def burn_rate(objective: Objective, burn: Burn, window: str) -> float | None:
    """Return the number of breaches as a multiple of the number that the budget allows; None without calls."""
    calls = burn.calls[window]
    return burn.breaches[window] / calls / (1 - objective.share) if calls else None


def is_few(objective: Objective, burn: Burn, window: str) -> bool:
    """Return True if the budget is less than one call, so that a single breach spends all of it."""
    return burn.calls[window] < needed(objective.share)
