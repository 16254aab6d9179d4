"""Intervals, permutation tests and power: against enumeration, and their law under simulated samples where nothing changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.statistics.two_samples import (
    Stratum,
    adjust,
    bootstrap_interval,
    detectable_drop,
    detectable_shift,
    midranks,
    novelty_test,
    quantile,
    shares_test,
    shift_test,
    wilson,
    words_test,
)

SIMULATED = 250


def exponential(chance: Random) -> float:
    return chance.expovariate(1)


def heavy(chance: Random) -> float:
    return chance.paretovariate(0.8)


def few_values(chance: Random) -> float:
    return chance.choice((1, 1, 1, 2, 9))


@pytest.mark.parametrize("draw", [exponential, heavy, few_values])
def test_p_values_of_numbers_are_uniform_where_nothing_changed(draw: Callable[[Random], float]) -> None:
    """P(p <= x) <= x, up to the error of the simulation; also where each question has numbers of its own size."""
    chance = Random(7)
    p_values = []
    for _ in range(SIMULATED):
        strata = [Stratum(*([scale * draw(chance) for _ in range(4)] for _ in "ab")) for scale in (1, 5, 20)]
        p_values.append(shift_test(strata, chance).p)
    assert_at_most_uniform(p_values)


@pytest.mark.parametrize("test", [words_test, novelty_test])
def test_p_values_of_words_are_uniform_where_nothing_changed(test: Callable[..., Any]) -> None:
    chance = Random(8)
    p_values = []
    for _ in range(SIMULATED):
        strata = [tuple([chance.choice(words) for _ in range(5)] for _ in "ab") for words in ("ab", "abc", "aaaab")]
        p_values.append(test(strata, chance).p)
    assert_at_most_uniform(p_values)


def test_p_values_of_shares_are_uniform_where_nothing_changed() -> None:
    chance = Random(9)
    p_values = []
    for _ in range(2 * SIMULATED):
        strata = [tuple([chance.random() < rate for _ in range(6)] for _ in "ab") for rate in (0.3, 0.6, 0.95)]
        p_values.append(shares_test(strata).p)  # type: ignore[arg-type]
    assert_at_most_uniform(p_values)


def assert_at_most_uniform(p_values: Sequence[float]) -> None:
    for level in (0.02, 0.05, 0.1, 0.25, 0.5):
        share = sum(p <= level for p in p_values) / len(p_values)
        assert share <= level + 3.5 * math.sqrt(level * (1 - level) / len(p_values)), level


FLAGS = st.lists(st.booleans(), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(FLAGS, FLAGS), min_size=1, max_size=2))
def test_the_exact_test_is_the_one_over_all_permutations(strata: list[tuple[list[bool], list[bool]]]) -> None:
    sums: list[int] = [0]
    for before, now in strata:
        chosen = [sum(some) for some in itertools.combinations([*before, *now], len(now))]
        sums = [total + some for total in sums for some in chosen]
    observed = sum(sum(now) for _, now in strata)
    masses = {total: sums.count(total) / len(sums) for total in set(sums)}
    expected = sum(mass for mass in masses.values() if mass <= masses[observed] * (1 + 1e-9))
    assert shares_test(strata).p == pytest.approx(expected)


def test_a_change_is_seen() -> None:
    chance = Random(3)
    shifted = shift_test([Stratum([chance.gauss(5, 1) for _ in range(8)], [chance.gauss(7, 1) for _ in range(8)])] * 3, chance)
    assert shifted.p < 0.01
    assert 1 < shifted.effect < 3
    assert shift_test([Stratum([1, 1], [2, 2])] * 8, chance).p < 0.01
    words = words_test([("aaaaa", "bbbba")] * 5, chance)
    assert words.p < 0.01
    assert 0.4 < words.effect <= 0.8
    rare = novelty_test([("aaaaa", "aaab" + str(number)) for number in range(9)], chance)
    assert rare.p < 0.01
    assert rare.effect == pytest.approx(0.4)
    shares = shares_test([([True] * 9 + [False], [True] * 4 + [False] * 6)] * 4)
    assert shares.p < 0.001
    assert shares.effect == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "strata",
    [[], [([], [])], [([1.0], [])], [([], [2.0])], [([1.0, 1.0], [1.0])]],
    ids=["none", "empty", "old", "new", "alike"],
)
def test_where_nothing_can_be_told(strata: Any) -> None:
    chance = Random(1)
    assert shift_test([Stratum(*pair) for pair in strata], chance) == (1.0, 0.0)
    assert words_test(strata, chance) == novelty_test(strata, chance) == (1.0, 0.0)
    assert shares_test([tuple([bool(number) for number in side] for side in pair) for pair in strata]) == (1.0, 0.0)  # type: ignore[misc]


def test_wilson() -> None:
    """The textbook's example; certain shares have an interval, too."""
    assert wilson(3, 10) == pytest.approx((0.1078, 0.6032), abs=1e-4)
    assert wilson(0, 10)[0] == pytest.approx(0)
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 0) == (0, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values(p_values: list[float]) -> None:
    """As Benjamini and Hochberg define them; never smaller than the value itself, and in its order."""
    adjusted = adjust(p_values)
    total = len(p_values)
    for place, p in enumerate(p_values):
        expected = min(min(1.0, q * total / sum(r <= q for r in p_values)) for q in p_values if q >= p)
        assert adjusted[place] == pytest.approx(expected)


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), max_size=8))
def test_midranks(before: list[int], now: list[int]) -> None:
    """They add up to the ranks' sum; equal numbers have equal ranks."""
    ranks = midranks(before, now)
    total = len(before) + len(now)
    assert sum(ranks.before) + sum(ranks.now) == pytest.approx(total * (total + 1) / 2)
    pairs = [*zip(before, ranks.before, strict=True), *zip(now, ranks.now, strict=True)]
    assert all((a < b) == (rank_a < rank_b) for a, rank_a in pairs for b, rank_b in pairs)


def test_intervals_of_quantiles() -> None:
    """95 % of them hold the true value, roughly; few groups have none."""
    chance = Random(5)
    hits = 0
    for _ in range(60):
        interval = bootstrap_interval([[chance.gauss(10, 2)] for _ in range(40)], 0.5, chance)
        assert interval is not None
        hits += interval[0] <= 10 <= interval[1]
    assert hits >= 51
    assert bootstrap_interval([[1.0]] * 4, 0.5, chance) is None
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([3, 1, 2], 0.95) == 3


def test_the_stated_power_is_the_power() -> None:
    """A drop of the stated size is seen 8 times in 10, a point less is not: of exact tests against one baseline."""
    drop = detectable_drop(38, 40, 40, 0.01)
    assert drop is not None
    chance = Random(2)
    before = [True] * 38 + [False] * 2

    def power(size: float) -> float:
        seen = [shares_test([(before, [chance.random() < 0.95 - size for _ in range(40)])]) for _ in range(400)]
        return sum(tested.p <= 0.01 and tested.effect < 0 for tested in seen) / len(seen)

    assert power(drop) >= 0.74
    assert power(drop - 0.04) < 0.82
    assert detectable_drop(0, 40, 40, 0.01) is None
    assert detectable_drop(2, 2, 2, 0.01) is None
    wide = detectable_drop(950, 1000, 1000, 0.01)
    assert wide is not None
    assert wide < drop
    assert detectable_shift([[1.0, 2.0, 3.0]] * 4, [3] * 4, 0.01) < detectable_shift([[1.0, 2.0, 3.0]], [3], 0.01)  # type: ignore[operator]
    assert detectable_shift([[1.0]], [3], 0.01) is None
