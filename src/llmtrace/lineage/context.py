"""What a model could have seen so far in a run, as sources in order, and which of them hold a key.

Law: the cost is linear in the text. A source's keys are read at most once. A context that is read as a whole indexes all of
them. A live one first searches the newest text as it stands, and reads the keys of a source only where its letters and digits
alone (`forms.flat`) do not rule the value out: what was made up is mostly ruled out everywhere, what was copied is mostly found
as it was written. In a bounded context the oldest sources are forgotten; of these a filter of fixed size remains, which can
say "this may have been there" and so never calls a value made up that was seen.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from zlib import crc32

from llmtrace.lineage.forms import flat, has_mark, is_sparse, may_hold, occurs, occurs_as_number, trace_of
from llmtrace.lineage.ranges import Range
from llmtrace.lineage.sources import Found, Source
from llmtrace.lineage.values import Value
from llmtrace.lineage.vocabulary import Vocabulary
from llmtrace.lineage.wanted import Wanted, WantedVocabulary
from llmtrace.lineage.wording import wording
from llmtrace.lineage.words import Words, readable

RECENT_SOURCES, RECENT_CHARACTERS = 64, 1 << 13
"""How many sources, and of how many characters, counted from the newest, are looked at for what a value may follow from."""
SEARCHED = 1 << 18
"""Characters of text with keys that a live context searches for a value as it is written; what is older is indexed."""
UNINDEXED = 1 << 16
"""The same once keys are looked for: then a live context indexes some of the oldest at each call."""
MOST_NEW, MOST_UNKNOWN = 64, 24
"""Sources with keys, and of these such whose keys were not read yet, beyond which a live context indexes some."""
_INDEXED_AT_ONCE = 8
SCANNED = 1 << 26
"""Characters that searches for plain words may read in one run; after that they answer "it may be there"."""
_FILTER_BITS = 1 << 20
_QUICKLY, _QUICKLY_READ = 4, 1 << 12
"""How many of the newest sources, and of how many characters, are read for an argument as it stands before it is looked at."""
_MAY_BE_NUMBER = re.compile(r"[\s\d+~$€£¥₹.,-]|(?:usd|eur|gbp|chf|jpy|us\$)", re.IGNORECASE)
_MAYBE_UNMARKED = frozenset({"url", "path", "identifier"})
"""Kinds of values that may be written without an ASCII digit, ``@`` or ``/``, and so stand in a text without one."""
_FULL_DATE = 11
_MOST_DAYS = 12
"""Among more days two are so far apart by chance."""
_MOST_KNOWN = 1 << 13
_MOST_RANGES = 256


class _Index:
    """From each key to the numbers of the first and the last source that hold it."""

    __slots__ = ("_days", "again", "dated", "days", "done", "first")

    def __init__(self) -> None:
        self.first: dict[str, int] = {}
        self.again: dict[str, int] = {}
        """The last source, of keys that more than one holds."""
        self.days: dict[str, int] = {}
        """The keys of full dates, with the day's ordinal."""
        self._days: list[tuple[int, str]] = []
        """The same in order; empty until it is asked for."""
        self.dated = False
        """True once any key of a date was seen."""
        self.done = 0
        """Number of the first source that is not indexed yet."""

    def take(self, number: int, source: Source, keys: set[str]) -> None:
        self.done = number + 1
        if not keys:
            return
        if source.echo and not keys.isdisjoint(source.echo):
            keys = keys.difference(source.echo)
        new = keys.difference(self.first)  # of a set and a dict this costs the set; with a keys view, the dict
        self.first.update(dict.fromkeys(new, number))
        if len(new) < len(keys):
            self.again.update(dict.fromkeys(keys - new, number))
        for key in [key for key in new if key[0] == "@"]:
            self.dated = True
            if len(key) == _FULL_DATE:
                day = self.days[key] = date.fromisoformat(key[1:]).toordinal()
                if self._days:
                    insort(self._days, (day, key))

    def last(self, key: str) -> int | None:
        """The number of the last source that holds it."""
        return self.again.get(key) or self.first.get(key)

    def nearest_day(self, ordinal: int) -> tuple[int, str] | None:
        """How many days off the nearest full date is, and its key."""
        if not self.days:
            return None
        if not self._days:
            self._days = sorted((day, key) for key, day in self.days.items())
        at = bisect_left(self._days, (ordinal, ""))
        return min((abs(day - ordinal), key) for day, key in self._days[max(0, at - 1) : at + 1])

    def drop(self, number: int, keys: Iterable[str]) -> None:
        """Forget the oldest source, which had these keys."""
        for key in keys:
            if self.last(key) == number:
                del self.first[key]
                self.again.pop(key, None)
                if self.days.pop(key, None) is not None:
                    self._days = []


class _New:
    """A source of a live context that is not indexed yet and may have keys."""

    __slots__ = ("_dated", "_days", "_flat", "_keys", "cheap", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self._flat: bytes | None = None
        self._keys: set[str] | None = source._words
        self._dated: bool | None = None
        self._days: list[tuple[int, str]] | None = None
        self.cheap: bool | None = None
        """Whether the keys are cheap to read; None before anyone asked."""

    def keys_if_cheap(self) -> set[str] | None:
        """None for a text full of digits, of which all that is looked for can mostly be ruled out as it stands."""
        self.cheap = self._keys is not None or is_sparse(self.source.text)
        return self.keys if self.cheap else None

    @property
    def keys(self) -> set[str]:
        if self._keys is None:
            self._keys = self.source.word_keys()
        return self._keys

    def holds(self, key: str, trace: bytes) -> bool:
        keys = self._keys
        if keys is None:
            if self._flat is None:
                self._flat = flat(self.source.text)
            if not may_hold(self._flat, trace) or (key[0] == "@" and not self.dated):
                return False
            keys = self.keys
        return key in keys and key not in self.source.echo

    @property
    def dated(self) -> bool:
        """False where no key is one of a date; known keys tell it more quickly than the text."""
        if self._dated is None:
            self._dated = self.source.dated if self._keys is None else any(key[0] == "@" for key in self._keys)
        return self._dated

    def days(self) -> list[tuple[int, str]]:
        """The full dates, each with its ordinal."""
        if self._days is None:
            dates = [key for key in self.keys if key[0] == "@" and len(key) == _FULL_DATE and key not in self.source.echo]
            self._days = [(date.fromisoformat(key[1:]).toordinal(), key) for key in dates]
        return self._days


class Context:
    def __init__(
        self,
        *,
        sources: int | None = None,
        characters: int | None = None,
        search: bool = False,
        wanted: Wanted | None = None,
    ) -> None:
        """``sources`` and ``characters``: how much is remembered, None for all. ``search``: this is a live context, which
        searches before it indexes; quicker for few values, and the first place found is given, not the earliest. ``wanted``:
        unless live, all that will be looked for, and so all that is read; None for everything."""
        self._most_sources, self._most_characters, self.live = sources, characters, search
        self._sources: dict[int, Source] = {}
        self.ranges: deque[tuple[Range, Source]] = deque(maxlen=_MOST_RANGES)
        """What somebody named by the first and the last of it; of a bounded context the sources are without their text."""
        self._oldest = self._next = self._sorted = self._tidied = self._scanned = 0
        self._characters = self._unsorted = self._unindexed = 0
        self._recent: tuple[int, list[Source]] = (0, [])
        """What `recent` gives, until the next source is added."""
        self._words, self._dates = _Index(), _Index()
        if not search:
            self._begin_to_read(Vocabulary() if wanted is None else WantedVocabulary(wanted))
        self._new: dict[int, _New] = {}
        self._known: set[str] = set()
        """The keys of those new sources whose keys were read at once, or in an earlier run."""
        self._unknown: dict[int, _New] = {}
        """The others."""
        self._forgotten: bytearray | None = None
        self._marked = False
        """Unless live: a word that was read may have keys."""

    def _begin_to_read(self, vocabulary: Vocabulary | WantedVocabulary) -> None:
        self._vocabulary, self._words, self._sorted = vocabulary, _Index(), 0
        self._plain = Words(vocabulary.plain, numbers_too=isinstance(vocabulary, WantedVocabulary))

    def want_everything(self) -> None:
        """Something that is not ``wanted`` will be looked for, too: so all is read once more."""
        if isinstance(self._vocabulary, WantedVocabulary):
            self._begin_to_read(Vocabulary())

    def add(self, source: Source) -> None:
        text = source._text
        size = len(source.text if text is None else text)
        if not size:
            return
        self._sources[self._next] = source
        self._next += 1
        if source.asked:
            self._take_ranges(source)
        self._characters += size
        self._unsorted += size
        most = self._most_sources
        if most is not None and (len(self._sources) > most or self._characters > (self._most_characters or 0)):
            while self._over():
                self._forget()

    def find(self, value: Value) -> Found | None:
        """Where the value stands, whatever its spelling; None where nothing visible holds it."""
        if self.live:
            source = self._search_new(value)
            if source is not None:
                return Found(source, source)
        for key in value.keys:
            found = self.at(key)
            if found is not None:
                return found
        return None

    def holds_as_written(self, text: str) -> bool:
        """Whether one of the newest sources holds the text by itself, so that it is grounded whatever it is. False for what may
        be a number, which need not stand in what it is a part of, and for what is better looked for otherwise."""
        if _MAY_BE_NUMBER.match(text):
            return False
        newest = self._next - 1
        for number in range(newest, newest - _QUICKLY, -1):
            if number < self._oldest:
                break
            source = self._sources[number]
            seen = source.text if source._text is None else source._text
            if text in seen and len(seen) <= _QUICKLY_READ and not source.echo and occurs(text, seen):
                if self._unsorted + self._unindexed > SEARCHED:  # else what is looked for next had to wait for all of it
                    self._catch_up_words()
                return True
        return False

    def at(self, key: str) -> Found | None:
        """The first and the last source that hold a key."""
        self._catch_up_words()
        if self.live and self._tidied < self._next:
            self._tidy()
        first, last = self._words.first.get(key), None
        if first is not None:
            last = self._words.last(key)
        if not self.live:
            numbers = self._vocabulary.keys.get(key)
            if numbers:
                first, last = _widest(first, last, numbers)
        elif self._new:
            first, last = self._with_new(key, first, last)
        if key[0] in "@~":
            first, last = self._with_dates(key, first, last)
        if last is not None:
            source = self._sources[last]
            return Found(source if first is None else self._sources.get(first, source), source)
        if self._forgotten is not None and all(self._forgotten[bit >> 3] >> (bit & 7) & 1 for bit in _bits(key)):
            return Found(None, None)
        return None

    def _with_new(self, key: str, first: int | None, last: int | None) -> tuple[int | None, int | None]:
        """The same with what is not indexed yet, all of which is newer."""
        new = self._new if key in self._known else self._unknown
        if not new:
            return first, last
        trace = trace_of(key)
        holding = [number for number, one in new.items() if one.holds(key, trace)]
        if not holding:
            return first, last
        return holding[0] if first is None else first, holding[-1]

    def _with_dates(self, key: str, first: int | None, last: int | None) -> tuple[int | None, int | None]:
        """The same with what the index of dates says."""
        self._catch_up_dates()
        dated, index = self._dates.first.get(key), self._dates
        return (first, last) if dated is None else _widest(first, last, (dated, index.last(key) or dated))

    def tells_of_dates(self) -> bool:
        """False where nothing visible holds a date, or a part of one."""
        self._catch_up_words()
        if self._dates.done < self._next:
            self._catch_up_dates()
        if self._words.dated or self._dates.dated or self._forgotten is not None:
            return True
        return bool(self._new) and any(new.dated for new in self._new.values())

    def holds_no_key(self) -> bool:
        """True where no word that is visible has keys."""
        if self._sorted < self._next:
            self._catch_up_words()
        return not (self._new or self._words.first or self._forgotten is not None or self._marked)

    def nearest_day(self, ordinal: int) -> tuple[int, str] | None:
        """How many days off the nearest full date is that stands anywhere, and its key."""
        self.settle()
        known = [near for index in (self._words, self._dates) if (near := index.nearest_day(ordinal)) is not None]
        known += [(abs(day - ordinal), key) for new in self._new.values() if new.dated for day, key in new.days()]
        return min(known, default=None)

    def days_apart(self, days: int) -> str | None:
        """The key of a full date that stands so many days before another, where few stand anywhere."""
        self.settle()
        known = {day: key for index in (self._words, self._dates) for key, day in index.days.items()}
        known.update(day for new in self._new.values() if new.dated for day in new.days())
        return next((known[day] for day in known if day + days in known), None) if len(known) <= _MOST_DAYS else None

    def stands(self, text: str) -> bool:
        """Whether one of the newest sources holds the text by itself."""
        newest = islice(self.newest_first(), RECENT_SOURCES)
        return any(text in source.text and occurs(text, source.text) for source in newest)

    def newest_first(self) -> Iterator[Source]:
        return (self._sources[number] for number in range(self._next - 1, self._oldest - 1, -1))

    def recent(self) -> Sequence[Source]:
        """The newest sources, the newest first."""
        if self._recent[0] != self._next:
            found: list[Source] = []
            characters = RECENT_CHARACTERS
            for number in range(self._next - 1, max(self._oldest, self._next - RECENT_SOURCES) - 1, -1):
                source = self._sources[number]
                found.append(source)
                characters -= len(source.text if source._text is None else source._text)
                if characters < 0:
                    break
            self._recent = self._next, found
        return self._recent[1]

    def find_text(self, text: str, keys: Iterable[str] = ()) -> Found | None:
        """The first and last source that hold a plain text, word for word, and do not merely repeat one of ``keys``."""
        first = next((source for source in self._sources.values() if self._holds(source, text, keys)), None)
        if first is None:
            return None
        return Found(first, next((source for source in self.newest_first() if self._holds(source, text, keys)), first))

    def find_words(self, *texts: str) -> Found | None:
        """The first and the last source that hold one of the texts, whatever its case, its white space and its punctuation.
        Only of a context that forgets nothing."""
        self._catch_up_words()
        places = [number for text in texts for number in self._plain.first_and_last(text)]
        return Found(self._sources[min(places)], self._sources[max(places)]) if places else None

    def find_code(self, code: str) -> Found | None:
        """The same for a code in capitals: ``IN`` is no ``in``."""
        self._catch_up_words()
        numbers = (*self._plain.oldest(code), *reversed(self._plain.newest(code)))
        holding = [number for number in numbers if self._has_words(number, [code])]
        return Found(self._sources[holding[0]], self._sources[holding[-1]]) if holding else None

    def find_together(self, words: Sequence[str]) -> Source | None:
        """The newest source in which all of these words stand, wherever: codes in capitals, the rest in any case."""
        self._catch_up_words()
        numbers = self._plain.newest(" ".join(words))
        return next((self._sources[number] for number in numbers if self._has_words(number, words)), None)

    def _has_words(self, number: int, words: Sequence[str]) -> bool:
        text = readable(self._sources[number].text)
        patterns = (wording(word, exact=word.isupper()) for word in words)
        return all(pattern is not None and pattern.search(text) for pattern in patterns)

    def settle(self) -> None:
        """Unless live: index everything now, so that later look-ups change nothing and may come from several threads."""
        self._catch_up_words()
        self._catch_up_dates()

    @property
    def exhausted(self) -> bool:
        """True once plain searches have read as much as they may."""
        return self._scanned > SCANNED

    # -- keeping

    def _take_ranges(self, source: Source) -> None:
        named = source.named_ranges()
        if named:
            kept = source if self._most_sources is None else Source(source.span_id, source.place, "", asked=True)
            self.ranges.extend((each, kept) for each in named)

    def _over(self) -> bool:
        if len(self._sources) <= 1:
            return False
        over_sources = self._most_sources is not None and len(self._sources) > self._most_sources
        return over_sources or (self._most_characters is not None and self._characters > self._most_characters)

    def _forget(self) -> None:
        number = self._oldest
        source = self._sources.pop(number)
        self._oldest += 1
        self._characters -= len(source.text)
        if self._new.pop(number, None) is not None:
            self._unindexed -= len(source.text)
            self._unknown.pop(number, None)
        if self._forgotten is None:
            self._forgotten = bytearray(_FILTER_BITS // 8)
        for index, keys in ((self._words, source.word_keys()), (self._dates, source.date_keys())):
            keys = keys.difference(source.echo)
            index.drop(number, keys)
            for key in keys:
                for bit in _bits(key):
                    self._forgotten[bit >> 3] |= 1 << (bit & 7)

    def _catch_up_words(self) -> None:
        if not self.live:
            if self._sorted < self._next:
                self._read()
            return
        if self._sorted < self._next:
            self._sort()
        while self._unindexed > SEARCHED:
            self._index_oldest()

    def _read(self) -> None:
        """Unless live: index what was added, by its keys and by its words."""
        for number in range(self._sorted, self._next):
            source = self._sources[number]
            self._marked = self._marked or source.marked
            self._plain.take(source.text)
            self._words.take(number, source, self._vocabulary.take(number, source.text, source.echo))
            source.months = self._vocabulary.months
        self._sorted = self._next

    def _tidy(self) -> None:
        """Before a key is looked for in what is new: read the keys that are cheap to read, and index some of the oldest where
        much is new; not all at once, so that no call pays for all of them."""
        self._tidied = self._next
        for number, new in tuple(self._unknown.items()):
            if new.cheap is None:
                keys = new.keys_if_cheap()
                if keys is not None:
                    del self._unknown[number]
                    self._known.update(keys)
        for _ in range(max(_INDEXED_AT_ONCE, len(self._new) // 4)):
            if len(self._unknown) <= MOST_UNKNOWN and len(self._new) <= MOST_NEW and self._unindexed <= UNINDEXED:
                break
            self._index_oldest()
        if len(self._known) > _MOST_KNOWN:  # grown by keys of what is indexed by now
            self._known = {key for number, new in self._new.items() if number not in self._unknown for key in new.keys}

    def _index_oldest(self) -> None:
        number = next(iter(self._new))
        new = self._new.pop(number)
        self._unknown.pop(number, None)
        self._unindexed -= len(new.source.text)
        self._words.take(number, new.source, new.keys)

    def _sort(self) -> None:
        """Of what was added, only the sources that may have keys are of interest."""
        for number in range(max(self._sorted, self._oldest), self._next):
            source = self._sources[number]
            if source._marked is not False and source.marked:
                new = self._new[number] = _New(source)
                self._unindexed += len(source.text)
                if source._words is None:
                    self._unknown[number] = new
                else:
                    self._known.update(source._words)
        self._sorted, self._unsorted = self._next, 0

    def _catch_up_dates(self) -> None:
        index = self._dates
        for number in range(max(index.done, self._oldest), self._next):
            source = self._sources[number]
            keys = source._dates
            if keys is None:
                keys = source.date_keys()
            if keys:
                index.take(number, source, keys)
        index.done = self._next

    def _search_new(self, value: Value) -> Source | None:
        """Search the text that is not indexed yet for the value as it is written."""
        self._catch_up_words()
        written, holds = (_number_as_text(value), occurs_as_number) if value.kind == "number" else (value.text.strip(), occurs)
        if value.kind == "identifier":
            written = written.strip("#@.:")
        if value.kind in _MAYBE_UNMARKED and not has_mark(written):
            return next((source for source in self.newest_first() if _stands(written, holds, source, value)), None)
        if not self._new or not written:
            return None
        last, middle = written[-1], written[len(written) // 2]
        for new in reversed(self._new.values()):
            text = new.source.text  # a search for one character takes a tenth of that for more, and mostly fails
            if last in text and middle in text and written in text and _stands(written, holds, new.source, value):
                return new.source
        return None

    def _holds(self, source: Source, text: str, keys: Iterable[str]) -> bool:
        self._scanned += len(source.text)
        return self._scanned <= SCANNED and text in source.text and source.echo.isdisjoint(keys)


def _widest(first: int | None, last: int | None, numbers: Sequence[int]) -> tuple[int | None, int | None]:
    """The first and the last of these and of others, which are in order."""
    if not numbers:
        return first, last
    if first is None or last is None:
        return numbers[0], numbers[-1]
    return min(first, numbers[0]), max(last, numbers[-1])


def _stands(written: str, holds: Callable[[str, str], bool], source: Source, value: Value) -> bool:
    return holds(written, source.text) and source.echo.isdisjoint(value.keys)


def _bits(key: str) -> tuple[int, int]:
    data = key.encode(errors="replace")
    return crc32(data) % _FILTER_BITS, crc32(data, 0x9E3779B9) % _FILTER_BITS


def _number_as_text(value: Value) -> str:
    if isinstance(value.content, float) and value.content.is_integer():
        return str(int(value.content))
    return value.text.strip().lstrip("-+$€£")
