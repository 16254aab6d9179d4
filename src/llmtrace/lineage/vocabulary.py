"""The distinct words of the texts of a run, each read once: which texts hold which key, and which hold which plain word.

Law: a text has the keys of `forms.keys_in`, and the words without a digit of `words.words_of`. A word that comes again costs a
look-up and one step for each of its keys and plain words.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from itertools import chain, filterfalse, repeat

from llmtrace.lineage.characters import STRUCTURED, compatible, unescape
from llmtrace.lineage.forms import HOLDS_KEY, LONGEST_KEPT, alike, keys_of_alike, keys_of_word, parted
from llmtrace.lineage.words import words_of

MOST_KNOWN = 1 << 18
"""Words that are remembered; beyond that all are read anew."""
FEW_COME_AGAIN = 5
"""Digits in a word from which on it is not remembered: identifiers, dates, times. Most come once."""
LEARNT_FROM = 1 << 17
"""Characters from which on words are remembered: in less they come too seldom to pay for it."""
ACROSS = "\u0338\uff3c\ufe68"
"""What `compatible` joins with a separator before it, or turns into a backslash."""
_DIGITS = frozenset("0123456789")


class Vocabulary:
    def __init__(self, learnt_from: int = LEARNT_FROM) -> None:
        self._learnt_from, self._length = learnt_from, 0
        """From how many characters on words are remembered, and how many there were."""
        self.keys: defaultdict[str, list[int]] = defaultdict(list)
        """The numbers of the texts that hold a key, in order; some several times."""
        self.plain: defaultdict[str, list[int]] = defaultdict(list)
        """The same of words without a digit."""
        self._known: dict[str, tuple[list[int], ...]] = {}
        """Of each word that was read the lists in which a text that holds it is entered."""
        self.months: frozenset[str] | None = None
        """As `WantedVocabulary` tells which the newest text may name: not known here."""

    def take(self, number: int, text: str, echo: Set[str] = frozenset()) -> set[str]:
        """The next text. Gives those of its keys that are not entered here: of words that are not remembered, and of dates.
        ``echo``: keys that are not to be entered."""
        if not text.isascii() and any(one in text for one in ACROSS):
            text = compatible(text)
        self._length += len(text)
        words = _words_with_escapes(text) if "\\" in text else set(parted(text))
        if self._length <= self._learnt_from:
            return self._read(number, words)
        known = list(map(self._known.get, words))
        enter(number, chain.from_iterable(filter(None, known)))
        others = self._read(number, [word for word, lists in zip(words, known, strict=True) if lists is None])
        leave_out(number, echo, self.keys)
        return others

    def _read(self, number: int, words: Collection[str]) -> set[str]:
        """Words that are not known."""
        found: set[str] = set()
        usual = list(filter(str.isascii, words))
        letters = list(filter(str.isalpha, usual))
        marked = alike(list(filterfalse(str.isalpha, usual)) if len(letters) < len(usual) else ())
        if self._length > self._learnt_from:
            if len(self._known) > MOST_KNOWN:
                self._known = {}
            self._known.update([(word, (self.plain[word],)) for word in letters])
            for shape in [shape for shape in marked if shape.count("0") < FEW_COME_AGAIN or len(shape) > LONGEST_KEPT]:
                found.update(*[self._learn(number, word) for word in marked.pop(shape)])
        if len(usual) < len(words):
            for word in filterfalse(str.isascii, words):
                found.update(self._learn(number, word))
        letters += filter(str.isalpha, words_of(" ".join(marked)))
        enter(number, map(self.plain.__getitem__, letters))
        return found.union(*[chain.from_iterable(keys_of_alike(*each)) for each in marked.items() if HOLDS_KEY.search(each[0])])

    def _learn(self, number: int, word: str) -> Sequence[str]:
        """Enter the text where a word belongs, and know the next time where that is. Of a date, and of what is not to be
        remembered, the keys are given instead."""
        parts = (word,) if word.isascii() else parted(compatible(word))
        keys = [key for part in parts if HOLDS_KEY.search(part) for key in keys_of_word(part)]
        lists = [self.plain[each] for each in words_of(word) if _DIGITS.isdisjoint(each)]
        given = self._length <= self._learnt_from or "@" in [key[0] for key in keys]
        if not given:
            lists += map(self.keys.__getitem__, keys)
            self._known[word] = tuple(lists)
        enter(number, lists)
        return keys if given else ()


def leave_out(number: int, echo: Set[str], keys: Mapping[str, list[int]]) -> None:
    """What a text merely repeats is not entered."""
    for key in echo:
        numbers = keys.get(key)
        while numbers and numbers[-1] == number:
            numbers.pop()


def enter(number: int, lists: Iterable[list[int]]) -> None:
    deque(map(list.append, lists, repeat(number)), maxlen=0)


def _words_with_escapes(text: str) -> set[str]:
    """Of a text with backslashes: of JSON what its escapes stand for, of any other text its words as they are written, too."""
    structured = compatible(text[:1]) in STRUCTURED
    if "\\U" in text:  # an escape that small letters would make another
        found = set(parted(unescape(text)))
        return found if structured else found.union(parted(text))
    found = set(parted(text, backslashes=True))
    escaped = [word for word in found if "\\" in word]
    found.difference_update(escaped)
    written = " ".join(escaped)
    found.update(parted(unescape(written)))
    if not structured:
        found.update(parted(written))
    return found
