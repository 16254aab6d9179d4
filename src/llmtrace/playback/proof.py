"""Whether runs with a correction end better than runs without it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from llmtrace.statistics.two_samples import shares_test

Verdict: TypeAlias = Literal["cause", "not settled", "no cause"]

CHANCE = 0.05
"""So rare must the difference be by chance alone, for a suspect to be called a cause."""


def verdict(corrected: int, as_recorded: int, times: int) -> Verdict:
    """What so many good runs of ``times`` say, with the correction and without it.

    ``cause``: by Fisher's exact test the difference is rarer than `CHANCE`. ``no cause``: the corrected runs ended no better.
    ``not settled``: better, and it may be chance.
    """
    if corrected <= as_recorded:
        return "no cause"
    ended_well = [[number < good for number in range(times)] for good in (as_recorded, corrected)]
    return "cause" if shares_test([(ended_well[0], ended_well[1])]).p <= CHANCE else "not settled"
