"""The values in an answer's text that can be traced: identifiers, numbers, dates, addresses. Words are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from llmtrace.lineage import dates
from llmtrace.lineage.characters import ATTACHED
from llmtrace.lineage.forms import GROUPED, number_key, read_number
from llmtrace.lineage.values import SPECIFIC, Value, read_value, without_year

MOST_CLAIMS = 200
"""Values of one answer that are traced at most."""

_PIECE = re.compile(r"[^\s\"'`’“”<>()\[\]{}|;*\\]+")
_DIGIT_OR_AT = re.compile(r"[0-9@]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}://")
_OF_URL = re.compile(r"[^\s\"'`<>()]+")
_MARKS = frozenset("0123456789@/")
_EDGES = ".,:!?…"
_RUN = re.compile(f"[^{ATTACHED}]+")
_GOES_ON = re.compile(r"\s?[万萬億亿千百十년年월月일日时時시分분초秒点點号號만억천백]")
"""What makes the number before it a part of another, of a date or of a time."""
_GROUPED = re.compile(rf"(?<![\w.,+-]){GROUPED.pattern}(?!\w)")
"""Two numbers that stand side by side look like it, too: so the last piece alone is as good."""
_ENDING = re.compile(r"(.*[0-9])[-:]([^\W\d_]{1,4})")
"""``ORD-52521:n``, as some languages inflect what is no word."""


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
    left = _without(text, found)
    grouped = list(_GROUPED.finditer(left))
    for match in grouped:
        keys = tuple(number_key(read_number(written) or 0.0) for written in (match[0], match[0].split()[-1]))
        yield Claim(Value(match[0], "number", keys), *match.span())
    for start, word in _words(_without(left, [(*match.span(), "") for match in grouped])):
        bare = word.strip(_EDGES)
        read = _read(bare)
        if read is not None and read.kind in SPECIFIC:
            start += word.index(bare)
            yield Claim(read, start, start + len(bare))


def _read(bare: str) -> Value | None:
    read = read_value(bare)
    ending = _ENDING.fullmatch(bare) if read is not None and read.kind == "identifier" else None
    stem = read_value(ending[1]) if ending is not None and ending[2].islower() else None
    return read if read is None or stem is None else Value(bare, read.kind, (*read.keys, *stem.keys))


def _words(text: str) -> Iterator[tuple[int, str]]:
    at, plain = 0, text.isascii()
    for word in text.split():
        if not _MARKS.isdisjoint(word):
            at = text.index(word, at)
            if plain:
                yield from _pieces(word, at)
            else:
                for start, run in _runs(word, text[at : at + len(word) + 2]):
                    yield from _pieces(run, at + start)
            at += len(word)


def _pieces(word: str, at: int) -> Iterator[tuple[int, str]]:
    """What may be a value, and stands between quotes, brackets and the like; of a URL all."""
    end = 0
    for match in _PIECE.finditer(word):
        start, piece = match.start(), match[0]
        if start < end:
            continue
        if _DIGIT_OR_AT.search(piece):
            yield at + start, piece
        elif "://" in piece and (scheme := _SCHEME.search(piece)) is not None:
            url = _OF_URL.match(word, start + scheme.start())
            if url is not None and len(url[0]) > len(scheme[0]):
                end = url.end()
                yield at + url.start(), url[0]


def _runs(word: str, text: str) -> Iterator[tuple[int, str]]:
    """What stands in a word between characters of scripts without spaces; of a path with such nothing. ``text``: the word, and
    the next two characters."""
    for match in _RUN.finditer(word):
        run, start, end = match[0], match.start(), match.end()
        if not (start and run[0] == "/") and not (end < len(word) and run[-1] == "/"):
            yield start, run.rstrip("0123456789.,") if _GOES_ON.match(text, end) else run


def _without(text: str, places: list[tuple[int, int, str]]) -> str:
    """The text with blanks in these places."""
    pieces: list[str] = []
    at = 0
    for start, end, _ in sorted(places):
        if end > at:
            start = max(start, at)
            pieces += (text[at:start], " " * (end - start))
            at = end
    return "".join((*pieces, text[at:]))
