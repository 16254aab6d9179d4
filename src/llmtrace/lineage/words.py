"""Which sources hold a text of plain words: looked for in the few that hold all of the words, not in all.

Law: a source's words are read at most once, when a text is first looked for; the cost is linear in the text of the sources.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.lineage.forms import unescape
from llmtrace.lineage.sources import Source

_LETTERS = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
"""Each byte of a text that is no letter and no digit turned into a space."""
MOST_TRIED = 16
"""Sources that hold all words of a text and are read for it as it stands, from the oldest and from the newest on."""


class Words:
    def __init__(self) -> None:
        self._holding: dict[bytes, list[int]] = {}
        self._texts: list[bytes] = []
        """Of each source the words in small letters, with one space before and after each."""

    def catch_up(self, sources: dict[int, Source], last: int) -> None:
        """Read the sources up to this number."""
        holding = self._holding
        for number in range(len(self._texts), last):
            words = _words(readable(sources[number].text))
            self._texts.append(b" %b " % b" ".join(words))
            for word in set(words):
                if word in holding:
                    holding[word].append(number)
                else:
                    holding[word] = [number]

    def first_and_last(self, text: str) -> tuple[int, ...]:
        """The numbers of the first and the last source in which these words stand one after the other."""
        wanted = b" %b " % b" ".join(_words(text))
        numbers = self.holding(text)
        first = next((number for number in numbers[:MOST_TRIED] if wanted in self._texts[number]), None)
        if first is None:
            return ()
        return first, next((number for number in reversed(numbers[-MOST_TRIED:]) if wanted in self._texts[number]), first)

    def holding(self, text: str) -> Sequence[int]:
        """The numbers of the sources that hold every word of the text, in order."""
        found = sorted((self._holding.get(word, []) for word in set(_words(text))), key=len)
        if not found:
            return ()
        rare, *others = found
        if not others or not rare:
            return rare
        everywhere = set(rare).intersection(*others)
        return [number for number in rare if number in everywhere]


def _words(text: str) -> list[bytes]:
    folded = text.lower() if text.isascii() else text.casefold()
    return folded.encode("utf-8", "replace").translate(_LETTERS).split()


def readable(text: str) -> str:
    """The text with JSON escapes turned into what they stand for."""
    return unescape(text) if "\\" in text else text
