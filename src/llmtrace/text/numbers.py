"""Numbers in all usual spellings, compared as numbers: ``1,234.5``, ``1.234,5``, ``1 234,5``, ``1'234.5``, ``1,23,456``.

A key stands for a number without its sign: ``=1234.5``. What can be read in two ways has two keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from itertools import chain

from llmtrace.text.matching import normalize
from llmtrace.text.patterns import lazy_pattern

# that no letter stands before is asked after the first digit, since a pattern that begins with a digit is found faster
_SPAN = lazy_pattern(r"[0-9](?<![0-9A-Za-z][0-9])[0-9]*(?:[.,'][0-9]+)*")
_SPACED = lazy_pattern(r"[0-9](?<![0-9A-Za-z][0-9])[0-9]{0,2}(?: [0-9]{3})+(?:[.,][0-9]+)?(?![0-9])")
_WRITTEN = lazy_pattern(r"\d+(?:[.,' ]\d+)*")


def number_key(number: float) -> str | None:
    """The key of a number; None for infinity, what is not a number, and one of more digits than Python always writes."""
    exact = Decimal(number if isinstance(number, int) else repr(float(number)))
    return _key(exact.copy_abs()) if exact.is_finite() and exact.adjusted() < 640 else None


def _key(number: Decimal) -> str:
    written = format(number, "f")
    return "=" + (written.rstrip("0").rstrip(".") if "." in written else written)


def read_number(text: str) -> tuple[str, ...]:
    """The keys of a text that is nothing but a number, with a currency sign or per cent sign at most; else nothing."""
    bare = normalize(text).strip("+-−$€£¥₹% ")
    if len(bare) > 40 or not _WRITTEN.fullmatch(bare):
        return ()
    groups, marks = re.split(r"[.,' ]", bare), re.findall(r"[.,' ]", bare)
    readings: list[str] = []
    if not marks:
        readings = [bare]
    elif len(set(marks)) == 1 and _are_groups(groups):
        readings = ["".join(groups)]
    if marks and marks[-1] in ".," and marks[-1] not in marks[:-1] and (len(marks) == 1 or _are_groups(groups[:-1])):
        readings.append(f"{''.join(groups[:-1])}.{groups[-1]}")
    return tuple(_key(Decimal(reading)) for reading in readings)


def _are_groups(groups: list[str]) -> bool:
    """True if the digits are set apart in threes, or as in India: the last three, then twos."""
    middle = {len(group) for group in groups[1:-1]}
    return 1 <= len(groups[0]) <= 3 and len(groups[-1]) == 3 and (middle <= {3} or middle <= {2})


def spellings(key: str) -> Iterator[str]:
    """Every usual way to write a number, with up to three zeros after the decimals."""
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
    """Every number in a normalized text as it is written there. ``spaced``: also those with spaces between groups of digits."""
    numbers = set(_SPAN.findall(text))
    # a comma may part two numbers as well as two groups of digits
    numbers.update(chain.from_iterable([span.split(",") for span in numbers if "," in span]))
    if spaced:
        numbers.update(_SPACED.findall(text))
    return numbers


def places_of_number(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of characters at which a number stands in a text that was normalized character by character."""
    wanted = frozenset(spellings(key))
    for match in chain(_SPACED.finditer(text), _SPAN.finditer(text)):
        start = match.start()
        for piece in (match[0],) if match[0] in wanted else match[0].split(","):
            if piece in wanted:
                yield start, start + len(piece)
            start += len(piece) + 1
