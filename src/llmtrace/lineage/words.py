"""Which sources hold a text of plain words: looked for in the few that hold all of the words, not in all.

Law: a source's words are read once, and the cost is linear in the text of the sources. Words with a digit, of which most texts
full of data consist and which hardly anybody looks for, are read when the first of them is looked for.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice

from llmtrace.content.scan import matcher
from llmtrace.lineage.characters import STRUCTURED, compatible, spaced, unescape

_LETTERS = bytes(byte if byte > 127 else ord(chr(byte).lower()) if chr(byte).isalnum() else 32 for byte in range(256))
"""Each byte of a text that is no letter and no digit turned into a space, and small letters, as far as they are ASCII."""
_PARTED = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
"""The same of a text in ASCII, in small letters."""
_HOLDS_TWO_SPACES = matcher("  ")
_DIGIT = re.compile("[0-9]")
_LONGEST_MATCHED = 1000
"""Characters of a text up to which a matcher for it is made, which reads ten times faster than ``in`` …"""
_FEWEST_MATCHED = 10_000
"""… where so many characters are to be read that making it pays."""
MOST_TRIED = 16
"""Sources that hold all words of a text and are read for it as it stands, from the oldest and from the newest on."""


class Words:
    def __init__(self, plain: Mapping[str, Sequence[int]], *, numbers_too: bool = False) -> None:
        """``plain``: of each word without a digit the numbers of the sources that hold it, in order. ``numbers_too``: of words
        with a digit, too."""
        self._plain, self._numbers_too = plain, numbers_too
        self._numbered: defaultdict[str, list[int]] = defaultdict(list)
        """The same of words with a digit."""
        self._read = 0
        """How many sources were read for such."""
        self._texts: list[str] = []
        self._parted: dict[int, str] = {}
        """Of the sources that were looked into their words in small letters, with one space before and after each."""

    def take(self, text: str) -> None:
        """The next source."""
        self._texts.append(text)

    def first_and_last(self, text: str) -> tuple[int, ...]:
        """The numbers of the first and the last source in which these words stand one after the other."""
        words = words_of(text)
        for word in words:  # mostly one stands nowhere
            if word not in self._plain and word.isalpha():
                return ()
        oldest = list(self._with_all(words))
        if not oldest:
            return ()
        holds = _finder(f" {' '.join(words)} ", sum([len(self._texts[number]) for number in oldest]))
        first = next((number for number in oldest if holds(self._text(number))), None)
        if first is None:
            return ()
        newest = self._with_all(words, newest=True)
        return first, next((number for number in newest if holds(self._text(number))), first)

    def _text(self, number: int) -> str:
        text = self._parted.get(number)
        if text is None:
            text = self._parted[number] = _parted(readable(self._texts[number]))
        return text

    def oldest(self, text: str) -> list[int]:
        """The numbers of the first sources that hold every word of the text, `MOST_TRIED` at most."""
        return list(self._with_all(words_of(text)))

    def newest(self, text: str) -> list[int]:
        """The same of the last ones, the newest first."""
        return list(self._with_all(words_of(text), newest=True))

    def _with_all(self, words: Sequence[str], *, newest: bool = False) -> Iterator[int]:
        found = [self._numbers(word) for word in set(words)]
        if not found or not all(found):
            return iter(())
        rare, *others = sorted(found, key=len)
        distinct = (number for number, _ in groupby(reversed(rare) if newest else rare))
        holding = (number for number in distinct if all(_holds(other, number) for other in others))
        return islice(holding, MOST_TRIED)

    def _numbers(self, word: str) -> Sequence[int]:
        plain = self._plain.get(word)
        if plain is not None or self._numbers_too or word.isalpha() or not _DIGIT.search(word):
            return plain or ()
        for number in range(self._read, len(self._texts)):
            for each in set(filter(_DIGIT.search, words_of(readable(self._texts[number])))):
                self._numbered[each].append(number)
        self._read = len(self._texts)
        return self._numbered.get(word, ())


def _holds(numbers: Sequence[int], number: int) -> bool:
    """Whether it is one of these, which are in order."""
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def _finder(wanted: str, characters: int) -> Callable[[str], bool]:
    """Whether a text holds this one, which has no characters but letters, digits, spaces and such beyond ASCII. ``characters``:
    how many are to be read."""
    made = len(wanted) <= _LONGEST_MATCHED and characters >= _FEWEST_MATCHED
    return matcher(wanted) if made else lambda text: wanted in text


def _parted(text: str) -> str:
    """The words of a text in small letters, with one space before and after each."""
    if text[:1] in STRUCTURED or not text.isascii():
        return f" {' '.join(words_of(text))} "
    text = f" {text.translate(_PARTED)} "
    while _HOLDS_TWO_SPACES(text):  # of prose this takes a fourth of the time
        text = text.replace("  ", " ")
    return text


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, as everything parts them that is no letter and no digit."""
    if text.isascii():
        return text.translate(_PARTED).split()
    text = spaced(compatible(text))
    parted = text.encode("utf-8", "surrogatepass").translate(_LETTERS).decode("utf-8", "surrogatepass").split()
    return [word if word.isascii() else word.casefold() for word in parted]


def readable(text: str) -> str:
    """The text with JSON escapes turned into what they stand for."""
    return unescape(text) if "\\" in text else text
