"""Which sources hold a text of plain words: looked for in the few that hold all of the words, not in all.

Law: a source's words are read at most once, when a text is first looked for; the cost is linear in the text of the sources.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from llmtrace.lineage.forms import unescape
from llmtrace.lineage.sources import Source

_LETTERS = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
"""Each byte of a text that is no letter and no digit turned into a space."""
_NOWHERE: Sequence[int] = ()
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
        words = _words(text)
        wanted = b" %b " % b" ".join(words)
        first = next((number for number in self._holding_all(words) if wanted in self._texts[number]), None)
        if first is None:
            return ()
        newest = self._holding_all(words, newest=True)
        return first, next((number for number in newest if wanted in self._texts[number]), first)

    def oldest(self, text: str) -> list[int]:
        """The numbers of the first sources that hold every word of the text, `MOST_TRIED` at most."""
        return list(self._holding_all(_words(text)))

    def newest(self, text: str) -> list[int]:
        """The same of the last ones, the newest first."""
        return list(self._holding_all(_words(text), newest=True))

    def _holding_all(self, words: Sequence[bytes], *, newest: bool = False) -> Iterator[int]:
        found = sorted((self._holding.get(word, _NOWHERE) for word in set(words)), key=len)
        if not found:
            return iter(())
        rare, *others = found
        holding = (number for number in (reversed(rare) if newest else rare) if all(_holds(other, number) for other in others))
        return islice(holding, MOST_TRIED)


def _holds(numbers: Sequence[int], number: int) -> bool:
    """Whether it is one of these, which are in order."""
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def _words(text: str) -> list[bytes]:
    folded = text.lower() if text.isascii() else text.casefold()
    return folded.encode("utf-8", "replace").translate(_LETTERS).split()


def readable(text: str) -> str:
    """The text with JSON escapes turned into what they stand for."""
    return unescape(text) if "\\" in text else text
