"""Which values of an answer follow from others: of the same answer, or of the records of what it names.

Law: each rule looks at the numbers and dates of one answer, and at a bounded number of steps before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import combinations

from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import words_in
from llmtrace.lineage import Use
from llmtrace.lineage.computed import follows
from llmtrace.lineage.forms import numbers_in, read_number
from llmtrace.lineage.measures import Measure, measured, measures
from llmtrace.model import JsonValue

_FEW = 24
"""Numbers of an answer, all of which are taken for what others of it may follow from."""
_FEW_OF_THREE, _MONTHS = 12, 12.0
_PER_CENT = 100
_FEW_ASKED = 8
"""Numbers of the user's, all of which are taken for what an answer's numbers may follow from."""
_NEWEST, _SHORT = 3, 1_000
"""Results, and characters of each, that are looked at for few numbers."""
_COUNTED = 100
"""Whole numbers below it are counts, ages, hours: said without having stood anywhere."""
_CENT = 0.0051
_NEAR = 64
"""Steps before an answer that are looked at."""
_MOST_RECORDS = 100
_LONGEST_STAY = 366


def left_over(claims: Iterable[Use], node: Node, flow: Flow) -> list[Use]:
    """Those of the claims of an answer that nothing here explains."""
    claims = sorted(claims, key=lambda use: use.start)
    numbers = [abs(number) for use in claims if (number := number_of(use)) is not None]
    told = {round(each, 6) for number in numbers for each in (number, number / 100)}
    known = [number for use in node.uses if not use.made_up and (number := number_of(use)) is not None]
    every = [number for number in numbers_in(node.text) if round(abs(number), 6) not in told]
    if len(every) <= _FEW:  # of more, some add up to anything
        known += every  # small ones too: so many per cent
    known += _asked(node, flow)
    known += _told(node, flow)
    totals = list(_totals(node, flow)) if numbers else []
    told_measures = measures(node.text) if numbers else ()
    left: list[Use] = []
    for use in claims:
        number = number_of(use)
        if number is None:
            if not (use.kind == "date" and _is_later_by(use, node, flow)):
                left.append(use)
        elif _is_count(number) or _is_worked_out(use, number, node, known, told_measures) or _is_near(number, totals):
            known.append(number)
        else:
            left.append(use)
    return left


def _asked(node: Node, flow: Flow) -> list[float]:
    """The numbers of the user's turns before, where they are few."""
    said = [number for other in _before(node, flow) if other.kind == "user" for number in numbers_in(other.text)]
    return said if len(said) <= _FEW_ASKED else []


def _told(node: Node, flow: Flow) -> list[float]:
    """The numbers of the newest results, where they are few."""
    calls = [other for other in _before(node, flow) if other.kind == "call" and other.has_result][-_NEWEST:]
    texts = (other.result if isinstance(other.result, str) else str(other.result) for other in calls)
    found = [list(numbers_in(text)) for text in texts if len(text) <= _SHORT]
    return [number for numbers in found if len(numbers) <= _FEW_ASKED for number in numbers]


def number_of(use: Use) -> float | None:
    return read_number(str(use.value)) if use.kind == "number" else None


def _is_near(number: float, totals: Iterable[float]) -> bool:
    return any(abs(number - total) <= _CENT for total in totals)


def _is_count(number: float) -> bool:
    return number.is_integer() and abs(number) < _COUNTED


def _is_worked_out(use: Use, number: float, node: Node, known: Sequence[float], told: Sequence[Measure]) -> bool:
    """From the other numbers of the answer: two of them, three, or one with its unit."""
    sizes = set(known)
    other = measured(abs(number), [one for one in told if abs(one.size) in sizes])
    return other is not None or follows(number, known) or _is_share(use, number, node, known) or _is_of_three(number, known)


def _is_of_three(number: float, known: Sequence[float]) -> bool:
    """A sum to the cent of three with either sign, so many per cent of the sum of two, so much for each of a whole number,
    for a month or for a year of such, or a product of three, of which one may divide. What has no cents is met by chance,
    unless those do that it is a sum of."""
    number, known = abs(number), known[-_FEW_OF_THREE:]
    cents = round(number, 2)
    if not number.is_integer() and any(round(number * one, 6) in known for one in known if one > 1):
        return True
    if cents != number:
        return False
    if not _has_cents(cents):
        exact = list(filter(_has_cents, known))
        some = {round(abs(one + sign * other), 2) for one, other in combinations(exact, 2) for sign in (1, -1)}
        return any(round(abs(cents + sign * one), 2) in some for one in known for sign in (1, -1))
    counts = {count for count in known if count > 1 and count.is_integer()} | {_MONTHS}
    sums = {round(abs(one + sign * other), 2) for one, other in combinations(known, 2) for sign in (1, -1)}
    sums.update(known)
    return (
        any(round(abs(cents + sign * one), 2) in sums for one in known for sign in (1, -1))
        or any(round(one * share / 100, 2) == cents for one in sums for share in known if 0 < share < _PER_CENT)
        or any(cents in (round(one / count, 2), round(one * count, 2)) for one in known for count in counts)
        or any(
            cents in (round(one * other * by, 2), round(one * other * by / 100, 2), round(one * other / by, 2))
            for one, other in combinations(known, 2)
            for by in known
            if by
        )
    )


def _has_cents(number: float) -> bool:
    return not (10 * number).is_integer()


def _is_share(use: Use, number: float, node: Node, known: Sequence[float]) -> bool:
    """A percentage that one number of the answer is of another, or by which it is more or less."""
    if not node.text[use.end :].lstrip().startswith("%"):
        return False
    decimals = len(f"{number:.10g}".partition(".")[2])
    parts = [each for each in known[-_FEW:] if each]
    shares = (100 * one / other for one in parts for other in parts if one is not other)
    return any(abs(number) in (round(share, decimals), round(abs(share - 100), decimals)) for share in shares)


def _is_later_by(use: Use, node: Node, flow: Flow) -> bool:
    """A day that is so many days after one that was known: the end of a stay."""
    day = _day(use)
    if day is None:
        return False
    before = _before(node, flow)
    uses = [one for other in (*before, node) for one in other.uses]
    days = {abs((day - known).days) for one in uses if not one.made_up and (known := _day(one)) is not None}
    counted = {int(number) for number in numbers_in(node.text) if number.is_integer() and number < _LONGEST_STAY}
    for other in before:
        if other.kind == "call" and isinstance(other.arguments, dict):
            counted.update(value for value in other.arguments.values() if type(value) is int)
    return not (days - {0}).isdisjoint(counted)


def _before(node: Node, flow: Flow) -> list[Node]:
    return flow.nodes[max(0, node.place - _NEAR) : node.place]


def _day(use: Use) -> date | None:
    try:
        return date.fromisoformat(use.key.removeprefix("@")) if use.kind == "date" else None
    except ValueError:
        return None


def _totals(node: Node, flow: Flow) -> Iterator[float]:
    """Of each list of records before, the sums and averages of those that the answer names."""
    named = words_in(node.text)
    for other in _before(node, flow) if named else ():
        for records in _lists(other.structure):
            chosen = [one for one in records if any(str(member) in named for member in one.values())]
            if len(chosen) > 1:
                yield from _sums(chosen)


def _lists(structure: JsonValue) -> Iterator[list[dict[str, JsonValue]]]:
    held = structure.values() if isinstance(structure, dict) else [structure]
    for part in held:
        if isinstance(part, list) and len(part) <= _MOST_RECORDS:
            yield [one for one in part if isinstance(one, dict)]


def _sums(records: Sequence[dict[str, JsonValue]]) -> Iterator[float]:
    columns: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for name, member in record.items():
            if isinstance(member, (int, float)) and not isinstance(member, bool):
                columns[name].append(member)
    for column in columns.values():
        if len(column) == len(records):
            yield sum(column)
            yield sum(column) / len(column)
