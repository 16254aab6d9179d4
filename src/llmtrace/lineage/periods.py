"""Periods that a text tells of (``14 days``, ``{"nights": 4}``, ``24 months``), and the days that lie so far apart.

Law: a period is a number with its unit, beside it or in the name of its member.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from llmtrace.content.scan import matcher

_MOST = 8
"""Periods of one text that are read."""
_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "night": 1, "week": 7}
_NAMES = {
    "day": "days? tage?n? jours? d[ií]as? giorn[oi] dagen",
    "night": "nights? nächten? nächte nuits? noches? nott[ei] noites?",
    "week": "weeks? wochen? semaines? semanas? settiman[ae] weken",
    "month": "months? monate?n? mois mes(?:es)? mes[ei] maanden",
    "year": "years? jahre?n? ans? années? años? ann[oi] anos? jaar",
}
_UNIT = "|".join(f"(?P<{unit}>{'|'.join(names.split())})" for unit, names in _NAMES.items())
_BESIDE = re.compile(rf"(?<![\w.,-])(?P<number>[0-9]{{1,4}})[\s-]?(?:{_UNIT})(?![^\W_])", re.IGNORECASE)
_ANY = "|".join(each for names in _NAMES.values() for each in names.split())
_may_tell = matcher(rf'(?i)[0-9][\s-]?(?:{_ANY})|(?:{_ANY})"\s*:\s*"?[0-9]{{1,4}}(?:[^\w.-]|$)')
_MEMBER = re.compile(rf'"(?:[^"\\]{{0,40}}_)?(?:{_UNIT})"\s*:\s*"?(?P<number>[0-9]{{1,4}})(?![\w.-])', re.IGNORECASE)


class Period(NamedTuple):
    months: int
    days: int


def periods(text: str) -> tuple[Period, ...]:
    """Those that a text tells of, each once."""
    return tuple(dict.fromkeys(_read(text)))[:_MOST] if _may_tell(text) else ()


def _read(text: str) -> Iterator[Period]:
    for pattern in (_BESIDE, _MEMBER):
        for match in pattern.finditer(text):
            number = int(match["number"])
            unit = next(unit for unit in _NAMES if match[unit])
            yield Period(number * _MONTHS.get(unit, 0), number * _DAYS.get(unit, 0))


def around(day: date, known: Sequence[Period]) -> Iterator[date]:
    """The days that lie one of these periods before or after a day."""
    for period in known:
        for sign in (1, -1):
            month = day.year * 12 + day.month - 1 + sign * period.months
            if not 12 <= month < 120_000:
                continue
            year, at = divmod(month, 12)
            moved = date(year, at + 1, min(day.day, monthrange(year, at + 1)[1]))
            try:
                yield moved + timedelta(days=sign * period.days)
            except OverflowError:
                continue
