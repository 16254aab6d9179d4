"""Reads numbers in all usual spellings: ``1,234.5``, ``1.234,5``, ``1 234,5``, ``1'234.5``, ``1,23,456``.

A key represents a number without its sign: ``=1234.5``. A text that can be read in two ways has two keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from itertools import chain

from llmtrace.text.matching import normalize
from llmtrace.text.patterns import lazy_pattern

# the lookbehind for a letter follows the first digit, because a search is faster if the pattern begins with a digit
_SPAN = lazy_pattern(r"[0-9](?<![0-9A-Za-z][0-9])[0-9]*(?:[.,'][0-9]+)*")
_SPACED = lazy_pattern(r"[0-9](?<![0-9A-Za-z][0-9])[0-9]{0,2}(?: [0-9]{3})+(?:[.,][0-9]+)?(?![0-9])")
_WRITTEN = lazy_pattern(r"\d+(?:[.,' ]\d+)*")


def number_key(number: float) -> str | None:
    """Return the key of a number. None for infinity, NaN, and numbers with more digits than Python always converts to text."""
    exact = Decimal(number if isinstance(number, int) else repr(float(number)))
    return _key(exact.copy_abs()) if exact.is_finite() and exact.adjusted() < 640 else None


def _key(number: Decimal) -> str:
    written = format(number, "f")
    return "=" + (written.rstrip("0").rstrip(".") if "." in written else written)


def read_number(text: str) -> tuple[str, ...]:
    """Return the keys of a text that is just a number, with or without sign, currency sign or per cent sign; else empty."""
    bare = normalize(text).strip("+-−$€£¥₹% ")
    if len(bare) > 40 or not _WRITTEN.fullmatch(bare):
        return ()
    groups, marks = re.split(r"[.,' ]", bare), re.findall(r"[.,' ]", bare)
    readings: list[str] = []
    if not marks:
        readings = [bare]
    elif len(set(marks)) == 1 and _are_groups(groups):
        readings = ["".join(groups)]
    # the last mark may be a decimal mark: 1.234 is 1234 or 1.234
    if marks and marks[-1] in ".," and marks[-1] not in marks[:-1] and (len(marks) == 1 or _are_groups(groups[:-1])):
        readings.append(f"{''.join(groups[:-1])}.{groups[-1]}")
    return tuple(_key(Decimal(reading)) for reading in readings)


def _are_groups(groups: list[str]) -> bool:
    """Return True if the digits are grouped in threes, or as in India: the last three digits, then groups of two."""
    middle = {len(group) for group in groups[1:-1]}
    return 1 <= len(groups[0]) <= 3 and len(groups[-1]) == 3 and (middle <= {3} or middle <= {2})


def spellings(key: str) -> Iterator[str]:
    """Yield every usual spelling of a number, with up to three zeros after the decimals."""
    whole, _, decimals = key[1:].partition(".")
    wholes = {whole}
    if len(whole) > 3:
        threes = [whole[max(0, end - 3) : end] for end in range(len(whole), 0, -3)][::-1]
        twos = [whole[max(0, end - 2) : end] for end in range(len(whole) - 3, 0, -2)][::-1]
        wholes.update([",".join([*twos, whole[-3:]]), *(mark.join(threes) for mark in ",.' ")])
    for written in wholes:
        if not decimals:
            yield written
        for mark in ".,":
            if mark not in written:
                yield from (written + mark + decimals + "0" * zeros for zeros in range(not decimals, 4))


def written_numbers(text: str, *, spaced: bool) -> Collection[str]:
    """Return every number in a normalized text, as it is written. ``spaced``: also numbers with spaces between digit groups."""
    numbers = set(_SPAN.findall(text))
    # a comma may separate two numbers, or two groups of digits of one number
    numbers.update(chain.from_iterable([span.split(",") for span in numbers if "," in span]))
    if spaced:
        numbers.update(_SPACED.findall(text))
    return numbers


def places_of_number(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each occurrence of a number in a text that was normalized by `normalize_each`."""
    wanted = frozenset(spellings(key))
    for match in chain(_SPACED.finditer(text), _SPAN.finditer(text)):
        start = match.start()
        for piece in (match[0],) if match[0] in wanted else match[0].split(","):
            if piece in wanted:
                yield start, start + len(piece)
            start += len(piece) + 1
