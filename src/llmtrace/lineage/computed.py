"""Whether a number could have been computed from a few others: sum, difference, product, quotient, a share in per cent.

Law: it is the number itself that must come out, to the cent; with many numbers to choose from a chance hit gets likely, so
callers hand over few. For each number the one that it would need is looked up, so the cost is linear in their count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llmtrace.lineage.provenance import Rule

MOST_TERMS = 12
SMALL = 10
"""Whole numbers up to here serve as factors only: there are too many of them everywhere to add or subtract."""


class Computed(NamedTuple):
    rule: Rule
    terms: tuple[float, ...]
    """Those of the numbers handed over from which it follows."""


def computed(number: float, others: Sequence[float]) -> Computed | None:
    """How the number follows from ``others``: from one of them by a small factor, from two, or as the total of some that stand
    one after the other. None if it does not."""
    number = round(abs(number), 2)
    factors: dict[float, float] = {}
    for other in others:
        if other:
            factors.setdefault(round(other, 2), other)
    known = {rounded: other for rounded, other in factors.items() if _is_term(other)}
    for one, term in known.items():
        rule = _by_factor(number, one)
        if rule:
            return Computed(rule, (term,))
        found = _with_another(number, one, known, factors)
        if found is not None:
            return found
    return _of_runs(number, [other for other in others if _is_term(other)])


def _is_term(number: float) -> bool:
    return number > SMALL or not number.is_integer()


def _by_factor(number: float, one: float) -> Rule:
    larger, smaller = max(number, one), min(number, one)
    factor = round(larger / smaller) if smaller else 0
    if 2 <= factor <= SMALL and round(smaller * factor, 2) == larger:
        return "product" if number == larger else "quotient"
    return ""


def _with_another(number: float, one: float, known: Mapping[float, float], factors: Mapping[float, float]) -> Computed | None:
    term = known[one]
    rest, excess, minuend = round(number - one, 2), round(one - number, 2), round(one + number, 2)
    if rest in known:
        return Computed("sum", (term, known[rest]))
    if excess in known or minuend in known:
        return Computed("difference", (term, known[excess if excess in known else minuend]))
    if one <= 0 or number <= 0:
        return None
    factor = round(number / one, 2)
    if factor in factors and round(one * factor, 2) == number:
        return Computed("product", (term, factors[factor]))
    share = round(100 * number / one, 2)  # so many per cent of one; or one, less or more by so many
    for part in (share, round(abs(100 - share), 2)):
        if part in factors and part <= 100 and round(one * share / 100, 2) == number:
            return Computed("share", (term, factors[part]))
    return None


def _of_runs(number: float, others: Sequence[float]) -> Computed | None:
    """The total of numbers that stand one after the other: a column of prices."""
    for start in range(len(others)):
        total = others[start]
        for end in range(start + 1, min(start + MOST_TERMS, len(others))):
            total += others[end]
            if round(total, 2) == number:
                return Computed("total", tuple(others[start : end + 1]))
            if total > number:
                break
    return None
