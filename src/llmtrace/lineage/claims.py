"""The values in an answer's text that can be traced: identifiers, numbers, dates, addresses. Words are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from llmtrace.lineage import dates
from llmtrace.lineage.values import SPECIFIC, Value, read_value

MOST_CLAIMS = 200
"""Values of one answer that are traced at most."""

_WORD = re.compile(r"[^\s\"'`’“”<>()\[\]{}|;*\\]*[0-9@][^\s\"'`’“”<>()\[\]{}|;*\\]*|[a-z][a-z0-9+.-]*://[^\s\"'`<>()]+")
_EDGES = ".,:!?…"


def claims(text: str) -> Iterator[Value]:
    """Each value once, in the order of the text."""
    seen: set[str] = set()
    for value in _all(text):
        if value.key not in seen:
            seen.add(value.key)
            yield value
            if len(seen) >= MOST_CLAIMS:
                return


def _all(text: str) -> Iterator[Value]:
    found = [(start, end, key) for start, end, key in dates.mentions(text) if key[1] not in "m+"]
    for start, end, key in found:
        if len(key) == 11:
            yield Value(text[start:end].strip(), "date", (key,), (date.fromisoformat(key[1:]),))
        else:
            yield Value(text[start:end].strip(), "date", (key, f"@+{key[3:]}"))
    for match in _words(_without(text, found)):
        value = read_value(match.strip(_EDGES))
        if value is not None and value.kind in SPECIFIC:
            yield value


def _words(text: str) -> Iterator[str]:
    for word in text.split():
        if any(mark in word for mark in "0123456789@/"):
            yield from _WORD.findall(word)


def _without(text: str, places: list[tuple[int, int, str]]) -> str:
    pieces, done = [], 0
    for start, end, _ in sorted(places):
        pieces.append(text[done : max(start, done)])
        done = max(done, end)
    return " ".join((*pieces, text[done:]))
