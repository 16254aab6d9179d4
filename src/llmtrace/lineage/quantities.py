"""What the numbers of a text count: the member, the currency or the per cent that they stand with; and the same in other units.

Law: a number is the same in another unit only where the text says the unit, beside the number or in the name of its member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from llmtrace.content.scan import in_ascii, matcher
from llmtrace.lineage.forms import BEFORE_DIGIT, EDGES, LONGEST_KEPT, SEPARATORS, WORD_WITH_DIGIT, numbers_of_word, runs

MONEY, PER_CENT, COUNT = "$", "%", "#"
_BEFORE = " \"\n[('"
"""Of the characters that separate words the usual ones."""
_TOKEN, _TOKEN_OR_ESCAPE = (
    re.compile(rf'["{{}}0-9](?:(?<=")({of_name}{{1,64}})"\s*:|(?<=([{{}}]))|(?<=[0-9])[^{SEPARATORS}]*)')
    for of_name in (r'[^"\\]', r'(?:[^"\\]|\\.)')
)
"""The name of a member, a brace, or a word from its first digit on; of a text without and with backslashes. The first character
comes first, since a set of characters is found ten times faster than an expression with alternatives."""
_END = rf"[{re.escape(EDGES)}]*(?=[{SEPARATORS}]|\Z)"
_WORD = re.compile(
    rf"[0-9](?:(?<=[{re.escape(_BEFORE)}][0-9])(?:([0-9]*(?:\.[0-9]+)?){_END}|[0-9A-Za-z]*(?:-[0-9A-Za-z]+)+{_END})"
    rf"|(?<=[A-Za-z][-_][0-9])[0-9]*(?=[{SEPARATORS}]|\Z)|([^{SEPARATORS}]*))"
)
"""A word from its first digit on: a plain number, of which the first group is the rest; a date or the like and an identifier,
which are no numbers; or, in the second group, anything else."""
_HOLDS_MEMBER = matcher(r'"[\s\x1c-\x1f?]*:')
_NAME_MAY_HOLD_ESCAPE = matcher(r'"[^"\\]*\\(?s:.)(?:[^"\\]|\\(?s:.))*"[\s\x1c-\x1f?]*:')
_NAME_MAY_HOLD_DIGIT = matcher(r'[0-9][^"]*"[\s?]*:')
"""Of a text as `in_ascii` gives it."""
_BEFORE_MEMBER = frozenset(":,[{ ")
_BEFORE_WORD = frozenset(_BEFORE)
_CURRENCY = re.compile(r"[$€£¥₹]|usd|eur|gbp|chf|jpy")
_MONEY_WORDS = """
    price prices amount amounts total subtotal cost costs balance fee fees paid refund refunds sum charge charges payment
    payments due fare fares salary budget
"""
_COUNT_WORDS = """
    quantity qty count number num pieces units nights passengers people guests items times serves servings portions persons
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
    plain = in_ascii(text)
    if not _HOLDS_MEMBER(plain):
        yield from ((number, _label(piece, "", "")) for number, piece in written(text))
        return
    around: list[str] = []
    name, before = "", None
    for match in (_TOKEN_OR_ESCAPE if "\\" in text and _NAME_MAY_HOLD_ESCAPE(plain) else _TOKEN).finditer(text):
        kind = match.lastindex
        if kind == 1:
            name = match[1]
        elif kind is None:
            start = match.start()
            for number, piece in _numbers_at(text, match, before):
                yield number, _label(piece, "" if _stands_in_prose(text, start) else name, around[-1] if around else "")
        elif match[2] == "{":
            around.append(name)
        else:
            name = around.pop() if around else ""
        before = match


def _stands_in_prose(text: str, start: int) -> bool:
    """Whether a word goes before: what it counts is not said by the name of the member."""
    return text[start - 1 : start] == " " and text[start - 2 : start - 1] not in _BEFORE_MEMBER


def written(text: str) -> Iterator[tuple[float, str]]:
    """The same numbers, each with what is written, in a third of the time; only of a text whose members have no digit in
    their names, as far as `names_may_hold_digits` says."""
    before: re.Match[str] | None = None
    for match in _WORD.finditer(text):
        kind = match.lastindex
        if kind == 1:
            piece = text[match.start() : match.end(1)]
            yield float(piece), piece
        elif kind == 2:
            yield from _numbers_at(text, match, before)
        before = match


def _numbers_at(text: str, match: re.Match[str], before: re.Match[str] | None) -> Sequence[tuple[float, str]]:
    """The numbers of a word that was found by its first digit. ``before``: what was found before it."""
    start, end = match.span()
    if text[start - 1 : start] not in _BEFORE_WORD:
        start = max(0 if before is None else before.end(), start - BEFORE_DIGIT)
    return _numbers_kept(text[start:end]) if end - start <= LONGEST_KEPT else _numbers_in(text[start:end])


def _numbers_in(piece: str) -> Sequence[tuple[float, str]]:
    """Of a word and what may stand right before it."""
    word = WORD_WITH_DIGIT.search(piece)
    return numbers_of_word(word.group()) if word is not None else ()


_numbers_kept = lru_cache(maxsize=16384)(_numbers_in)


def names_may_hold_digits(text: str) -> bool:
    plain = in_ascii(text)
    return _HOLDS_MEMBER(plain) and (_NAME_MAY_HOLD_DIGIT(plain) or ("\\" in text and _NAME_MAY_HOLD_ESCAPE(plain)))


def _label(piece: str, name: str, above: str) -> str:
    if not (piece[0].isdigit() and piece[-1].isdigit()):
        if _CURRENCY.search(piece):
            return MONEY
        if piece.endswith("%"):
            return PER_CENT
    return label_of_member(name, above)


@lru_cache(maxsize=1024)
def label_of_member(name: str, above: str) -> str:
    """What the number of a member counts. ``above``: the name of the object around it."""
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


class Quantity(NamedTuple):
    """A number that has to stand with a unit."""

    number: float
    factor: float
    units: str

    def place_in(self, text: str) -> tuple[int, int] | None:
        """Where it stands so for the first time: with its unit, if that follows."""
        after, name = _patterns(self.units, self.factor == 100)
        for written in dict.fromkeys((f"{self.number:.10g}", f"{self.number:,.10g}", f"{self.number:.2f}")):
            at, looked = text.find(written), 0
            while at >= 0 and looked < _MOST_LOOKED:
                end = at + len(written)
                if at == 0 or not (text[at - 1].isalnum() or text[at - 1] in ".,"):
                    unit = after.match(text, end)
                    if unit is not None:
                        return at, unit.end()
                    if not text[end : end + 1].isalnum() and self._is_named(text, at, name):
                        return at, end
                at, looked = text.find(written, end), looked + 1
        return None

    def _is_named(self, text: str, at: int, name: re.Pattern[str]) -> bool:
        money = self.factor == 100
        if money and ((at > 0 and text[at - 1] in _SIGNS) or not self.number.is_integer()):
            return True
        return name.search(text[max(0, at - _LONGEST_NAME) : at]) is not None


@lru_cache(maxsize=4096)
def conversions(number: float) -> tuple[Quantity, ...]:
    """The same quantity in other units."""
    others = [(number / factor, factor, units) for factor, units in _UNITS]
    return tuple(
        [
            Quantity(rounded, factor, units)
            for other, factor, units in others
            if (rounded := round(other, 6)) and abs(other - rounded) < 1e-9 * abs(other) + 1e-12
        ]
    )


@lru_cache(maxsize=32)
def _patterns(units: str, money: bool) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What follows a number with its unit, and what stands before one whose member is named after the unit."""
    names = "|".join(sorted(_OF_MONEY)) if money else units
    named = rf'"(?:[^"\\]*[_ ])?(?:{names})(?:_[^"\\]*)?"\s*:\s*"?$'
    return re.compile(rf"(?:\.0+)?[\s-]?(?:{units})(?!\w)", re.IGNORECASE), re.compile(named, re.IGNORECASE)


_SIGNS = "$€£¥"
_MOST_LOOKED, _LONGEST_NAME = 64, 64
