"""Which sources hold a text of plain words: looked for in the few that hold all of the words, not in all.

Law: a source's words are read once, and the cost is linear in the text of the sources.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from llmtrace.lineage.forms import unescape

_LETTERS = bytes(byte if byte > 127 or chr(byte).isalnum() else 32 for byte in range(256))
"""Each byte of a text that is no letter and no digit turned into a space."""
MOST_TRIED = 16
"""Sources that hold all words of a text and are read for it as it stands, from the oldest and from the newest on."""


class Words:
    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}
        """Of each word the first source."""
        self._holding: dict[bytes, list[int]] = {}
        """Of those that several have, all of them."""
        self._texts: list[str | bytes] = []
        """The sources' texts; once one was looked into, its words in small letters, with one space before and after each."""

    def take(self, text: str, words: set[str] | None) -> None:
        """The next source. ``words``: its `forms.distinct_words`."""
        number, first, holding = len(self._texts), self._first, self._holding
        self._texts.append(text)
        distinct = set(_words(readable(text) if words is None else " ".join(words)))
        new = distinct.difference(first)
        first.update(dict.fromkeys(new, number))
        for word in distinct - new:
            if word in holding:
                holding[word].append(number)
            else:
                holding[word] = [first[word], number]

    def first_and_last(self, text: str) -> tuple[int, ...]:
        """The numbers of the first and the last source in which these words stand one after the other."""
        words = _words(text)
        wanted = b" %b " % b" ".join(words)
        first = next((number for number in self._with_all(words) if wanted in self._text(number)), None)
        if first is None:
            return ()
        newest = self._with_all(words, newest=True)
        return first, next((number for number in newest if wanted in self._text(number)), first)

    def _text(self, number: int) -> bytes:
        text = self._texts[number]
        if isinstance(text, str):
            text = self._texts[number] = b" %b " % b" ".join(_words(readable(text)))
        return text

    def oldest(self, text: str) -> list[int]:
        """The numbers of the first sources that hold every word of the text, `MOST_TRIED` at most."""
        return list(self._with_all(_words(text)))

    def newest(self, text: str) -> list[int]:
        """The same of the last ones, the newest first."""
        return list(self._with_all(_words(text), newest=True))

    def _with_all(self, words: Sequence[bytes], *, newest: bool = False) -> Iterator[int]:
        found = sorted(map(self._numbers, set(words)), key=len)
        if not found:
            return iter(())
        rare, *others = found
        holding = (number for number in (reversed(rare) if newest else rare) if all(_holds(other, number) for other in others))
        return islice(holding, MOST_TRIED)

    def _numbers(self, word: bytes) -> Sequence[int]:
        numbers = self._holding.get(word)
        if numbers is None:
            return (self._first[word],) if word in self._first else ()
        return numbers


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
