"""Whether a number could have been computed from a few others: sum, difference, product, quotient, a share in per cent, an
average.

Law: it is the number itself that must come out, to the cent; with many numbers to choose from a chance hit gets likely, so
callers hand over few, and a whole number must come from such as go together: sums and differences of the same thing (prices
with prices), products of a thing and a count in one message, or with what a user said. For each number the one that it would
need is looked up, so the cost is linear in their count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, compress
from operator import sub
from typing import NamedTuple, TypeAlias

from llmtrace.lineage.provenance import Rule
from llmtrace.lineage.quantities import COUNT, MONEY, PER_CENT
from llmtrace.lineage.sources import Source

MOST_TERMS = 12
SMALL = 10
"""Whole numbers up to here serve as factors only: there are too many of them everywhere to add or subtract."""
MOST_COUNTED = 100
"""Whole numbers up to here may count things."""
_MOST_PLACES = 6
"""Decimals that a rounded number has at most."""
_MOST_RATES = 4
"""Numbers finer than cents by which others are multiplied and divided."""
_FEWEST_WHOLE = 100
"""From here on a whole number may be one that was rounded."""
FEW = 36
"""Numbers that count as the newest: a whole one may follow from two of these, or from two of one message or result."""


_MOST_IN_ROWS = 256
"""Numbers out of which those are added that stand one after the other."""
_LARGEST = 1e9
_LARGEST_TERM = 1e13
"""Up to here cents are exact in what is added, and in what is taken from each other."""


class Term(NamedTuple):
    """A number that stands somewhere."""

    size: float
    label: str
    """What it counts, as `quantities.labelled` says."""
    source: Source
    recent: bool = True
    """Among the newest."""


class Computed(NamedTuple):
    rule: Rule
    terms: tuple[Term, ...]
    """Those from which the number follows."""


def computed(number: float, terms: Iterable[Term]) -> Computed | None:
    """How the number follows from ``terms``: from one of them by a small factor, from two, or as the total or the average of
    some that stand one after the other, of which several may be alike. None if it does not."""
    exactly, number = abs(number), round(abs(number), 2)
    strict = number.is_integer()
    terms = list(terms)
    rows = [term for term in terms if _is_addend(term)][:_MOST_IN_ROWS]
    distinct: dict[tuple[float, str], Term] = {}
    for term in terms:
        distinct.setdefault(term[:2], term)
    terms = list(distinct.values())
    by_size: dict[float, list[Term]] = {}
    for term in terms:
        if term.size:
            by_size.setdefault(round(term.size, 2), []).append(term)
    for rule, one in _tries(number, [term for term in terms if _is_addend(term)], by_size):
        found = rule(number, one, by_size, strict)
        if found is not None:
            return found
    if strict:
        return _of_runs(number, rows, strict) or (_rounded(exactly, terms) if number >= _FEWEST_WHOLE else None)
    return _rounded(exactly, terms) or _of_runs(number, rows, strict) or _average(number, rows) or _by_rate(number, terms)


def may_follow(number: float, sizes: Sequence[float]) -> bool:
    """False where `computed` finds nothing in terms of these sizes, in this order, whatever they count. It is counted in cents,
    which takes a fifth of the time."""
    number = round(abs(number), 2)
    if not sizes:
        return False
    if not 0 < number < _LARGEST or max(sizes) > _LARGEST_TERM:
        return True
    rows, sizes = [size for size in sizes if size > SMALL or not size.is_integer()], list(dict.fromkeys(sizes))
    wanted, known = round(100 * number), [int(100 * size + 0.5) for size in sizes]
    exact = [cents / 100 for cents in known] == sizes
    if not exact:
        known = [round(100 * round(size, 2)) for size in sizes]
    in_cents = dict(zip(sizes, known, strict=True))
    addends = list(map(in_cents.__getitem__, dict.fromkeys(rows)))
    divisors = addends if exact else list(filter(None, addends))
    others = set(filter(None, known) if exact else known)
    fitting = others if exact else others.union([cents + 1 for cents in known], [cents - 1 for cents in known])
    multiples = {about for factor in range(2, SMALL + 1) for about in (wanted * factor, wanted // factor, wanted // factor + 1)}
    return not (
        fitting.isdisjoint([wanted - cents for cents in addends])
        and fitting.isdisjoint([cents - wanted for cents in addends])
        and fitting.isdisjoint([cents + wanted for cents in addends])
        and multiples.isdisjoint(addends)
        and others.isdisjoint(_factors(wanted, 100, divisors))
        and others.isdisjoint(shares := _factors(wanted, 10_000, divisors))
        and others.isdisjoint([abs(10_000 - share) for share in shares])
        and not _has_run(wanted, list(map(in_cents.__getitem__, rows)), exact)
        and not _may_be_rounded(wanted, known, exact)
        and (exact or wanted % 100 == 0 or not _may_pay(number, sizes))
    )


def _factors(wanted: int, one: int, divisors: Sequence[int]) -> list[int]:
    """By what each of the divisors has to be multiplied, where the product of both is what is wanted, to the cent. ``one``: how
    much the factor 1 is."""
    found: list[int] = []
    for divisor in divisors:
        factor, rest = divmod(2 * one * wanted + divisor, 2 * divisor)
        if abs(2 * factor * divisor - 2 * one * wanted) <= one + 1:
            found.append(factor)
        if not rest:  # just between two
            found.append(factor - 1)
    return found


def _has_run(wanted: int, addends: Sequence[int], exact: bool) -> bool:
    """False where none that stand one after the other have this total or, unless it is whole, this average, to the cent. Where
    they are not ``exact``, each is off by half a cent at most."""
    sums, near = list(accumulate(addends, initial=0)), 1 if exact else MOST_TERMS
    blocks = {cents // near for cents in sums}
    if not all(
        blocks.isdisjoint([(cents + wanted) // near + side for cents in sums]) for side in ((0,) if exact else (-1, 0, 1))
    ):
        return True
    if wanted % 100 == 0:
        return False
    above = sorted(accumulate([cents - wanted for cents in addends], initial=0))
    return min(map(sub, above[1:], above), default=wanted) <= MOST_TERMS


def follows(number: float, others: Sequence[float]) -> bool:
    """Whether the number follows from these, which stand in one text."""
    text = Source("", "", "")
    return computed(number, [Term(other, "", text) for other in others]) is not None


def _is_addend(term: Term) -> bool:
    return term.size > SMALL or not term.size.is_integer()


Known: TypeAlias = "Mapping[float, list[Term]]"
"""Terms by their size, to the cent."""
Try: TypeAlias = "Callable[[float, Term, Known, bool], Computed | None]"


def _tries(number: float, addends: Sequence[Term], known: Known) -> Iterator[tuple[Try, Term]]:
    """Which rule may lead to the number from which other: only where what it needs besides is known, which is quickly seen."""
    yield from ((_sum, one) for one in addends if round(number - one.size, 2) in known)
    sized = [(one, round(one.size, 2)) for one in addends]
    multiples = {round(size, 2) for factor in range(2, SMALL + 1) for size in (number * factor, number / factor)}
    yield from ((_multiple, one) for one, size in sized if size in multiples)
    differences = (round(one.size - number, 2) in known or round(one.size + number, 2) in known for one in addends)
    yield from ((_difference, one) for one in compress(addends, differences))
    yield from ((_product, one) for one, size in sized if (round(number / size, 2) if size else 0.0) in known)
    for one, size in sized:
        share = round(100 * number / size, 2) if size else 0.0
        if share in known or round(abs(100 - share), 2) in known:
            yield _share, one


def _multiple(number: float, one: Term, _: Known, strict: bool) -> Computed | None:
    """By a small factor that need not stand anywhere: two tickets."""
    larger, smaller = max(number, round(one.size, 2)), min(number, round(one.size, 2))
    factor = round(larger / smaller) if smaller else 0
    if not 2 <= factor <= SMALL or round(smaller * factor, 2) != larger:
        return None
    if strict and one.label not in (MONEY, ""):
        return None
    return Computed("product" if number == larger else "quotient", (one,))


def _sum(number: float, one: Term, known: Known, strict: bool) -> Computed | None:
    other = _fitting(number - one.size, one, known, strict)
    return None if other is None else Computed("sum", (one, other))


def _difference(number: float, one: Term, known: Known, strict: bool) -> Computed | None:
    other = _fitting(one.size - number, one, known, strict) or _fitting(one.size + number, one, known, strict)
    return None if other is None else Computed("difference", (one, other))


def _fitting(size: float, one: Term, known: Known, strict: bool) -> Term | None:
    """A number of this size that may be added to the other one, or taken from it."""
    others = known.get(round(size, 2), ())
    return next((o for o in others if o is not one and _is_addend(o) and (not strict or _alike(one, o))), None)


def _product(number: float, one: Term, known: Known, strict: bool) -> Computed | None:
    size = round(one.size, 2)
    factor = round(number / size, 2) if size else 0.0
    if round(size * factor, 2) != number:
        return None
    for other in known.get(factor, ()):
        if not strict or (_near(one, other) and (_counts(one) or _counts(other))):
            return Computed("product", (one, other))
    return None


def _share(number: float, one: Term, known: Known, strict: bool) -> Computed | None:
    """So many per cent of one; or one, less or more by so many."""
    size = round(one.size, 2)
    share = round(100 * number / size, 2) if size else 0.0
    if round(size * share / 100, 2) != number:
        return None
    for part in (share, round(abs(100 - share), 2)):
        for other in known.get(part, ()):
            if part <= 100 and (not strict or other.label == PER_CENT):
                return Computed("share", (one, other))
    return None


def _alike(one: Term, other: Term) -> bool:
    """The same is counted, or nobody can tell and both stand in one text or were said by a user."""
    if one.label and other.label:
        return one.label == other.label and (one.source is other.source or (one.recent and other.recent))
    return _near(one, other)


def _near(one: Term, other: Term) -> bool:
    return one.source is other.source or ((one.source.asked or other.source.asked) and one.recent and other.recent)


def _counts(term: Term) -> bool:
    return term.label in (COUNT, "") and term.size <= MOST_COUNTED and term.size.is_integer()


def _rounded(number: float, terms: Sequence[Term]) -> Computed | None:
    """One that is written with more decimals."""
    places = next((places for places in range(_MOST_PLACES) if round(number, places) == number), _MOST_PLACES)
    half = 0.5 * 10**-places
    for term in terms:
        if term.size != number and not term.size.is_integer() and abs(term.size - number) <= half + 1e-9:
            return Computed("rounded", (term,))
    return None


def _may_be_rounded(wanted: int, known: Sequence[int], exact: bool) -> bool:
    half = 50 if wanted % 100 == 0 else 5 if wanted % 10 == 0 else 0 if exact else 1
    return half > 0 and any(-half <= cents - wanted <= half for cents in known)


def _rates(sizes: Iterable[float]) -> list[float]:
    """Those that are finer than cents, the last ones: what a currency or a tax is counted by."""
    return [size for size in dict.fromkeys(sizes) if size and round(size, 2) != size][-_MOST_RATES:]


def _may_pay(number: float, sizes: Sequence[float]) -> bool:
    low, high = number - 0.0051, number + 0.0051
    return any(low <= size * rate <= high or low * rate <= size <= high * rate for rate in _rates(sizes) for size in sizes)


def _pays(number: float, rate: float, size: float) -> Rule | None:
    if size == rate:
        return None
    return "product" if round(size * rate, 2) == number else "quotient" if round(size / rate, 2) == number else None


def _by_rate(number: float, terms: Sequence[Term]) -> Computed | None:
    """So much of one at a rate of another, to the cent. A whole number would be met by chance too often."""
    rates = set(_rates([term.size for term in terms]))
    for rate in terms if rates else ():
        for other in terms if rate.size in rates else ():
            rule = _pays(number, rate.size, other.size)
            if rule is not None:
                return Computed(rule, (other, rate))
    return None


def _of_runs(number: float, terms: Sequence[Term], strict: bool) -> Computed | None:
    """The total of numbers that stand one after the other: a column of prices."""
    for start, first in enumerate(terms):
        total = first.size
        for end in range(start + 1, min(start + MOST_TERMS, len(terms))):
            if strict and (terms[end].source is not first.source or terms[end].label != first.label):
                break
            total += terms[end].size
            if total < number - 0.01:
                continue
            if round(total, 2) == number:
                return Computed("total", tuple(terms[start : end + 1]))
            if total > number:
                break
    return None


def _average(number: float, terms: Sequence[Term]) -> Computed | None:
    """Of numbers that stand one after the other, and count the same; a whole one would be met by chance too often."""
    for start, first in enumerate(terms):
        total = first.size
        for end in range(start + 1, min(start + MOST_TERMS, len(terms))):
            if terms[end].source is not first.source or terms[end].label != first.label:
                break
            total += terms[end].size
            if round(total / (end - start + 1), 2) == number:
                return Computed("average", tuple(terms[start : end + 1]))
    return None
