"""Which sources hold a word: so that a text of plain words is looked for in few sources, not in all.

Law: a source's words are read at most once, when a text is first looked for; the cost is linear in the text of the sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmtrace.lineage.forms import unescape
from llmtrace.lineage.sources import Source
from llmtrace.lineage.wording import words_of

_LETTERS = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
"""Each byte of a text that is no letter and no digit turned into a space."""
MOST_TRIED = 16
"""Sources that hold all words of a text and are read for it as it stands, from the oldest and from the newest on."""


class Words:
    def __init__(self) -> None:
        self._sources: dict[bytes, list[int]] = {}
        self._done = 0

    def catch_up(self, sources: dict[int, Source], last: int) -> None:
        """Read the sources up to this number."""
        holding = self._sources
        for number in range(self._done, last):
            text = readable(sources[number].text)
            folded = text.lower() if text.isascii() else text.casefold()
            for word in set(folded.encode("utf-8", "replace").translate(_LETTERS).split()):
                if word in holding:
                    holding[word].append(number)
                else:
                    holding[word] = [number]
        self._done = max(self._done, last)

    def holding(self, text: str) -> Sequence[int]:
        """The numbers of the sources that hold every word of the text, in order."""
        words = {word for one in words_of(text) for word in one.encode("utf-8", "replace").translate(_LETTERS).split()}
        found = sorted((self._sources.get(word, []) for word in words), key=len)
        if not found:
            return ()
        if len(found) == 1:
            return found[0]
        both = set(found[0]).intersection(*found[1:])
        return [number for number in found[0] if number in both]


def first_and_last(pattern: re.Pattern[str], numbers: Sequence[int], sources: dict[int, Source]) -> tuple[int, ...]:
    """The first and the last of these sources in which the pattern occurs."""

    def occurs(number: int) -> bool:
        return pattern.search(readable(sources[number].text)) is not None

    first = next(filter(occurs, numbers[:MOST_TRIED]), None)
    if first is None:
        return ()
    return first, next(filter(occurs, reversed(numbers[-MOST_TRIED:])), first)


def readable(text: str) -> str:
    return unescape(text) if "\\" in text else text
