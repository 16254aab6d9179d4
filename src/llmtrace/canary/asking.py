"""Asks until a comparison is decided, or a given number of calls is reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llmtrace.canary.baseline import Baseline
from llmtrace.canary.compare import Comparison, compare, is_decided

MOST_LOOKS: Final = 5
"""Most times that all questions are asked and looked at. Each look costs power, the first ones little."""


def ask_until_decided(before: Baseline, ask: Callable[[], Baseline], most_times: int) -> tuple[Baseline, Comparison]:
    """Return all new answers, and the comparison with the baseline.

    ``ask``: asks every question of the baseline again. ``most_times``: how often it may be called; at most `MOST_LOOKS`.
    """
    weights = [number * number for number in range(1, max(1, min(MOST_LOOKS, most_times)) + 1)]
    now = ask()
    comparison = compare(before, now, share=weights[0] / sum(weights))
    for weight in weights[1:]:
        if is_decided(comparison):
            break
        now = now.joined(ask())
        comparison = compare(before, now, share=weight / sum(weights))
    return now, comparison
