"""Tests for a difference between two samples, with intervals and power. Pure functions; randomness comes from a `Random`.

The tests permute within strata: only the labels "before" and "now" of answers to the same prompt are exchanged. Law: if nothing
changed, P(p ≤ x) ≤ x for every distribution of the numbers.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from random import Random
from statistics import NormalDist, pvariance
from typing import Any, Final, NamedTuple

RESAMPLES: Final = 19_999
_AT_ONCE: Final = 250
_MOST_SPLITS: Final = 1000
"""If a stratum has at most this many splits in two, all are measured in advance."""
ENOUGH: Final = 25
"""A test stops after this many permutations that are at least as extreme as the observed one: its p-value is not small."""
BOOTSTRAPS: Final = 400
_MOST_WORK: Final = 2_000_000
"""Number of values that one bootstrap may draw."""
POWER: Final = 0.8
CONFIDENCE: Final = 0.95
_STEP: Final = 0.01


class Stratum(NamedTuple):
    """Two samples that are exchangeable if nothing changed: answers to one prompt, or the runs of two sets."""

    before: Sequence[float]
    now: Sequence[float]


class Tested(NamedTuple):
    p: float
    effect: float
    """The size of the change, as each test defines it; 0 if the samples are alike."""


Interval = tuple[float, float]


# -- intervals


def wilson(count: int, total: int) -> Interval:
    """Return Wilson's interval of 95 % for a share; (0, 1) without observations."""
    if not total:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, scale = count / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def quantile(numbers: Sequence[float], share: float) -> float:
    """Return the smallest number that at least ``share`` (0 to 1) of all numbers do not exceed. Raises ValueError without
    numbers."""
    if not numbers:
        raise ValueError("no numbers")
    return sorted(numbers)[max(0, math.ceil(share * len(numbers) - 1e-9) - 1)]  # 1e-9: 0.07 * 100 is a little more than 7


def bootstrap_interval(groups: Sequence[Sequence[float]], share: float, chance: Random) -> Interval | None:
    """Return the bootstrap interval of 95 % for a quantile of all numbers in ``groups``.

    Whole groups are drawn, because the numbers of one run are not independent. None with fewer than five groups, since too few
    different samples can be drawn from them.
    """
    groups = [group for group in groups if group]
    if len(groups) < 5:
        return None
    times = max(50, min(BOOTSTRAPS, _MOST_WORK // max(1, sum(map(len, groups)))))
    drawn = []
    for _ in range(times):
        numbers = [number for group in chance.choices(groups, k=len(groups)) for number in group]
        drawn.append(quantile(numbers, share))
    drawn.sort()
    tail = (1 - CONFIDENCE) / 2
    return drawn[int(tail * times)], drawn[min(times - 1, int((1 - tail) * times))]


# -- tests


def shift_test(strata: Sequence[Stratum], chance: Random, *, resamples: int = RESAMPLES) -> Tested:
    """Test if the numbers are higher or lower now.

    ``effect``: the mean difference within strata, weighted by how much each stratum can show: before · now / (before + now).
    """
    pools = [([*before, *now], len(now)) for before, now in strata if before and now]
    weight = sum((len(pool) - size) * size / len(pool) for pool, size in pools)
    if not weight:
        return Tested(1.0, 0.0)
    varied = [(pool, size) for pool, size in pools if min(pool) != max(pool)]  # equal numbers are the same in every split
    expected = math.fsum(size * math.fsum(pool) / len(pool) for pool, size in varied)
    observed = math.fsum(math.fsum(pool[-size:]) for pool, size in varied) - expected
    columns = [_Splits(pool, size, math.fsum) for pool, size in varied]
    p, _ = _p_value(abs(observed), columns, lambda total: abs(total - expected), chance, resamples)
    return Tested(p, observed / weight)


def words_test(
    strata: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]], chance: Random, *, resamples: int = RESAMPLES
) -> Tested:
    """Test if the distribution of words (first tokens …) has changed.

    ``effect``: the total variation distance (0 to 1) between before and now, averaged over the strata, less its mean over the
    permutations; at least 0.
    """
    observed, columns, number = _measured(strata, _distance_from_rest)
    p, mean = _p_value(observed, columns, lambda total: total, chance, resamples)
    return Tested(p, max(0.0, (observed - mean) / number))


def _measured(
    strata: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]],
    measure_of: Callable[[Sequence[Hashable], int], Callable[[Sequence[Hashable]], float]],
) -> tuple[float, list[_Splits], int]:
    """Return the sum of a measure over the strata, the splits of each stratum with different words, and the number of strata (1
    if there are none)."""
    pools = [([*before, *now], len(now)) for before, now in strata if before and now]
    columns = [_Splits(pool, size, measure_of(pool, size)) for pool, size in pools if len(set(pool)) > 1]
    return math.fsum(column.measure(column.pool[-column.size :]) for column in columns), columns, max(1, len(pools))


def _distance_from_rest(pool: Sequence[Hashable], size: int) -> Callable[[Sequence[Hashable]], float]:
    counts, rest = Counter(pool), len(pool) - size

    def distance(chosen: Sequence[Hashable]) -> float:
        mine = Counter(chosen)
        return sum(abs(mine[word] / size - (count - mine[word]) / rest) for word, count in counts.items()) / 2

    return distance


def novelty_test(
    strata: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]], chance: Random, *, resamples: int = RESAMPLES
) -> Tested:
    """Test if one side has more words that the other side of its stratum lacks.

    It finds a change that `words_test` misses: rare words that differ in each answer. ``effect``: the share of such words now,
    less their share before.
    """
    observed, columns, number = _measured(strata, _novelty)
    p, _ = _p_value(abs(observed), columns, abs, chance, resamples)
    return Tested(p, observed / number)


def _novelty(pool: Sequence[Hashable], size: int) -> Callable[[Sequence[Hashable]], float]:
    counts, rest = Counter(pool), len(pool) - size

    def novelty(chosen: Sequence[Hashable]) -> float:
        mine = Counter(chosen)
        only_mine = sum(count for word, count in mine.items() if count == counts[word])
        only_rest = sum(count for word, count in counts.items() if word not in mine)
        return only_mine / size - only_rest / rest

    return novelty


class _Splits:
    """Draws the measure of random choices of ``size`` members of one stratum. Few possible choices are all measured once."""

    def __init__(self, pool: Sequence[Any], size: int, measure: Callable[[Sequence[Any]], float]) -> None:
        self.pool, self.size, self.measure = pool, size, measure
        self._all: list[float] | None = None
        if math.comb(len(pool), size) <= _MOST_SPLITS:
            self._all = [measure(chosen) for chosen in itertools.combinations(pool, size)]

    def draw(self, chance: Random, times: int) -> list[float]:
        if self._all is not None:
            return chance.choices(self._all, k=times)
        return [self.measure(chance.sample(self.pool, self.size)) for _ in range(times)]


def shares_test(strata: Sequence[tuple[Sequence[bool], Sequence[bool]]]) -> Tested:
    """Test if the share of True changed. Exact, over all permutations. ``effect``: the change of the share within strata."""
    counts = [(len(before), len(now), sum(before) + sum(now), sum(now)) for before, now in strata if before and now]
    weight = sum(before * now / (before + now) for before, now, _, _ in counts)
    if not weight:
        return Tested(1.0, 0.0)
    expected = sum(now * hits / (before + now) for before, now, hits, _ in counts)
    observed = sum(hits_now for *_, hits_now in counts)
    return Tested(_exact_p(counts, observed), (observed - expected) / weight)


def _exact_p(counts: Sequence[tuple[int, int, int, int]], observed: int) -> float:
    """Return the probability of all sums of the strata's counts that are at most as likely as the observed sum.

    ``counts``: for each stratum, the answers before, the answers now, all hits, and the hits now.
    """
    masses, lowest = [1.0], 0
    for before, now, hits, _ in counts:
        low, high = max(0, hits - before), min(now, hits)
        if low == high:
            lowest += low
            continue
        ways = _log_choose(before + now, hits)
        stratum = [
            math.exp(_log_choose(now, count) + _log_choose(before, hits - count) - ways) for count in range(low, high + 1)
        ]
        joined = [0.0] * (len(masses) + len(stratum) - 1)  # the convolution of both distributions
        for place, mass in enumerate(masses):
            for more, probability in enumerate(stratum):
                joined[place + more] += mass * probability
        masses, lowest = joined, lowest + low
    limit = masses[observed - lowest] * (1 + 1e-9)  # equal probabilities may differ by rounding
    return min(1.0, math.fsum(mass for mass in masses if mass <= limit))


def _log_choose(total: int, count: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)


def _p_value(
    observed: float, columns: Sequence[_Splits], statistic: Callable[[float], float], chance: Random, resamples: int
) -> tuple[float, float]:
    """Return a sequential Monte Carlo p-value (Besag and Clifford, 1991) and the mean statistic of the permutations.

    The p-value keeps the module's law. The test stops early if nothing changed.
    """
    if not columns:
        return 1.0, 0.0
    limit = observed - 1e-9 * max(1.0, abs(observed))  # equal statistics may differ by rounding
    extreme, total, number = 0, 0.0, 0
    while number < resamples:
        times = min(_AT_ONCE, resamples - number)
        drawn = [statistic(math.fsum(row)) for row in zip(*(column.draw(chance, times) for column in columns), strict=True)]
        total += math.fsum(drawn)
        for place, value in enumerate(drawn, 1):
            extreme += value >= limit
            if extreme >= ENOUGH:
                return extreme / (number + place), total / (number + times)
        number += times
    return (extreme + 1) / (resamples + 1), total / resamples  # the observed sample is one of the permutations, too


def adjust(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p-values, in the order of ``p_values``."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place], reverse=True)
    adjusted, smallest = [1.0] * len(p_values), 1.0
    for rank, place in enumerate(order):
        smallest = min(smallest, p_values[place] * len(p_values) / (len(p_values) - rank))
        adjusted[place] = smallest
    return adjusted


def midranks(before: Sequence[float], now: Sequence[float]) -> Stratum:
    """Replace the numbers by their ranks among the numbers of both sides; equal numbers get their mean rank."""
    ordered = sorted([*before, *now])

    def rank(number: float) -> float:
        return (bisect.bisect_left(ordered, number) + bisect.bisect_right(ordered, number) + 1) / 2

    return Stratum([*map(rank, before)], [*map(rank, now)])


# -- power


def detectable_drop(hits: int, before: int, now: int, alpha: float) -> float | None:
    """Return the smallest drop of a share that ``now`` new observations would show with probability `POWER`.

    The share was ``hits`` of ``before`` observations. ``alpha``: level of the test. The drop is in steps of one percentage
    point. None if not even a drop to 0 would show.
    """
    if not before or not now:
        return None
    share = hits / before

    def is_no_drop(count: int) -> bool:
        return count * before >= hits * now or _exact_p([(before, now, hits + count, count)], count) > alpha

    low = bisect.bisect_left(range(now), True, key=is_no_drop) - 1  # the largest count now that is a significant drop
    for drop in range(1, round(share / _STEP) + 1):
        if _at_most(low, now, max(0.0, share - drop * _STEP)) >= POWER:
            return drop * _STEP
    return None


def detectable_shift(before: Sequence[Sequence[float]], now: Sequence[int], alpha: float) -> float | None:
    """Return the smallest shift of all numbers that would show with probability `POWER`, by the spread within each group.

    ``before``: the numbers of each group. ``now``: the count of new numbers in each group. ``alpha``: level of the test. None
    if no group has two numbers, which its spread needs.
    """
    weight = variance = 0.0
    for numbers, size in zip(before, now, strict=True):
        if len(numbers) > 1 and size:
            pull = len(numbers) * size / (len(numbers) + size)
            weight += pull
            variance += pull * pvariance(numbers) * len(numbers) / (len(numbers) - 1)
    if not weight:
        return None
    normal = NormalDist()  # an approximation of the permutation test's distribution
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(POWER)) * math.sqrt(variance) / weight


def _at_most(count: int, total: int, share: float) -> float:
    """Return the probability of at most ``count`` successes in ``total`` trials that succeed with probability ``share``."""
    if count < 0:
        return 0.0
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(count >= total)
    return math.fsum(
        math.exp(_log_choose(total, hits) + hits * math.log(share) + (total - hits) * math.log1p(-share))
        for hits in range(count + 1)
    )
