"""Keeps the sources of a run, and finds those that contain a value.

Values that are known beforehand are registered as keys. Then each source is read once, and only occurrences of these keys are
recorded. The cost is linear in the length of the sources, whatever the number of keys. A few other values are searched for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import accumulate, compress, count
from operator import attrgetter
from typing import Any

from llmtrace.reading.provenance import Origin
from llmtrace.reading.read_values import Value, parts_of
from llmtrace.reading.sources import Source
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import contains, normalize, stands_alone, tokens_of_normalized
from llmtrace.text.numbers import spellings, written_numbers

MOST_SOURCES = 4096
MOST_CHARACTERS = 1 << 22
"""Most sources that a bounded index keeps, and most characters of all of them together."""
_PREFIX = 32
"""Length of the beginning, in characters, by which a longer value is found. Then it is compared as a whole."""
_END = "\0"
_place_of: Any = attrgetter("span_id", "place", "call_id", "part")


class SourceIndex:
    """The sources of a run, numbered from 0, and the numbers of those that contain each registered key."""

    forgotten: str | None = None
    """The span of the newest source that was dropped."""

    def __init__(self, keys: Iterable[str] = (), *, bounded: bool = False) -> None:
        """``keys``: the keys to register. ``bounded``: keep only the newest sources."""
        self._finder = KeyFinder(keys)
        self._is_bounded = bounded
        self.sources: dict[int, Source] = {}
        """The sources by number, the oldest first."""
        self.count = 0
        """Number of sources so far, those that were dropped included."""
        self._characters = 0
        self._by_place: dict[Any, Source] = {}
        self._located = 0
        """Number of sources so far when `_by_place` was made."""
        self._numbers_of: defaultdict[str, list[int]] = defaultdict(list)
        """The numbers of the sources that contain a key, in order."""
        self._definitions_of: defaultdict[str, list[int]] = defaultdict(list)
        """The same for definitions of tools."""

    def add(self, source: Source) -> None:
        self.sources[self.count] = source
        self._read(self.count, source)
        self.count += 1
        self._characters += len(source.text)
        while self._is_bounded and (len(self.sources) > MOST_SOURCES or self._characters > MOST_CHARACTERS):
            oldest = self.sources.pop(self.count - len(self.sources))
            self._characters -= len(oldest.text)
            self.forgotten = oldest.span_id

    def with_keys(self, keys: Collection[str]) -> SourceIndex:
        """Return an index of the same sources in which these keys are registered: this one if they are, else a new one."""
        if self._finder.keys.issuperset(keys):
            return self
        index = SourceIndex(keys)
        index.sources = self.sources
        for number, source in self.sources.items():
            index._read(number, source)
        return index

    def source_at(self, origin: Origin) -> Source | None:
        """Return the first source at a place, except definitions; None if it is not known."""
        if self._located != self.count:
            newest_first = reversed(self.sources.values())
            self._by_place = {_place_of(source): source for source in newest_first if not source.is_definition}
            self._located = self.count
        return self._by_place.get(_place_of(origin))

    def find(self, keys: Iterable[str], before: int, own_calls: Collection[str | None] = ()) -> tuple[Source, Source] | None:
        """Return the first and the last source that contain a value under any of its registered keys; None if no source does.

        Definitions are the last resort: a value that a message or result also contains comes from there. ``before``: the number
        of the first source that does not count. ``own_calls``: calls whose results do not count.
        """
        for numbers_of in (self._numbers_of, self._definitions_of):
            numbers = [number for key in keys if key in numbers_of for number in self._ends(numbers_of[key], before, own_calls)]
            if numbers:
                return self.sources[min(numbers)], self.sources[max(numbers)]
        return None

    def has(self, key: str, written: str, before: int, own_calls: Collection[str | None] = ()) -> bool:
        """Return True if a source contains an identifier, registered or not. ``written``: the identifier as written."""
        if key in self._finder.keys:
            return self.find((key,), before, own_calls) is not None
        return any(
            stands_alone(written, source.searchable) or contains(source.words, key)
            for number, source in reversed(self.sources.items())
            if key in source.squashed and key not in source.echo and source.call_id not in own_calls and number < before
        )

    def missing_part(self, identifier: Value, before: int | None = None, own_calls: Collection[str | None] = ()) -> str:
        """Return a part of an identifier that is not visible; empty if the whole identifier or all its parts are visible."""
        before = self.count if before is None else before
        if self.has(identifier.keys[0], identifier.written, before, own_calls):
            return ""
        return next((part for part in parts_of(identifier) if not self.has(part, part, before, own_calls)), "")

    def _read(self, number: int, source: Source) -> None:
        numbers_of = self._definitions_of if source.is_definition else self._numbers_of
        for key in self._finder.keys_in(source.searchable) if self._finder.keys else ():
            if key not in source.echo:
                numbers_of[key].append(number)

    def _ends(self, numbers: list[int], before: int, own_calls: Collection[str | None]) -> list[int]:
        """Return the first and the last of these sources that count."""
        start, end = bisect_left(numbers, next(iter(self.sources), 0)), bisect_left(numbers, before)
        while start < end and self.sources[numbers[start]].call_id in own_calls:
            start += 1
        while start < end and self.sources[numbers[end - 1]].call_id in own_calls:
            end -= 1
        return [numbers[start], numbers[end - 1]] if start < end else []


class KeyFinder:
    """Finds registered keys in a text."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = frozenset(keys)
        self._beginnings: set[str] = set()
        """Squashed values and their beginnings, so that a run of tokens is extended only while it may become a value."""
        self._long: defaultdict[str, list[str]] = defaultdict(list)
        self._spellings: defaultdict[str, list[str]] = defaultdict(list)
        self._has_thousands = False
        self._dates: set[str] = set()
        self._years: set[str] = set()
        for key in self.keys:
            self._register(key)

    def _register(self, key: str) -> None:
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
            if len(key) > _PREFIX:
                self._long[key[:_PREFIX]].append(key)
            self._beginnings.update([key], [key[:end] for end in range(1, min(len(key), _PREFIX + 1))])

    def keys_in(self, text: str) -> set[str]:
        """Return the registered keys that occur in a text."""
        plain = normalize(text)
        words = tokens_of_normalized(plain)
        first_words = self._beginnings.intersection(words)
        wanted_keys = {word for word in first_words if word in self.keys}
        if first_words:
            self._add_runs(words, first_words, wanted_keys)
        if self._spellings:
            for spelling in self._spellings.keys() & written_numbers(plain, spaced=self._has_thousands):
                wanted_keys.update(self._spellings[spelling])
        if any(year in plain for year in self._years):
            wanted_keys.update(key for _, _, keys in dates_in(plain) for key in keys if key in self._dates)
        return wanted_keys

    def _add_runs(self, words: list[str], first_words: set[str], keys: set[str]) -> None:
        """Add the values that consist of several tokens, and the long ones."""
        beginnings, long = self._beginnings, self._long
        starts = list(compress(count(), map(first_words.__contains__, words)))
        words.append(_END)  # no key contains it, so it ends every run
        joined, offsets = ("".join(words), list(accumulate(map(len, words), initial=0))) if long else ("", [])
        boundaries = set(offsets)
        for start in starts:
            run, end = words[start] + words[start + 1], start + 2
            while run in beginnings:
                if run in self.keys:
                    keys.add(run)
                run += words[end]
                end += 1
            if long and len(run) >= _PREFIX and run[:_PREFIX] in long:
                at = offsets[start]
                keys.update([key for key in long[run[:_PREFIX]] if joined.startswith(key, at) and at + len(key) in boundaries])
