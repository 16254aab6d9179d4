"""Dates by the name or the sign of a month in languages other than English: ``17. Mai 2031``, ``le 1er août``, ``5月17日``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from llmtrace.content.scan import matcher

_NAMES = """
    januar jänner janvier enero gennaio janeiro januari stycznia января ocak
    februar février febrero febbraio fevereiro februari lutego февраля şubat
    märz mars marzo março maart marts marca марта mart
    april avril abril aprile kwietnia апреля nisan
    mai mayo maggio maio mei maj maja мая mayıs
    juni juin junio giugno junho czerwca июня haziran
    juli juillet julio luglio julho lipca июля temmuz
    august août agosto augustus augusti sierpnia августа ağustos
    september septembre septiembre setiembre settembre setembro września сентября eylül
    oktober octobre octubre ottobre outubro października октября ekim
    november novembre noviembre novembro listopada ноября kasım
    dezember décembre diciembre dicembre dezembro december desember grudnia декабря aralık
"""
_MONTHS = {name: number for number, names in enumerate(_NAMES.strip().splitlines(), start=1) for name in names.split()}
_BETWEEN = r"[\s.-]{1,3}(?:d[ei]\s)?"
_BY_NAME = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:er|[º°ª])?{_BETWEEN}({'|'.join(_MONTHS)})\b(?:,?[\s-]{{1,2}}(?:del?\s)?(\d{{4}})(?!\d))?"
)
_PLAIN_NAMES = "|".join(
    sorted(
        {re.escape(name.encode("ascii", "replace").decode()) + (r"(?-u:\b)" if name[-1].isascii() else "") for name in _MONTHS}
    )
)
_MAY_HOLD_NAME, _HOLDS_NAME = (
    matcher(rf"[0-9]{between}(?:{_PLAIN_NAMES})")
    for between in (r"[a-z]{0,2}[\s\x1c-\x1f?.-][^0-9]{0,6}", r"(?:er|\?)?[\s\x1c-\x1f?.-]{1,3}(?:d[ei][\s\x1c-\x1f?])?")
)
"""The same of a text in which a question mark stands for what is not ASCII, and found many times faster; of the two the first
is looser, and quicker."""
MAY_BE_NAMED = rf"(?:^|[^a-z0-9])(?:{_PLAIN_NAMES})"
"""Of a word of such a text: it may hold the name."""
_IS_NAMED = re.compile(rf"(?:^|[^a-z0-9])(?:{'|'.join(_MONTHS)})\b")
_BY_SIGN = re.compile(r"(?<!\d)(?:(\d{4})\s?[年년]\s?)?(\d{1,2})\s?[月월]\s?(\d{1,2})(?:\s?[日号號일])?(?!\d)")


class Named(NamedTuple):
    start: int
    end: int
    year: str | None
    month: str
    day: str


def named(low: str, plain: str) -> Iterator[Named]:
    """``low``: in small letters; ``plain``: the same text in ASCII."""
    if _MAY_HOLD_NAME(plain) and _HOLDS_NAME(plain):
        for match in _BY_NAME.finditer(low):
            day, name, year = match.groups()
            yield Named(match.start(), match.end(), year, str(_MONTHS[name]), day)
    if plain is not low and holds_sign(low):
        for match in _BY_SIGN.finditer(low):
            yield Named(match.start(), match.end(), *match.groups())


def names_month(word: str) -> bool:
    """False where `named` finds no date in any text with this word in small letters."""
    return holds_sign(word) or _IS_NAMED.search(word) is not None


def holds_sign(text: str) -> bool:
    return "月" in text or "월" in text
