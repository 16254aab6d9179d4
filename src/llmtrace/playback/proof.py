"""Whether runs with a correction end better than runs without it."""

from __future__ import annotations

from math import comb
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["cause", "not settled", "no cause"]

CHANCE = 0.05
"""So rare must the difference be by chance alone, for a suspect to be called a cause."""


def verdict(corrected: int, as_recorded: int, times: int) -> Verdict:
    """What so many good runs of ``times`` say, with the correction and without it.

    ``cause``: by Fisher's exact test (one-sided) the difference is rarer than `CHANCE`. ``no cause``: the corrected runs ended
    no better. ``not settled``: better, and it may be chance.
    """
    if corrected <= as_recorded:
        return "no cause"
    return "cause" if by_chance(corrected, as_recorded, times) <= CHANCE else "not settled"


def by_chance(corrected: int, as_recorded: int, times: int) -> float:
    """The probability of so large a difference, or a larger one, if the correction changed nothing (Fisher's exact test)."""
    good = corrected + as_recorded
    at_least = range(corrected, min(times, good) + 1)
    return sum(comb(times, one) * comb(times, good - one) for one in at_least) / comb(2 * times, good)
