"""Dates in a text, in whatever form they are written, as keys; and which dates a reader could work out from them.

Keys: ``@2024-05-17`` a full date (and ``@+05-17`` for its day of the year), ``@--05-17`` one without year, ``@d17`` "the
17th", ``@m05`` a month by name alone, ``~day`` and ``~week`` words that count from another date ("tomorrow", "Friday";
"next week", "in a month").
Law: a date that can be read off, or worked out from a visible date and such words, is not made up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache

from llmtrace.content.scan import in_ascii, matcher
from llmtrace.lineage.characters import in_small_letters
from llmtrace.lineage.months import MAY_BE_NAMED, holds_sign, named, names_month

_NAMES_OF_MONTHS = (
    "jan(?:uary)?",
    "feb(?:ruary)?",
    "mar(?:ch)?",
    "apr(?:il)?",
    "may",
    "june?",
    "july?",
    "aug(?:ust)?",
    "sep(?:t|tember)?",
    "oct(?:ober)?",
    "nov(?:ember)?",
    "dec(?:ember)?",
)
_MONTHS = tuple(name[:3] for name in _NAMES_OF_MONTHS)
_MONTH_NAME = re.compile(rf"\b(?:{'|'.join(_NAMES_OF_MONTHS)})\b\.?")
_ISO = re.compile(r"\d{4}-\d\d-\d\d")
_NUMERIC = re.compile(r"(?<!\d)(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?!\d)")
_COMPACT = re.compile(r"(?<![\d.])((?:19|20)\d\d)(\d\d)(\d\d)(?!\d)")
_SHORT = re.compile(r"(?<![\d/.-])(\d{1,2})/(\d{1,2})(?![\d/])")
_ORDINAL = re.compile(r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)\b")
_AFTER = re.compile(r"\s*(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)?(?!\d)(?:(?:\s*,\s*|\s+)(\d{4})(?!\d))?")
_BEFORE = re.compile(r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)?(?:\s+of)?[\s-]+$")
_ENDS_SENTENCE = re.compile(r"[.\n]")
_YEAR_AFTER = re.compile(r"[\s,-]*(\d{4})(?!\d)")
_DAY_WORDS = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|(?:mon|tues|wednes|thurs|fri|satur|sun)day|weekend|days?|daily|overnight)\b"
)
_WEEK_WORDS = re.compile(r"\b(?:weeks?|weekly|fortnight|months?|monthly|quarters?|quarterly|every (?:other|second|third))\b")
_OF_ASCII = [pattern.pattern.replace(r"\b", r"(?-u:\b)") for pattern in (_MONTH_NAME, _DAY_WORDS, _WEEK_WORDS)]
_MAY_HOLD_MONTH, _MAY_HOLD_DAY, _MAY_HOLD_WEEK = map(matcher, _OF_ASCII)
"""The same for pydantic-core's engine, which reads 2 KB of small ASCII letters in 0.4 µs where ``re`` takes 45."""
_MAY_TELL = matcher("|".join([*_OF_ASCII, MAY_BE_NAMED]))
"""Any of these, or the name of a month in another language."""
OTHER = "?"
"""In the place of a month: some month in another language."""
may_be_numeric = matcher(r"[0-9][-/.][0-9]{1,2}[-/.][0-9]|[0-9]/[0-9]|(?:19|20)[0-9]{6}|[0-9](?i:st|nd|rd|th)|[\p{Nd}--[0-9]]")
"""False where `numeric_dates` finds nothing in any word of a text; of a text with a lone surrogate nothing is said."""
may_be_date = matcher(r"0[-/.]00?[-/.]0|0/0|0{8}|0(?:st|nd|rd|th)")
"""The same of a word in ASCII and small letters of which every digit was turned into a 0."""
_OF_MONTH = re.compile(
    r"\b(?:in|of|this|next|last|early|late|mid|during|for|until|by|since|from)[\s-]+(?:the\s+month\s+of\s+)?$"
)
_DIGIT = re.compile(r"[0-9]")
_TIME_OF_DAY = re.compile(r"[t\s,]*\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:[ap]\.?m\.?)?\s*(?:z|utc|gmt|est|[+-]\d\d:?\d\d)?$")
_IN_WORDS = re.compile(r"(?:[a-z]+day,?\s+)?[a-z.]*\s*\d{1,2}(?:st|nd|rd|th)?,?[\s-]+(?:of\s+)?[a-z.]*[\s,-]*\d{4}")
_WITHOUT_YEAR = re.compile(
    r"(?:[a-z]+day,?\s+)?(?:[a-z]{3,9}\.?\s+(?:the\s+)?\d{1,2}(?:st|nd|rd|th)?|\d{1,2}(?:st|nd|rd|th)?\s+(?:of\s+)?[a-z]{3,9}\.?)"
)
_SHORT_TEXT = 200
"""Up to this length one pass of ``re`` is quicker than a look for each month."""

NEAR, DAYS, WEEKS = 1, 7, 62
"""How many days from a visible date one leads without a word, with a word of `~day`, and with one of `~week`."""


def dates_in(text: str) -> set[str]:
    """The keys of dates by a month's name, and of words that count from another date."""
    low = in_small_letters(text)
    plain = in_ascii(low)
    return {key for _, _, key in _mentions(low, plain)}.union(_counting(low, plain))


def _counting(low: str, plain: str) -> Iterator[str]:
    """The keys of words that count from another date. ``plain``: the same text in ASCII."""
    # With other letters turned into no letters there is a word's edge wherever ``re`` sees one, and more: then it looks itself.
    if _MAY_HOLD_DAY(plain) and (plain is low or _DAY_WORDS.search(low)):
        yield "~day"
    if _MAY_HOLD_WEEK(plain) and (plain is low or _WEEK_WORDS.search(low)):
        yield "~week"


def telling(words: Sequence[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Of words in small letters those without which `dates_in` finds nothing in a text. Of each the keys that it has whatever
    stands around it, and the months that it may name. They are looked for in all at once, then in each half, and so on."""
    low = "\n".join(words)
    plain = in_ascii(low)
    if not _MAY_TELL(plain) and (plain is low or not holds_sign(low)):
        return
    if len(words) == 1:
        months = [month for month, holds in _months() if holds(plain)]
        yield low, list(_counting(low, plain)), [*months, *([OTHER] if names_month(low) else ())]
        return
    middle = len(words) // 2
    yield from telling(words[:middle])
    yield from telling(words[middle:])


def dates_by_name(text: str, months: Collection[str]) -> set[str]:
    """The keys of dates by a month's name, where it is known from the words of a text which it may name."""
    if not months:
        return set()
    low = in_small_letters(text)
    places = [place for month in months if month != OTHER for place in _places(low, month)]
    found = list(_in_english(low, _names_at(low, places)))
    if OTHER in months:
        found += _in_other_languages(low, in_ascii(low))
    return {key for _, _, key in found}


def read_date(text: str) -> tuple[date, ...]:
    """The dates that a text as a whole can stand for: ``2024-05-17``, ``May 17, 2024``, ``03/04/2024`` (two), with or
    without a time of day. Empty for everything else, a date without year among it."""
    bare = text.strip().casefold()
    if _ISO.fullmatch(bare):
        try:
            return (date.fromisoformat(bare),)
        except ValueError:
            return ()
    if len(bare) > 40 or not _DIGIT.search(bare):
        return ()
    rest = _TIME_OF_DAY.sub("", bare) if ":" in bare else bare
    if _NUMERIC.fullmatch(rest) or _COMPACT.fullmatch(rest):
        keys: set[str] = set(numeric_dates(rest))
    elif _IN_WORDS.fullmatch(rest):
        keys = {key for _, _, key in mentions(rest)}
    else:
        return ()
    return tuple(sorted(date.fromisoformat(key[1:]) for key in keys if len(key) == 11))


def read_day(text: str) -> str | None:
    """The key of the date without year that a text as a whole is: ``May 17``, ``Monday, 17th of May``."""
    bare = text.strip().casefold()
    if len(bare) > 40 or not _DIGIT.search(bare) or not _WITHOUT_YEAR.fullmatch(bare):
        return None
    return next((key for _, _, key in mentions(bare) if key.startswith("@--")), None)


def possible(key: str, years: Iterable[int]) -> Iterator[date]:
    """The days that a date without year can stand for."""
    for year in years:
        try:
            yield date.fromisoformat(f"{year:04d}-{key[3:]}")
        except ValueError:  # 29 February
            pass


def clues_of(day: date) -> Iterator[str]:
    """Keys from each of which, without another date, a reader can work the date out; the year goes without saying."""
    yield f"@--{day.month:02d}-{day.day:02d}"
    yield f"@d{day.day}"
    if day.day == 1 or day.day >= 28:
        yield f"@m{day.month:02d}"


def numeric_dates(word: str) -> Iterator[str]:
    """The keys of dates written in digits in one word, and of ``17th``. Where day and month could stand for each other, both
    readings are among them."""
    if len(word) > 40:
        return
    for first, _, second, third in _NUMERIC.findall(word):
        if len(first) == 4:
            yield from _full(first, second, third)
        elif len(third) in (2, 4) and len(first) <= 2:
            year = third if len(third) == 4 else f"20{third}"
            yield from _full(year, first, second)
            yield from _full(year, second, first)
    for year, month, day in _COMPACT.findall(word):
        yield from _full(year, month, day)
    for first, second in _SHORT.findall(word):
        yield from _yearless(first, second)
        yield from _yearless(second, first)
    for day in _ORDINAL.findall(word):
        yield f"@d{int(day)}"


def mentions(text: str) -> Iterator[tuple[int, int, str]]:
    """Dates written with a month's name or sign: start, end and key of each."""
    low = in_small_letters(text)
    return _mentions(low, in_ascii(low))


def _mentions(low: str, plain: str) -> Iterator[tuple[int, int, str]]:
    """``plain``: the same text in ASCII."""
    yield from _in_other_languages(low, plain)
    if _MAY_HOLD_MONTH(plain):
        yield from _in_english(low, _month_names(low, plain))


def _in_other_languages(low: str, plain: str) -> Iterator[tuple[int, int, str]]:
    for start, end, year, month, day in named(low, plain):
        for key in _full(year, month, day) if year else _yearless(month, day):
            yield start, end, key


def _in_english(low: str, names: Iterable[re.Match[str]]) -> Iterator[tuple[int, int, str]]:
    for name in names:
        month = str(_MONTHS.index(name.group()[:3]) + 1)
        before = _BEFORE.search(low, max(0, name.start() - 12), name.start())
        after = _day_after(low, name, before)
        if after is not None:
            day, year = after.groups()
            for key in _full(year, month, day) if year else _yearless(month, day):
                yield name.start(), after.end(), key
        if before is not None:
            year_after = _YEAR_AFTER.match(low, name.end())
            day = before.group(1)
            for key in _full(year_after.group(1), month, day) if year_after else _yearless(month, day):
                yield before.start(), (year_after or name).end(), key
        if after is None and before is None and _OF_MONTH.search(low, max(0, name.start() - 24), name.start()):
            yield name.start(), name.end(), f"@m{int(month):02d}"


def _day_after(low: str, name: re.Match[str], before: re.Match[str] | None) -> re.Match[str] | None:
    """The day that follows a month's name; where one stands before it, none of another sentence: ``9 October.\\n2. Rooms``."""
    after = _AFTER.match(low, name.end())
    if after is not None and before is not None and _ENDS_SENTENCE.search(low, name.end() - 1, after.start(1)):
        return None
    return after


def _month_names(low: str, plain: str) -> Iterator[re.Match[str]]:
    """What ``_MONTH_NAME`` finds, in order. A long text is first asked which months it names: most name none but "may"."""
    if len(low) <= _SHORT_TEXT:
        return _MONTH_NAME.finditer(low)
    return _names_at(low, (place for name, holds in _months() if holds(plain) for place in _places(plain, name)))


def _names_at(low: str, places: Iterable[int]) -> Iterator[re.Match[str]]:
    return (found for place in sorted(places) if (found := _MONTH_NAME.match(low, place)) is not None)


@lru_cache(maxsize=1)
def _months() -> tuple[tuple[str, Callable[[str], bool]], ...]:
    return tuple((name[:3], matcher(rf"(?-u:\b)(?:{name})(?-u:\b)")) for name in _NAMES_OF_MONTHS)


def _places(text: str, piece: str) -> Iterator[int]:
    at = text.find(piece)
    while at >= 0:
        yield at
        at = text.find(piece, at + 1)


def _full(year: str, month: str, day: str) -> Iterator[str]:
    try:
        written = date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return
    yield f"@{written}"
    yield f"@+{written[5:]}"


def _yearless(month: str, day: str) -> Iterator[str]:
    if 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
        yield f"@--{int(month):02d}-{int(day):02d}"
