"""Reads the values in a call's arguments or an answer, each with its kind and its search keys.

Booleans, null, empty text, whole numbers up to ten and words of one or two letters are choices, not values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from llmtrace.model import JsonValue
from llmtrace.text.dates import dates_in, lookup_keys, read_date
from llmtrace.text.matching import LONGEST_IDENTIFIER, SPACELESS, is_email, is_identifier, normalize_each, squash
from llmtrace.text.numbers import number_key, read_number
from llmtrace.text.patterns import lazy_pattern

Kind: TypeAlias = Literal["identifier", "email", "number", "date", "url", "path", "text"]
Path: TypeAlias = "tuple[str | int, ...]"

IDENTIFIERS: frozenset[Kind] = frozenset(("identifier", "email"))
"""Kinds of values that can be ungrounded. Values of other kinds may be computed, chosen or known by the model."""
MOST_ARGUMENTS = 1000
MOST_PIECES = 200
"""Most values that are read from one call, and from one text."""
LONGEST_TEXT = 20_000
"""Longest text, in characters, that is a value as a whole. Only this much of a longer text is searched for identifiers."""
_DEEPEST = 32
_SMALL = frozenset(f"={number}" for number in range(11))
_URL = lazy_pattern(r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+", re.IGNORECASE)
_PATH = lazy_pattern(r"\S*[/\\]\S*|\S*\w\.[A-Za-z][A-Za-z0-9]{0,4}")
_PIECE = lazy_pattern(rf"[^\s\"'`‘’“”<>()\[\]{{}}|;*\\{SPACELESS}]+")
_SPACED_NUMBER = lazy_pattern(r"(?<![\w.,])\d{1,3}(?:[ \u00a0\u202f\u2009]\d{3})+(?:[.,]\d+)?(?![\w.,]\d)")
_EDGES = ".,:!?…/"


class Value(NamedTuple):
    content: JsonValue
    kind: Kind
    keys: tuple[str, ...]
    """Search keys: a text that contains any of them contains the value. The first one identifies the value."""

    @property
    def written(self) -> str:
        return str(self.content).strip()


class Reading(NamedTuple):
    """A value and its place."""

    value: Value
    path: Path = ()
    start: int = 0
    end: int = 0
    whole: bool = True

    @property
    def can_be_ungrounded(self) -> bool:
        return self.whole and self.value.kind in IDENTIFIERS


def read_value(content: JsonValue) -> Value | None:
    """Read a whole argument as a value; None if it is a choice."""
    if isinstance(content, str):
        # Long texts bypass the cache, which would keep them in memory.
        return _read_text(content) if len(content) <= 128 else _read_text.__wrapped__(content)
    if isinstance(content, bool) or not isinstance(content, (int, float)):
        return None
    key = number_key(content)
    return None if key is None or key in _SMALL else Value(content, "number", (key,))


@lru_cache(maxsize=4096)
def _read_text(text: str) -> Value | None:
    bare = text.strip()
    key = squash(bare) if len(bare) <= LONGEST_TEXT else ""
    if not key or (len(key) < 3 and key.isascii() and not key.isdecimal()):
        return None
    numbers = read_number(bare)
    if numbers and not (bare[0] == "0" and len(key) > 1 and bare.isdecimal()):  # leading zeros make a code
        return None if numbers[0] in _SMALL else Value(text, "number", (*numbers, key) if bare.isdecimal() else numbers)
    dates = read_date(bare)
    if dates:
        return Value(text, "date", dates)
    if is_email(bare) or is_identifier(bare):
        return Value(text, "email" if "@" in bare else "identifier", (key,))
    return Value(text, "url" if _URL.fullmatch(bare) else "path" if _PATH.fullmatch(bare) else "text", (key,))


def scalars(arguments: JsonValue) -> list[tuple[Path, JsonValue]]:
    """Return every scalar in order with its path, at most `MOST_ARGUMENTS`; empty if the arguments are not an object."""
    found: list[tuple[Path, JsonValue]] = []
    if isinstance(arguments, dict):
        _add_scalars(arguments, (), found)
    return found


def _add_scalars(value: dict[str, JsonValue] | list[JsonValue], path: Path, found: list[tuple[Path, JsonValue]]) -> None:
    for name, member in value.items() if isinstance(value, dict) else enumerate(value):
        if len(found) >= MOST_ARGUMENTS:
            return
        kind = type(member)
        if kind is not dict and kind is not list:
            found.append(((*path, name), member))
        elif len(path) + 1 < _DEEPEST:
            _add_scalars(member, (*path, name), found)


def read_arguments(arguments: JsonValue) -> list[Reading]:
    """Read the values of a call: each scalar as a whole, and the identifiers inside longer texts."""
    readings: list[Reading] = []
    for path, content in scalars(arguments):
        value = read_value(content)
        if value is not None:
            readings.append(Reading(value, path, 0, len(content if isinstance(content, str) else str(content))))
        if isinstance(content, str) and (value is None or value.kind in ("text", "url", "path")):
            pieces = read_text(content[:LONGEST_TEXT])
            readings += [piece._replace(path=path, whole=False) for piece in pieces if piece.value.kind in IDENTIFIERS]
    return readings


def read_identifiers(arguments: JsonValue) -> list[Reading]:
    """Read only the whole arguments that can be ungrounded, which is fast."""
    readings: list[Reading] = []
    for path, content in scalars(arguments):
        # Words and whole numbers are never identifiers, which is faster to see here.
        if type(content) is not str or len(content) < 5 or content.isalpha() or content.isdecimal():
            continue
        value = read_value(content) if len(content.strip()) <= LONGEST_IDENTIFIER else None
        if value is not None and value.kind in IDENTIFIERS:
            readings.append(Reading(value, path, 0, len(content)))
    return readings


def read_text(text: str) -> list[Reading]:
    """Read the values in an answer's text, except words. Each value is returned once, in the order of the text."""
    # Sorted backwards, so that the dict keeps the first occurrence of each value.
    readings = {reading.value.keys[0]: reading for reading in sorted(_pieces(text), key=lambda piece: -piece.start)}
    return list(reversed(readings.values()))[:MOST_PIECES]


def _pieces(text: str) -> Iterator[Reading]:
    """Yield dates and numbers with spaces first, then the pieces between spaces, quotes and brackets."""
    plain = normalize_each(text)
    blank = [*plain]
    for start, end, written in dates_in(plain):
        blank[start:end] = " " * (end - start)
        yield Reading(Value(text[start:end], "date", lookup_keys(written)), (), start, end)
    for match in _SPACED_NUMBER.finditer(plain):
        keys = read_number(match[0]) if " " not in blank[match.start()] else ()
        if keys:  # a long row of numbers is not one number
            blank[match.start() : match.end()] = " " * len(match[0])
            yield Reading(Value(text[slice(*match.span())], "number", keys), (), *match.span())
    for match in _PIECE.finditer("".join(blank)):
        yield from _read_piece(match[0], match.start())


def _read_piece(piece: str, start: int) -> Iterator[Reading]:
    if not any(character in "0123456789@/" for character in piece):
        return
    bare = piece.strip(_EDGES)
    start += piece.find(bare)
    value = read_value(bare)
    if value is not None and value.kind != "text":
        yield Reading(value, (), start, start + len(bare))
    elif len(parts := re.split(r"[,/=&?:]", bare)) > 1:  # several values without a space
        for part in parts:
            yield from _read_piece(part, start)
            start += len(part) + 1


def parts_of(identifier: Value) -> list[str]:
    """Split an identifier at its punctuation. Returns the squashed parts, the longest first.

    An e-mail address is one part, since an address composed of a known name and a known host is made up.
    """
    if identifier.kind == "email":
        return [identifier.keys[0]]
    words = {squash(word) for word in re.split(r"[\W_]+", str(identifier.content))} - {""}
    return sorted(words, key=lambda word: (-len(word), word))
