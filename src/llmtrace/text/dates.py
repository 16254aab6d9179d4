"""Finds dates in texts and makes keys that are equal for equal dates in different notations.

A date is a day and a year near each other, with the month if it is written as a number. Month names are not read in any
language: ``17 May 2031`` and ``17 de mayo de 2031`` are day 17 of an unknown month. Keys: ``@2031-05-17`` for a full date,
``@2031?17`` for a date whose month is unknown, ``@2031~17`` for either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.text.matching import normalize
from llmtrace.text.patterns import lazy_pattern

_YEAR = r"(?:1[6-9]|2[01])\d\d"
_WORD = r"[^\W\d_]"
_NUMERIC = lazy_pattern(
    rf"(?<!\d)(?:(?P<y1>{_YEAR})\D{{1,3}}(?P<m1>\d\d?)\D{{1,3}}(?P<d1>\d\d?)"
    rf"|(?P<d2>\d\d?)\D{{1,3}}(?P<m2>\d\d?)\D{{1,3}}(?P<y2>{_YEAR})"
    rf"|(?P<y3>{_YEAR})(?P<m3>\d\d)(?P<d3>\d\d))(?!\d)"
)
_WORDED = lazy_pattern(
    rf"(?<![\d.,])(?:(?P<d4>\d\d?)(?=\D{{0,20}}{_WORD})\D{{3,20}}(?P<y4>{_YEAR})"
    rf"|(?<={_WORD} )(?P<d5>\d\d?)\D{{1,4}}(?P<y5>{_YEAR})"
    rf"|(?P<y6>{_YEAR})(?=\D{{0,20}}{_WORD})\D{{3,20}}(?P<d6>\d\d?))(?!\d)"
)
_REST = lazy_pattern(r"\D{0,2}(?:[T ]\d\d?:?\d\d[\d:.]*\s*(?:Z|[+-]\d\d:?\d\d|[ap]m)?)?", re.IGNORECASE)
"""The rest of a text after a date: nothing, or a time of day."""


def read_date(text: str) -> tuple[str, ...]:
    """Return the lookup keys of a text that is a date, with or without a time of day; empty for any other text."""
    plain = normalize(text.strip())
    match = _NUMERIC.match(plain) or _WORDED.match(plain) or _WORDED.search(plain)
    if match is None or not _REST.fullmatch(plain, match.end()):
        return ()
    is_first = not match.start() or (match["d5"] and plain[: match.start()].strip(" .").isalpha())  # May 17, 2031
    return lookup_keys(_keys(match)) if is_first else ()


def lookup_keys(written: list[str]) -> tuple[str, ...]:
    """Return the keys to look up in a source, from the keys of a date as it is written in `dates_in`.

    A full date also matches one with an unknown month. A date with an unknown month matches both kinds.
    """
    full = [key for key in written if "-" in key]
    return (*full, *(f"@{key[1:5]}?{key[-2:]}" for key in full)) if full else tuple(written[1:])


def dates_in(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield every date in a normalized text: its start, its end (exclusive), and its keys."""
    numeric = [*_NUMERIC.finditer(text)]
    # numeric dates are blanked out, at equal length, so that `_WORDED` does not read parts of them
    rest = _NUMERIC.sub(lambda match: "_" * len(match[0]), text) if numeric else text
    for match in (*numeric, *_WORDED.finditer(rest)):
        keys = _keys(match)
        if keys:
            yield *match.span(), keys


def _keys(match: re.Match[str]) -> list[str]:
    form = (match.lastgroup or "")[1:]
    year, first = match[f"y{form}"], int(match[f"d{form}"])
    if form in "456":
        return [f"@{year}?{first:02}", f"@{year}~{first:02}"] if 1 <= first <= 31 else []
    second = int(match[f"m{form}"])
    days = [(second, first), (first, second)] if form == "2" else [(second, first)]  # 03/04/2031 may be either order
    days = [(month, day) for month, day in days if 1 <= month <= 12 and 1 <= day <= 31]
    return [key for month, day in days for key in (f"@{year}-{month:02}-{day:02}", f"@{year}~{day:02}")]
