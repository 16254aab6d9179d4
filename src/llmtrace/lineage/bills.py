"""Whether a number is what a record comes to: the total of a column, so many of each at its price, what else the record holds
added or taken off, one number for each of another; or what follows from it by the rule of three.

Law: what goes together is told by the form: the members of one list, the numbers of one record, and how many of something a
user asked for. The cost is bounded by the few records and numbers that are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, islice

from pydantic_core import from_json

from llmtrace.content.scan import matcher
from llmtrace.lineage.forms import read_number
from llmtrace.lineage.quantities import COUNT, MONEY, label_of_member
from llmtrace.lineage.values import names_identifier
from llmtrace.model import JsonValue

_MOST_RECORDS, _MOST_COLUMNS, _MOST_LISTS = 100, 8, 8
_MOST_TOTALS = 2048
_MOST_EXTRAS = 4
"""Numbers beside a list that may be added to its total, or taken off."""
_FEW = 12
"""Numbers of a record from which others follow by the rule of three."""
_LARGEST = 1e13
_HUNDRED = 100.0
"""What much is told of, though no number says so: calories, per cent."""
_VERY_FEW = 4
"""The same where nothing says what they count."""
_DEEPEST = 6
_FEWEST_WHOLE = 100
"""From here on a whole number may be one that was rounded, unless it is money."""
_COUNTED = 100
_RULE = frozenset("-:| ")
"""What the line below the head of a table in Markdown is made of."""
_may_come_to = matcher(r':\s*(?:10|[0-9])(?:\.0+)?\s*[,}\]]|:\s*[0-9.]{1,16}\s*,\s*"[^"]{1,40}"\s*:\s*[0-9]')
"""False where no member is a small whole number, and no two numbers stand side by side: what follows from the others is known
already by `computed`."""


def totals(text: str) -> frozenset[float]:
    """What the records of a text in JSON, or the rows of a table, come to, to the cent."""
    content: JsonValue = None
    if text[:1] not in ("{", "["):
        content = _table(text)
    elif _may_come_to(text):
        try:
            content = from_json(text)
        except (TypeError, ValueError):
            content = None
    return frozenset(round(total, 2) for total in islice(_totals(content, (), 0), _MOST_TOTALS))


def _table(text: str) -> list[JsonValue]:
    """The rows of CSV, of values between tabs, or of a table in Markdown, by the names in its first line; empty for another
    text."""
    lines = text.strip().split("\n", _MOST_RECORDS + 2)
    mark = next((mark for mark in "|\t;," if mark in lines[0]), None) if len(lines) > 2 else None
    if mark is None or any(line.count(mark) != lines[0].count(mark) for line in lines[1:3]):
        return []
    rows = [[cell.strip() for cell in line.split(mark)] for line in lines[:_MOST_RECORDS]]
    rows = [row for row in rows if len(row) == len(rows[0]) and not set("".join(row)) <= _RULE]
    return [{name: _read(cell) for name, cell in zip(rows[0], row, strict=True) if name} for row in rows[1:]]


def _read(cell: str) -> JsonValue:
    number = read_number(cell)
    return cell if number is None else number


def _totals(content: JsonValue, beside: Sequence[float], depth: int) -> Iterator[float]:
    """``beside``: the numbers of the record around a list."""
    if depth > _DEEPEST:
        return
    if isinstance(content, dict):
        yield from _averages(content)
        own = [number for name, member in content.items() if (number := _number(name, member))][:_MOST_EXTRAS]
        own += [one * other for one, other in combinations(own, 2) if _is_count(one) or _is_count(other)]
        own = own[:_MOST_EXTRAS]
        lists = [member for member in content.values() if isinstance(member, (dict, list))][:_MOST_LISTS]
        for member in lists:
            yield from _totals(member, own, depth + 1)
    elif isinstance(content, list):
        records = [one for one in content[:_MOST_RECORDS] if isinstance(one, dict)]
        bases = list(_columns(records)) if 0 < len(records) == len(content) else []
        extras = sorted(set(_added_up(beside)))
        for base in bases:
            yield from (base + extra for extra in extras)
            yield from (base * (1 + sign * share / 100) for share in beside if share < 100 for sign in (1, -1))
        for record in records:
            yield from _totals(record, (), depth + 1)


def _averages(record: dict[str, JsonValue]) -> Iterator[float]:
    """How much of one number of a record there is for each of another, which is whole, to the cent."""
    numbers = [number for name, member in record.items() if (number := _number(name, member))][:_MOST_COLUMNS]
    for count in numbers:
        if count.is_integer() and count > 1:
            yield from (number / count for number in numbers if number > count and not (number / count).is_integer())


def _added_up(numbers: Sequence[float]) -> Iterable[float]:
    """What some of them come to, each added or taken off."""
    sums = [0.0]
    for number in numbers:
        sums = list(chain.from_iterable((one, one + number, one - number) for one in sums))
    return sums


def _columns(records: Sequence[dict[str, JsonValue]]) -> Iterator[float]:
    """The total of each column, of so many of each at its price, and the average by weights that come to 1 or to 100."""
    columns = {}
    for name in list(records[0])[: 2 * _MOST_COLUMNS]:
        numbers = [_number(name, record.get(name)) for record in records]
        if None not in numbers:
            columns[name] = [number for number in numbers if number is not None]
    for column in list(columns.values())[:_MOST_COLUMNS]:
        yield sum(column)
    prices = [column for name, column in columns.items() if label_of_member(name, "") == MONEY]
    counts = [column for column in columns.values() if column not in prices and all(map(float.is_integer, column))]
    for count in counts[:_MOST_COLUMNS]:
        for price in prices[:_MOST_COLUMNS]:
            each = [one * other for one, other in zip(count, price, strict=True)]
            yield from (sum(each), *each)
    for weights in (column for column in columns.values() if round(sum(column), 6) in (1, _HUNDRED)):
        for column in columns.values():
            yield sum(one * other for one, other in zip(weights, column, strict=True)) / sum(weights)


def _is_count(number: float) -> bool:
    return number.is_integer() and 1 < number <= _COUNTED


def _number(name: str, member: JsonValue) -> float | None:
    if not isinstance(member, (int, float)) or isinstance(member, bool) or names_identifier(name):
        return None
    return float(member) if -_LARGEST < member < _LARGEST else None


def _half(number: float) -> float:
    """Half of the last digit, where it may have been rounded."""
    places = len(f"{number:.10g}".partition(".")[2])
    return 0.5 * 10**-places if places or number >= _FEWEST_WHOLE else 0.005


def by_rule_of_three(
    number: float, asked: Iterable[float], known: Sequence[tuple[float, str]]
) -> tuple[float, float, float] | None:
    """The number asked for, the price, and for how many it is, from which the number follows. ``known``: the numbers of one
    record with what they count, as `quantities.labelled` gives them."""
    if len(known) > _FEW:
        return None
    told = any(label for _, label in known)
    if not told and len(known) > _VERY_FEW:
        return None
    counts = [size for size, label in known if 1 < size <= _COUNTED and (label == COUNT or not told)]
    counts += [_HUNDRED] if told else []
    for of in counts:
        for each, label in known:
            for many in asked if each != of else ():
                other = each * many / of
                half = 0.005 if label == MONEY else _half(number)
                if many != of and abs(other - number) <= half + 1e-9:
                    return many, each, of
    return None
