"""A distribution of numbers in bounded memory: exact for few numbers, within 1 % for many.

Quantiles are of the nearest rank: the smallest number such that at least that share of all numbers is no larger. So a quantile
is one of the numbers, not a value between two. Beyond `EXACT` numbers, only counts in buckets are kept, each bucket 2 % wider
than the previous one. A quantile is then the middle of its bucket, at most 1 % off. Law: the memory does not grow with the
count, and without numbers every figure is None, never 0.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

EXACT = 512
"""Count of numbers up to which quantiles are exact."""
GROWTH = 1.02
LOG = math.log(GROWTH)
SMALLEST = 1e-9
"""Lower bound of the buckets, in seconds: a nanosecond. Smaller numbers are in its bucket."""


class Distribution:
    """A distribution of seconds, tokens or other numbers that are not negative."""

    __slots__ = ("_buckets", "_numbers", "count", "largest", "smallest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.smallest: float | None = None
        self.largest: float | None = None
        self._numbers = array("d")
        self._buckets: Counter[int] = Counter()

    def add(self, number: float | None) -> None:
        """Count a number. None (unknown), NaN, infinity and negative numbers are left out."""
        if number is None or not 0 <= number < math.inf:
            return
        self.count += 1
        self.total += number
        self.smallest = number if self.smallest is None else min(self.smallest, number)
        self.largest = number if self.largest is None else max(self.largest, number)
        if self.count <= EXACT:
            self._numbers.append(number)
            return
        if self._numbers:  # the first number beyond `EXACT`: all numbers go into buckets
            self._buckets.update(map(_bucket, self._numbers))
            self._numbers = array("d")
        self._buckets[_bucket(number)] += 1

    def merge(
        self,
        count: int,
        total: float,
        smallest: float,
        largest: float,
        numbers: Iterable[float] = (),
        buckets: Mapping[int, int] | None = None,
    ) -> None:
        """Add numbers that were counted elsewhere, all of them 0 or more.

        ``numbers``: all numbers, if there are at most `EXACT`. Otherwise ``buckets``: the counts by bucket. Bucket n ends at
        `GROWTH` to the power of n.
        """
        if not count:
            return
        self.count += count
        self.total += total
        self.smallest = smallest if self.smallest is None else min(self.smallest, smallest)
        self.largest = largest if self.largest is None else max(self.largest, largest)
        if self.count <= EXACT:
            self._numbers.extend(numbers)
            return
        self._buckets.update(map(_bucket, self._numbers))
        self._numbers = array("d")
        self._buckets.update(map(_bucket, numbers))
        self._buckets.update(buckets or {})

    def summed(self) -> tuple[int, float, float, float, list[float], dict[int, int]]:
        """Return the arguments for `merge` that add this distribution to another."""
        return self.count, self.total, self.smallest or 0, self.largest or 0, list(self._numbers), dict(self._buckets)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """Return the smallest number that at least ``share`` (0 to 1) of all numbers do not exceed; None without numbers."""
        if self.smallest is None or self.largest is None:
            return None
        rank = max(1, math.ceil(share * self.count - 1e-9))
        if self._numbers:
            return sorted(self._numbers)[rank - 1]
        seen, middle = 0, self.largest
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                middle = 2 * GROWTH**bucket / (GROWTH + 1)
                break
        return min(max(middle, self.smallest), self.largest)

    def is_few(self, share: float) -> bool:
        """Return True if the quantile of this share is just the largest number: a p99 needs 100 numbers, a p95 20."""
        return self.count < needed(share)

    def over(self, bounds: list[float]) -> list[int]:
        """Count the numbers in each interval ``bounds[i] < number <= bounds[i + 1]``. The outer intervals include the rest."""
        counts = [0] * (len(bounds) - 1)
        middles = [(2 * GROWTH**bucket / (GROWTH + 1), times) for bucket, times in self._buckets.items()]
        for number, times in [*((number, 1) for number in self._numbers), *middles]:
            counts[bisect_left(bounds, number, 1, len(counts)) - 1] += times
        return counts


def needed(share: float) -> int:
    """Return the count of numbers from which a quantile of this share is more than the largest number."""
    return round(1 / (1 - share))


def _bucket(number: float) -> int:
    return math.ceil(math.log(max(number, SMALLEST)) / LOG)
