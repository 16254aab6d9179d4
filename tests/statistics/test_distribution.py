"""Distributions: exact while few, within 1 % when many, in bounded memory; None where nothing is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.statistics import Distribution, distribution
from llmtrace.statistics.distribution import EXACT, needed

numbers = st.floats(min_value=1e-6, max_value=1e9)
shares = st.floats(min_value=0.001, max_value=0.999)


def of(values: Sequence[float | None]) -> Distribution:
    made = Distribution()
    for value in values:
        made.add(value)
    return made


def nearest_rank(values: Sequence[float], share: float) -> float:
    """By the definition: the smallest value that at least that share of them do not exceed."""
    ordered = sorted(values)
    return next(value for place, value in enumerate(ordered, 1) if place >= share * len(ordered) - 1e-9)


@given(st.lists(numbers, min_size=1, max_size=EXACT), shares)
@settings(deadline=None)
def test_few_are_exact(values: list[float], share: float) -> None:
    """Up to `EXACT` numbers a quantile is the nearest rank by its definition, in whatever order they came."""
    assert of(values).quantile(share) == nearest_rank(values, share)


@given(st.lists(numbers, min_size=1, max_size=40), shares)
@settings(deadline=None, max_examples=30)
def test_many_are_within_one_percent(values: list[float], share: float) -> None:
    """Beyond, a quantile is at most 1 % off, and never outside of what was seen."""
    many = values * (EXACT // len(values) + 1)
    found, exact = of(many).quantile(share), nearest_rank(many, share)
    assert found is not None
    assert abs(found - exact) <= 0.01 * exact
    assert min(values) <= found <= max(values)


def test_memory_is_bounded() -> None:
    """A million different numbers over eighteen orders of magnitude take some thousand buckets."""
    made = Distribution()
    for place in range(100_000):
        made.add(1e-9 * 10 ** (18 * place / 100_000))
    assert made.count == 100_000
    assert len(made._buckets) < 2_200
    assert len(made._numbers) == 0


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), -1.0])
def test_what_is_no_number_is_left_out(odd: float | None) -> None:
    """An unknown number is not 0: it changes neither count nor quantile."""
    assert of([odd]).quantile(0.5) is None
    assert (of([odd]).count, of([odd]).mean, of([odd]).largest) == (0, None, None)
    assert of([odd, 3.0]).quantile(0.5) == 3.0


def test_zero_is_a_number() -> None:
    """Also among many."""
    assert of([0.0]).quantile(0.99) == 0.0
    assert of([0.0] * (EXACT + 1)).quantile(0.5) == 0.0


def test_few_for_a_quantile() -> None:
    """A p99 of fewer than 100 numbers is their largest, and is marked so; of 100 it is the last but one at most."""
    assert [needed(share) for share in (0.5, 0.95, 0.99)] == [2, 20, 100]
    assert of([1.0] * 99 + [9.0]).quantile(0.99) == 1.0
    assert of([1.0] * 98 + [9.0]).quantile(0.99) == 9.0
    assert of([1.0] * 99).is_few(0.99)
    assert not of([1.0] * 100).is_few(0.99)


@given(st.lists(numbers, min_size=1, max_size=50), st.integers(1, 20))
@settings(deadline=None)
def test_a_histogram_holds_every_number(values: list[float], times: int) -> None:
    """Each number is in one interval, also those on and outside of the bounds."""
    low, high = min(values), max(values)
    bounds = [low, *(low + (high - low) * part for part in (0.3, 0.6)), high]
    counts = of(values * times).over(bounds)
    assert sum(counts) == len(values) * times
    if len(values) * times <= EXACT:
        assert counts[0] == sum(value <= bounds[1] for value in values) * times


def test_the_mean_is_of_all() -> None:
    """Sum and count go on when numbers are no longer kept."""
    assert math.isclose(of([1.0, 3.0] * EXACT).mean or 0, 2.0)


@given(st.lists(st.tuples(numbers, st.integers(1, 300)), max_size=6), st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_what_was_summed_elsewhere(weighted: list[tuple[float, int]], place: int) -> None:
    """Merging gives what adding all numbers gives, few or many."""
    values = [value for value, times in weighted for _ in range(times)]
    cut = sum(times for _, times in weighted[:place])
    here, elsewhere = of(values[:cut]), values[cut:]
    if elsewhere:
        few = len(elsewhere) <= EXACT
        buckets = Counter(map(distribution._bucket, elsewhere))
        sizes = (len(elsewhere), sum(elsewhere), min(elsewhere), max(elsewhere))
        here.merge(*sizes, elsewhere if few else (), {} if few else buckets)
    whole = of(values)
    assert (here.count, here.smallest, here.largest) == (whole.count, whole.smallest, whole.largest)
    assert here.total == pytest.approx(whole.total)
    for share in (0.5, 0.95, 0.99):
        assert here.quantile(share) == whole.quantile(share)
    here.add(7.0)
    whole.add(7.0)
    assert here.quantile(0.5) == whole.quantile(0.5)
