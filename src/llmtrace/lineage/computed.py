"""Whether a number could have been computed from a few others: sum, difference, product, quotient, a share in per cent.

Law: it is the number itself that must come out, to the cent; with many numbers to choose from a chance hit gets likely, so
callers hand over few. For each number the one that it would need is looked up, so the cost is linear in their count.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_TERMS = 12
SMALL = 10
"""Whole numbers up to here serve as factors only: there are too many of them everywhere to add or subtract."""


def basis(number: float, others: Sequence[float]) -> float | None:
    """One of ``others`` from which the number follows, alone by a small factor or with more of them; None if none does."""
    number = round(abs(number), 2)
    factors = {round(other, 2) for other in others if other}
    known = {other for other in factors if _is_term(other)}
    for one in known:
        if _by_factor(number, one) or _with_another(number, one, known, factors):
            return next(other for other in others if round(other, 2) == one)
    return _of_runs(number, [other for other in others if _is_term(other)])


def _is_term(number: float) -> bool:
    return number > SMALL or not number.is_integer()


def _by_factor(number: float, one: float) -> bool:
    larger, smaller = max(number, one), min(number, one)
    factor = round(larger / smaller) if smaller else 0
    return 2 <= factor <= SMALL and round(smaller * factor, 2) == larger


def _with_another(number: float, one: float, known: set[float], factors: set[float]) -> bool:
    if not known.isdisjoint((round(number - one, 2), round(one - number, 2), round(one + number, 2))):
        return True
    if one <= 0 or number <= 0:
        return False
    factor = round(number / one, 2)
    if factor in factors and round(one * factor, 2) == number:
        return True
    share = round(100 * number / one, 2)  # so many per cent of one; or one, less or more by so many
    shares = (share, round(abs(100 - share), 2))
    return any(part in factors and part <= 100 for part in shares) and round(one * share / 100, 2) == number


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
