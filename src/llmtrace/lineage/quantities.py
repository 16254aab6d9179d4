"""What the numbers of a text count: the member, the currency or the per cent that they stand with; and the same in other units.

Law: a number is the same in another unit only where the text says the unit, beside the number or in the name of its member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.lineage.forms import numbers_of_word, runs

MONEY, PER_CENT, COUNT = "$", "%", "#"
_TOKEN = re.compile(r'"((?:[^"\\]|\\.){1,64})"\s*:|([{}])|[^\s"\'`’“”<>()\[\]{}|;*\\0-9]{0,8}[0-9][^\s"\'`’“”<>()\[\]{}|;*\\]*')
_CURRENCY = re.compile(r"[$€£¥₹]|usd|eur|gbp|chf|jpy")
_MONEY_WORDS = """
    price prices amount amounts total subtotal cost costs balance fee fees paid refund refunds sum charge charges payment
    payments due fare fares salary budget
"""
_COUNT_WORDS = """
    quantity qty count number num pieces units nights passengers people guests items times
"""
_OF_MONEY, _OF_COUNTS = frozenset(_MONEY_WORDS.split()), frozenset(_COUNT_WORDS.split())
_OF_SHARES = frozenset(("percent", "percentage", "pct", "rate", "discount", "tax", "vat"))

_UNITS: tuple[tuple[float, str], ...] = (
    (1000, r"km|kilomet(?:er|re)s?|kg|kilos?|kilograms?|litres?|liters?|l|s|secs?|seconds?|gb|tb|kwh|mw"),
    (0.001, r"m|met(?:er|re)s?|g|grams?|ml|millilit(?:er|re)s?|ms|milliseconds?|mb|gb|wh|kw"),
    (60, r"h|hrs?|hours?|min|mins|minutes?"),
    (1 / 60, r"min|mins|minutes?|s|secs?|seconds?"),
    (3600, r"h|hrs?|hours?"),
    (1 / 3600, r"s|secs?|seconds?"),
    (24, r"d|days?"),
    (1 / 24, r"h|hrs?|hours?"),
    (7, r"weeks?"),
    (12, r"years?|yrs?|dozens?"),
    (100, r"m|met(?:er|re)s?|usd|eur|gbp|chf|dollars?|euros?|pounds?|[€£$]"),
    (0.01, r"cm|centimet(?:er|re)s?|cents?|¢|%|percent"),
)
"""How many of the value's unit one of these is."""


def labelled(text: str) -> Iterator[tuple[float, str]]:
    """The numbers of a text in its order, without sign, each with what it counts: money, per cent or pieces, the name of its
    member with that of the object around it, or nothing."""
    around: list[str] = []
    name = ""
    for match in _TOKEN.finditer(text):
        member, brace = match.groups()
        if member is not None:
            name = member
        elif brace == "{":
            around.append(name)
        elif brace:
            name = around.pop() if around else ""
        else:
            for number, piece in numbers_of_word(match.group()):
                yield number, _label(piece, name, around[-1] if around else "")


def _label(piece: str, name: str, above: str) -> str:
    if _CURRENCY.search(piece):
        return MONEY
    if piece.endswith("%"):
        return PER_CENT
    if not name:
        return ""
    words = set(runs(name.replace("_", " ")))
    if words & _OF_SHARES:
        return PER_CENT
    if words & _OF_COUNTS:
        return COUNT
    if words & _OF_MONEY or not _OF_MONEY.isdisjoint(runs(above.replace("_", " "))):
        return MONEY
    return f"{above}/{name}"


def conversions(number: float) -> Iterator[tuple[float, re.Pattern[str]]]:
    """The same quantity in other units: the number there, and a pattern that finds it with its unit."""
    for factor, units in _UNITS:
        other = number / factor
        rounded = round(other, 6)
        if rounded and abs(other - rounded) < 1e-9 * abs(other) + 1e-12:
            yield rounded, _with_unit(rounded, units, factor == 100)


def _with_unit(number: float, units: str, money: bool) -> re.Pattern[str]:
    plain, grouped = f"{number:.10g}", f"{number:,.10g}"
    written = rf"(?<![\w.,])(?:{re.escape(plain)}|{re.escape(grouped)})" + (r"(?:\.0+)?" if "." not in plain else "0*")
    after = rf"{written}[\s-]?(?:{units})(?!\w)"
    names = "|".join(sorted(_OF_MONEY)) if money else units
    named = rf'"(?:[^"\\]*[_ ])?(?:{names})(?:_[^"\\]*)?"\s*:\s*"?{written}(?![\w.])'
    before = rf"|[$€£¥]\s?{written[len(_NO_WORD) :]}(?![\w.])" if money else ""
    cents = rf"|{written}(?![\w])" if money and not number.is_integer() else ""
    return re.compile(f"{after}|{named}{before}{cents}", re.IGNORECASE)


_NO_WORD = r"(?<![\w.,])"
