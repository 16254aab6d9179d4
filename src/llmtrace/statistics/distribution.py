"""A distribution of numbers in bounded memory: exact while they are few, within 1 % when they are many.

Quantiles are of the nearest rank: the smallest number such that at least that share of all numbers is no larger. So each is
a number that was seen, not one between two. Beyond `EXACT` numbers, counts in buckets are kept instead, each 2 % wider than
the one before it; a quantile is then the middle of its bucket, at most 1 % off. Law: the memory does not grow with the count,
and no number at all gives None, never 0.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

EXACT = 512
"""Numbers up to which quantiles are exact."""
GROWTH = 1.02
LOG = math.log(GROWTH)
SMALLEST = 1e-9
"""Smaller numbers count as this: a nanosecond."""


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
        """Count a number. None (not known), NaN, infinity and what is below 0 are left out."""
        if number is None or not 0 <= number < math.inf:
            return
        self.count += 1
        self.total += number
        self.smallest = number if self.smallest is None else min(self.smallest, number)
        self.largest = number if self.largest is None else max(self.largest, number)
        if self.count <= EXACT:
            self._numbers.append(number)
            return
        if self._numbers:
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
        """Count numbers that were summed up elsewhere; all of them 0 or more.

        ``numbers``: all of them where they are no more than `EXACT`; else ``buckets``: how many are in each, by the number n of
        a bucket that goes up to `GROWTH` to the power of n.
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
        """All of it, for `merge`."""
        return self.count, self.total, self.smallest or 0, self.largest or 0, list(self._numbers), dict(self._buckets)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The number that ``share`` (0 to 1) of all numbers do not exceed; None where there are none."""
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
        """True where the quantile of this share is no more than the largest number: a p99 needs 100 numbers, a p95 20."""
        return self.count < needed(share)

    def over(self, bounds: list[float]) -> list[int]:
        """Count the numbers in each interval ``bounds[i] < number <= bounds[i + 1]``. The outer intervals include the rest."""
        counts = [0] * (len(bounds) - 1)
        middles = [(2 * GROWTH**bucket / (GROWTH + 1), times) for bucket, times in self._buckets.items()]
        for number, times in [*((number, 1) for number in self._numbers), *middles]:
            for place in range(len(counts)):
                if number <= bounds[place + 1] or place == len(counts) - 1:
                    counts[place] += times
                    break
        return counts


def needed(share: float) -> int:
    """Numbers from which a quantile of this share says more than the largest number does."""
    return round(1 / (1 - share))


def _bucket(number: float) -> int:
    return math.ceil(math.log(max(number, SMALLEST)) / LOG)
