"""The words of the texts of a long trace of which it is known beforehand what will be looked for.

Law: which texts hold a wanted key or word is said as `vocabulary` says it; of other words and keys nothing is kept, and a word
that holds nothing wanted costs but one look-up in every text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set
from itertools import chain, filterfalse
from typing import NamedTuple

from llmtrace.lineage.characters import STRUCTURED, compatible, unescape
from llmtrace.lineage.dates import may_be_date, telling
from llmtrace.lineage.forms import (
    HOLDS_KEY,
    PARTED_BYTES,
    PARTED_BYTES_BUT_BACKSLASHES,
    alike,
    are_usual,
    keys_of_alike,
    keys_of_word,
    parted,
)
from llmtrace.lineage.sieve import Sieve
from llmtrace.lineage.vocabulary import ACROSS, enter, leave_out
from llmtrace.lineage.words import words_of

MOST_KNOWN = 1 << 18
"""Words that are remembered; beyond that all are read anew."""
_DIGITS = frozenset("0123456789")


class Wanted(NamedTuple):
    """What will be looked for."""

    keys: frozenset[str]
    words: frozenset[str]
    """Some with a digit."""


class WantedVocabulary:
    def __init__(self, wanted: Wanted) -> None:
        self._keys, self._words = wanted
        self._sieve = Sieve(wanted.keys)
        self._numbers_too = not all(map(_DIGITS.isdisjoint, wanted.words))
        self.keys: defaultdict[str, list[int]] = defaultdict(list)
        """The numbers of the texts that hold a key, in order; some several times."""
        self.plain: defaultdict[str, list[int]] = defaultdict(list)
        """The same of words, with and without digits."""
        self._lists: dict[bytes, list[list[int]]] = {}
        """Of words that hold something wanted, or a date, the lists in which a text that holds them is entered."""
        self._others: set[bytes] = set()
        """The other words that were read."""
        self._dates: defaultdict[bytes, list[str]] = defaultdict(list)
        """The keys of dates that were not given yet, by their word."""
        self._months: dict[bytes, list[str]] = {}
        """Of words that may name months, which."""
        self.months: frozenset[str] | None = None
        """Those that the newest text may name."""

    def take(self, number: int, text: str, echo: Set[str] = frozenset()) -> set[str]:
        """The next text. Gives the keys of dates that no text had before. ``echo``: keys that are not to be entered."""
        if len(self._others) > MOST_KNOWN:
            for known in (self._others, self._lists, self._dates, self._months):
                known.clear()
        words = _words_in(text) - self._others
        new = words.difference(self._lists)
        if new:
            self._read(new)
            self._others.update(new.difference(self._lists))
            words -= self._others
        self.months = frozenset(chain.from_iterable([self._months[word] for word in self._months.keys() & words]))
        enter(number, chain.from_iterable([self._lists[word] for word in words]))
        leave_out(number, echo, self.keys)
        return set().union(*[self._given(word, echo) for word in words & self._dates.keys()])

    def _given(self, word: bytes, echo: Set[str]) -> list[str]:
        return self._dates.pop(word) if echo.isdisjoint(self._dates[word]) else self._dates[word]

    def _read(self, words: set[bytes]) -> None:
        """Words that were not read yet."""
        written = b"\n".join(words).decode("utf-8", "surrogatepass").split("\n")
        for word, keys, months in telling(written):
            self._enter_in(word, [])
            self._learn(word, keys)
            if months:
                self._months[word.encode("utf-8", "surrogatepass")] = months
        usual = [word for word in written if word.isascii() and "\\" not in word]
        if len(usual) < len(written):
            for word in set(written).difference(usual):
                self._learn_pieces(word)
        marked = list(filterfalse(str.isalpha, usual))
        if len(marked) < len(usual):
            for word in self._words.intersection(usual).difference(marked):
                self._enter_in(word, [self.plain[word]])
        self._read_marked(marked)

    def _read_marked(self, words: list[str]) -> None:
        """Words in ASCII that are not of letters alone."""
        shapes = alike(words)
        if not self._words.isdisjoint(words_of(" ".join(words if self._numbers_too else shapes))):
            for word in words:
                self._learn_plain(word, words_of(word))
        unusual: list[str] = []
        for shape, some in shapes.items():
            if may_be_date(shape):
                for word in some:
                    self._learn(word, keys_of_word(word))
            elif are_usual(shape):
                self._learn_alike(shape, some)
            elif HOLDS_KEY.search(shape):
                unusual += some
        for word in self._sieve.left(unusual):
            self._learn(word, keys_of_word(word))

    def _learn_alike(self, shape: str, words: list[str]) -> None:
        of_each = list(keys_of_alike(shape, words))
        if not self._keys.isdisjoint(chain.from_iterable(of_each)):
            for word, keys in zip(words, of_each, strict=True):
                if not self._keys.isdisjoint(keys):
                    self._learn(word, keys)

    def _learn(self, word: str, keys: Iterable[str]) -> None:
        days = [key for key in keys if key[0] in "@~"]
        wanted = self._keys.intersection(keys).union(days)
        if wanted:
            self._enter_in(word, [self.keys[key] for key in wanted])
        if days:
            self._dates[word.encode("utf-8", "surrogatepass")] += days

    def _learn_plain(self, word: str, parts: Iterable[str]) -> None:
        wanted = self._words.intersection(parts)
        if wanted:
            self._enter_in(word, [self.plain[each] for each in wanted])

    def _enter_in(self, word: str, lists: list[list[int]]) -> None:
        self._lists.setdefault(word.encode("utf-8", "surrogatepass"), []).extend(lists)

    def _learn_pieces(self, word: str) -> None:
        """Of a word with separators beyond ASCII, or with escapes: as these are meant, and as they are written."""
        for piece in parted(unescape(word)):
            self._learn_plain(word, words_of(piece))
            self._learn_piece(word, piece)
        if "\\" in word:
            for piece in parted(word):
                self._learn_plain(word, filter(_DIGITS.isdisjoint, words_of(piece)))
                self._learn_piece(word, piece)

    def _learn_piece(self, word: str, piece: str) -> None:
        for part in filter(HOLDS_KEY.search, parted(compatible(piece))):
            self._learn(word, keys_of_word(part))


def _words_in(text: str) -> set[bytes]:
    """The words of a text, in small letters as far as they are ASCII. Of JSON what its escapes stand for; in any other text a
    word with a backslash is one."""
    if not text.isascii() and any(one in text for one in ACROSS):
        text = compatible(text)
    if "\\" not in text:
        return _parted(text)
    structured = compatible(text[:1]) in STRUCTURED
    if "\\U" in text:  # an escape that small letters would make another
        found = _parted(unescape(text))
        return found if structured else found | _parted(text)
    found = _parted(text, PARTED_BYTES_BUT_BACKSLASHES)
    if structured:
        escaped = [word for word in found if b"\\" in word]
        found.difference_update(escaped)
        found |= _parted(unescape(b" ".join(escaped).decode("utf-8", "surrogatepass")))
    return found


def _parted(text: str, table: bytes = PARTED_BYTES) -> set[bytes]:
    return set(text.encode("utf-8", "surrogatepass").translate(table).split())
