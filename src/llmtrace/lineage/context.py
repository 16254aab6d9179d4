"""What a model could have seen so far in a run, as sources in order, and which of them hold a key.

Law: the cost is linear in the text. A source is indexed at most once, and only when a value is looked for that is not found
by a plain search of what is not indexed yet. In a bounded context the oldest sources are forgotten; of these a filter of fixed
size remains, which can say "this may have been there" and so never calls a value made up that was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from zlib import crc32

from llmtrace.lineage import dates
from llmtrace.lineage.forms import keys_of_word, occurs, occurs_as_number, words_with_keys
from llmtrace.lineage.sources import Found, Source
from llmtrace.lineage.values import Value

UNINDEXED = 1 << 18
"""Characters that are searched as they stand; beyond that the index is brought up to date first."""
SCANNED = 1 << 26
"""Characters that searches for plain words may read in one run; after that they answer "it may be there"."""
_WORDS_CACHED = 2000
_KEYS_CACHED = 64
_COUNTING = frozenset({"~day", "~week"})
_FILTER_BITS = 1 << 20


class _Index:
    """From each key to the numbers of the first and the last source that hold it."""

    __slots__ = ("dated", "days", "done", "extract", "first", "last", "name")

    def __init__(self, name: str, extract: Callable[[str], set[str]]) -> None:
        self.name = name
        """Key in the cache of a message."""
        self.extract = extract
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.days: dict[str, int] = {}
        """The keys of full dates, with the day's ordinal."""
        self.dated = False
        """True once any key of a date, or of words that count from one, was seen."""
        self.done = 0
        """Number of the first source that is not indexed yet."""

    def take(self, number: int, source: Source) -> None:
        self.done = number + 1
        keys = self._keys_of(source)
        if not keys:
            return
        if source.echo:
            keys = keys.difference(source.echo)
        for key in keys.difference(self.first):  # of a set and a dict this costs the set; with a keys view, the dict
            self.first[key] = number
            if key[0] in "@~":
                self.dated = True
                if len(key) == 11:
                    self.days[key] = date.fromisoformat(key[1:]).toordinal()
        self.last.update(dict.fromkeys(keys, number))

    def _keys_of(self, source: Source) -> set[str]:
        cache = source.cache
        if cache is None:
            return self.extract(source.text)
        keys: set[str] | None = cache.get(self.name)
        if keys is None:
            keys = self.extract(source.text)
            if len(keys) <= _KEYS_CACHED:
                cache[self.name] = keys
        return keys

    def drop(self, number: int, source: Source) -> Iterator[str]:
        """Forget the oldest source; gives its keys."""
        for key in self._keys_of(source).difference(source.echo):
            if self.last.get(key) == number:
                del self.first[key], self.last[key]
                self.days.pop(key, None)
            yield key


class Context:
    def __init__(self, *, sources: int | None = None, characters: int | None = None, search: bool = False) -> None:
        """``sources`` and ``characters``: how much is remembered, None for all. ``search``: look through new text as it
        stands before indexing it; quicker for few values, and the first place found is given, not the earliest."""
        self._most_sources, self._most_characters, self._search = sources, characters, search
        self._sources: dict[int, Source] = {}
        self._oldest = self._next = self._characters = self._unindexed = self._scanned = 0
        self._word_keys: dict[str, tuple[str, ...]] = {}
        self._words = _Index("llmtrace.lineage.words", self._keys)
        self._dates = _Index("llmtrace.lineage.dates", dates.dates_in)
        self._forgotten: bytearray | None = None

    def add(self, source: Source) -> None:
        size = len(source.text)
        if not size:
            return
        self._sources[self._next] = source
        self._next += 1
        self._characters += size
        self._unindexed += size
        while self._over():
            self._forget()

    def find(self, value: Value) -> Found | None:
        """Where the value stands, whatever its spelling; None where nothing visible holds it."""
        if self._search:
            source = self._search_new(value)
            if source is not None:
                return Found(source, source)
        for key in value.keys:
            found = self.at(key)
            if found is not None:
                return found
        return None

    def at(self, key: str) -> Found | None:
        """The first and the last source that hold a key."""
        words = self._words
        if words.done < self._next:
            self._catch_up(words, self._next)
        last = words.last.get(key)
        first = None if last is None else words.first[key]
        if key[0] in "@~":
            first, last = self._with_dates(key, first, last)
        if last is not None:
            source = self._sources[last]
            return Found(source if first is None else self._sources.get(first, source), source)
        if self._forgotten is not None and all(self._forgotten[bit >> 3] >> (bit & 7) & 1 for bit in _bits(key)):
            return Found(None, None)
        return None

    def _with_dates(self, key: str, first: int | None, last: int | None) -> tuple[int | None, int | None]:
        """The same with what the index of dates says."""
        index = self._dates
        if index.done < self._next:
            self._catch_up(index, self._next)
        if key not in index.last:
            return first, last
        if first is None or last is None:
            return index.first[key], index.last[key]
        return min(first, index.first[key]), max(last, index.last[key])

    def tells_of_dates(self) -> bool:
        """False where nothing visible holds a date, or a word that counts from one."""
        self.settle()
        return self._words.dated or self._dates.dated or self._forgotten is not None

    def holds_no_key(self) -> bool:
        """True where nothing visible has a digit, a date or an address in it: then no key can be found."""
        self.settle()
        return (
            not self._words.last
            and not self._dates.days
            and not self._dates.last.keys() - _COUNTING
            and self._forgotten is None
        )

    def nearest_day(self, ordinal: int) -> tuple[int, str] | None:
        """How many days off the nearest full date is that stands anywhere, and its key."""
        self.settle()
        days = ((abs(day - ordinal), key) for index in (self._words, self._dates) for key, day in index.days.items())
        return min(days, default=None)

    def newest_first(self) -> Iterator[Source]:
        return (self._sources[number] for number in range(self._next - 1, self._oldest - 1, -1))

    def find_text(self, text: str, keys: Iterable[str] = ()) -> Found | None:
        """The first and last source that hold a plain text, word for word, and do not merely repeat one of ``keys``."""
        first = next((source for source in self._sources.values() if self._holds(source, text, keys)), None)
        if first is None:
            return None
        return Found(first, next((source for source in self.newest_first() if self._holds(source, text, keys)), first))

    def settle(self) -> None:
        """Index everything now, so that later look-ups change nothing and may come from several threads."""
        for index in (self._words, self._dates):
            if index.done < self._next:
                self._catch_up(index, self._next)

    @property
    def exhausted(self) -> bool:
        """True once plain searches have read as much as they may."""
        return self._scanned > SCANNED

    # -- keeping

    def _over(self) -> bool:
        if len(self._sources) <= 1:
            return False
        over_sources = self._most_sources is not None and len(self._sources) > self._most_sources
        return over_sources or (self._most_characters is not None and self._characters > self._most_characters)

    def _forget(self) -> None:
        number = self._oldest
        if self._words.done <= number:
            self._catch_up(self._words, number + 1)
        if self._dates.done <= number:
            self._catch_up(self._dates, number + 1)
        source = self._sources.pop(number)
        self._oldest += 1
        self._characters -= len(source.text)
        if self._forgotten is None:
            self._forgotten = bytearray(_FILTER_BITS // 8)
        for index in (self._words, self._dates):
            for key in index.drop(number, source):
                for bit in _bits(key):
                    self._forgotten[bit >> 3] |= 1 << (bit & 7)

    def _catch_up(self, index: _Index, until: int) -> None:
        words = index is self._words
        for number in range(max(index.done, self._oldest), until):
            source = self._sources[number]
            index.take(number, source)
            if words:
                self._unindexed -= len(source.text)

    def _keys(self, text: str) -> set[str]:
        known, keys = self._word_keys, set[str]()
        for word in words_with_keys(text):
            of_word = known.get(word)
            if of_word is None:
                if len(known) > _WORDS_CACHED:
                    known.clear()
                of_word = known[word] = keys_of_word(word)
            keys.update(of_word)
        return keys

    def _search_new(self, value: Value) -> Source | None:
        """Search the text that is not indexed yet for the value as it is written."""
        if self._unindexed > UNINDEXED:
            self._catch_up(self._words, self._next)
        written, holds = (_number_as_text(value), occurs_as_number) if value.kind == "number" else (value.text.strip(), occurs)
        if value.kind == "identifier":
            written = written.strip("#@.:")
        for number in range(self._next - 1, max(self._words.done, self._oldest) - 1, -1):
            source = self._sources[number]
            if holds(written, source.text) and source.echo.isdisjoint(value.keys):
                return source
        return None

    def _holds(self, source: Source, text: str, keys: Iterable[str]) -> bool:
        self._scanned += len(source.text)
        return self._scanned <= SCANNED and text in source.text and source.echo.isdisjoint(keys)


def _bits(key: str) -> tuple[int, int]:
    data = key.encode(errors="replace")
    return crc32(data) % _FILTER_BITS, crc32(data, 0x9E3779B9) % _FILTER_BITS


def _number_as_text(value: Value) -> str:
    if isinstance(value.content, float) and value.content.is_integer():
        return str(int(value.content))
    return value.text.strip().lstrip("-+$€£")
