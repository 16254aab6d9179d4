"""Finds the sources that hold a value, in a trace that is complete.

What models put into calls and answers is gathered first. Each source is then read once, and only its wanted values are kept.
The cost is linear in the length of the sources, however many values are wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate, compress, count

from llmtrace.lineage.sources import Source
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import normalize, tokens_of_normalized
from llmtrace.text.numbers import spellings, written_numbers

_LONGEST_RUN, _PREFIX = 128, 32
"""Characters up to which a value is found as a whole. Longer ones, and prose, are found by their beginning, then compared."""
_OPEN, _COMPLETE = 1, 2
_END = "\0"


class SourceIndex:
    def __init__(self, keys: Iterable[str]) -> None:
        """``keys``: of all values that will be looked up."""
        self.sources: list[Source] = []
        self._numbers_of: defaultdict[str, list[int]] = defaultdict(list)
        """The positions of the sources that hold a key, in order."""
        self._runs: defaultdict[str, int] = defaultdict(int)
        """Squashed values and all their beginnings, with what they are (`_OPEN`, `_COMPLETE`, both)."""
        self._long: defaultdict[str, list[str]] = defaultdict(list)
        self._spellings: defaultdict[str, list[str]] = defaultdict(list)
        self._has_thousands = False
        self._dates: set[str] = set()
        self._years: set[str] = set()
        for key in dict.fromkeys(keys):
            self._want(key)

    def add(self, source: Source) -> None:
        self.sources.append(source)
        for key in self._keys_in(source.searchable):
            if key not in source.echo:
                self._numbers_of[key].append(len(self.sources) - 1)

    def find(self, keys: Iterable[str]) -> tuple[Source, Source] | None:
        """The first and the last source that hold a value, under any of its keys."""
        places = [numbers for key in keys if (numbers := self._numbers_of.get(key))]
        if not places:
            return None
        return self.sources[min(numbers[0] for numbers in places)], self.sources[max(numbers[-1] for numbers in places)]

    def _want(self, key: str) -> None:
        """Enter a key by the way in which it is found in a text."""
        if key[0] == "=":
            self._has_thousands = self._has_thousands or len(key.partition(".")[0]) > 4
            for spelling in spellings(key):
                self._spellings[spelling].append(key)
        elif key[0] == "@":
            self._dates.add(key)
            self._years.add(key[1:5])
        else:
            self._runs[key] |= _COMPLETE
            is_long = len(key) > (_PREFIX if key.isalpha() else _LONGEST_RUN)
            if is_long:
                self._long[key[:_PREFIX]].append(key)
            for end in range(1, _PREFIX + 1 if is_long else len(key)):
                self._runs[key[:end]] |= _OPEN

    def _keys_in(self, text: str) -> set[str]:
        """The wanted keys of all that stands in a text."""
        plain = normalize(text)
        words = tokens_of_normalized(plain)
        known_words = self._runs.keys() & words
        wanted_keys = {word for word in known_words if self._runs[word] & _COMPLETE}
        open_words = {word for word in known_words if self._runs[word] & _OPEN}
        if open_words:
            self._add_runs(words, open_words, wanted_keys)
        if self._spellings:
            for spelling in self._spellings.keys() & written_numbers(plain, spaced=self._has_thousands):
                wanted_keys.update(self._spellings[spelling])
        if any(year in plain for year in self._years):
            wanted_keys.update(key for _, _, keys in dates_in(plain) for key in keys if key in self._dates)
        return wanted_keys

    def _add_runs(self, words: list[str], open_words: set[str], keys: set[str]) -> None:
        """Add the values that several tokens make up, and long ones."""
        kind_of, long = self._runs.get, self._long
        starts = list(compress(count(), map(open_words.__contains__, words)))
        words.append(_END)
        joined, offsets = ("".join(words), list(accumulate(map(len, words), initial=0))) if long else ("", [])
        boundaries = set(offsets)
        for start in starts:
            run, end = words[start] + words[start + 1], start + 2
            while kind := kind_of(run):
                if kind & _COMPLETE:
                    keys.add(run)
                run += words[end]
                end += 1
            if long and len(run) >= _PREFIX and run[:_PREFIX] in long:
                at = offsets[start]
                keys.update([key for key in long[run[:_PREFIX]] if joined.startswith(key, at) and at + len(key) in boundaries])
