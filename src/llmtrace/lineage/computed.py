"""Whether a number could have been computed from a few others: sum, difference, product, quotient, a share in per cent.

Law: it is the number itself that must come out, to the cent; with many numbers to choose from a chance hit gets likely, so
callers hand over few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

MOST_TERMS = 12


def basis(number: float, others: Sequence[float]) -> float | None:
    """One of ``others`` from which the number follows, together with more of them or a small factor; None if none does."""
    number = round(abs(number), 2)
    for one in others:
        if number in _with_itself(one):
            return one
    for one, other in combinations(others, 2):
        if number in _of_two(one, other):
            return one
    return _of_runs(number, others)


def _with_itself(one: float) -> Iterator[float]:
    for factor in range(2, 11):
        yield round(one * factor, 2)
        yield round(one / factor, 2)


def _of_two(one: float, other: float) -> Iterator[float]:
    yield round(one + other, 2)
    yield round(abs(one - other), 2)
    yield round(one * other, 2)
    yield round(one * other / 100, 2)
    for part, whole in ((one, other), (other, one)):
        if whole:
            yield round(part / whole, 2)
            yield round(100 * part / whole, 2)
        yield round(whole * (1 - part / 100), 2)
        yield round(whole * (1 + part / 100), 2)


def _of_runs(number: float, others: Sequence[float]) -> float | None:
    """The total of numbers that stand one after the other: a column of prices."""
    for start in range(len(others)):
        total = others[start]
        for term in others[start + 1 : start + MOST_TERMS]:
            total += term
            if round(total, 2) == number:
                return others[start]
            if total > number:
                break
    return None
