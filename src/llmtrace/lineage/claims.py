"""The values in an answer's text that can be traced: identifiers, numbers, dates, addresses. Words are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from llmtrace.lineage import dates
from llmtrace.lineage.values import SPECIFIC, Value, read_value, without_year

MOST_CLAIMS = 200
"""Values of one answer that are traced at most."""

_WORD = re.compile(r"[^\s\"'`’“”<>()\[\]{}|;*\\]*[0-9@][^\s\"'`’“”<>()\[\]{}|;*\\]*|[a-z][a-z0-9+.-]*://[^\s\"'`<>()]+")
_MARKS = frozenset("0123456789@/")
_EDGES = ".,:!?…"


class Claim(NamedTuple):
    value: Value
    start: int
    end: int


def claims(text: str) -> Iterator[Claim]:
    """Each value once, with the place where it stands first; dates before the rest, else in the order of the text."""
    seen: set[str] = set()
    for claim in _all(text):
        if claim.value.key not in seen:
            seen.add(claim.value.key)
            yield claim
            if len(seen) >= MOST_CLAIMS:
                return


def _all(text: str) -> Iterator[Claim]:
    found = [(start, end, key) for start, end, key in dates.mentions(text) if key[1] not in "m+"]
    for start, end, key in found:
        written = text[start:end].strip()
        start = text.index(written, start)
        full = len(key) == 11
        value = Value(written, "date", (key,), (date.fromisoformat(key[1:]),)) if full else without_year(written, key)
        yield Claim(value, start, start + len(written))
    for start, word in _words(_without(text, found)):
        bare = word.strip(_EDGES)
        read = read_value(bare)
        if read is not None and read.kind in SPECIFIC:
            start += word.index(bare)
            yield Claim(read, start, start + len(bare))


def _words(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for word in text.split():
        if not _MARKS.isdisjoint(word):
            at = text.index(word, at)
            for match in _WORD.finditer(word):
                yield at + match.start(), match.group()
            at += len(word)


def _without(text: str, places: list[tuple[int, int, str]]) -> str:
    """The text with blanks in these places."""
    for start, end, _ in places:
        text = f"{text[:start]}{' ' * (end - start)}{text[end:]}"
    return text
