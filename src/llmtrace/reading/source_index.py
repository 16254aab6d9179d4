"""Finds the sources that contain a value, in a complete trace.

First, all values that models put into calls and answers are collected as keys. Then each source is read once, and only
occurrences of these keys are recorded. The cost is linear in the length of the sources, whatever the number of keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate, compress, count

from llmtrace.reading.sources import Source
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import normalize, tokens_of_normalized
from llmtrace.text.numbers import spellings, written_numbers

_LONGEST_RUN, _PREFIX = 128, 32
"""Longest value that is found as a whole, in characters, and the length of the beginning by which longer values and prose are
found. Values found by their beginning are then compared as a whole."""
_OPEN, _COMPLETE = 1, 2
_END = "\0"


class SourceIndex:
    """The sources of a trace, with the positions of all registered keys."""

    def __init__(self, keys: Iterable[str]) -> None:
        """``keys``: the keys of all values that will be looked up."""
        self.sources: list[Source] = []
        self._numbers_of: defaultdict[str, list[int]] = defaultdict(list)
        """The positions of the sources that contain a key, in order."""
        self._runs: defaultdict[str, int] = defaultdict(int)
        """Squashed values (`_COMPLETE`) and all their beginnings (`_OPEN`). A text may be both."""
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
        """Return the first and the last source that contain a value under any of its keys; None if no source does."""
        places = [numbers for key in keys if (numbers := self._numbers_of.get(key))]
        if not places:
            return None
        return self.sources[min(numbers[0] for numbers in places)], self.sources[max(numbers[-1] for numbers in places)]

    def _want(self, key: str) -> None:
        """Register a key, by the way in which a text is searched for it: as a number, a date, or letters and digits."""
        if key[0] == "=":
            # Digits grouped by spaces are read only if some number has more than three digits, after the "=".
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
            # All beginnings are entered, so that a run of tokens is extended only while it may become a value.
            for end in range(1, _PREFIX + 1 if is_long else len(key)):
                self._runs[key[:end]] |= _OPEN

    def _keys_in(self, text: str) -> set[str]:
        """Return the registered keys that occur in a text."""
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
        """Add the values that consist of several tokens, and the long ones."""
        kind_of, long = self._runs.get, self._long
        starts = list(compress(count(), map(open_words.__contains__, words)))
        words.append(_END)  # no key contains it, so it ends every run
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
