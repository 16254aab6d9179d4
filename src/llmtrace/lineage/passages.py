"""Where inside a source a value stands: the member that holds it, as JSON Pointer, and the very characters.

Law: the characters that are named spell the value, in one of the forms that count as the same. A source is walked once, however
many values are looked up in it; of a text that is looked for by its words the cost is linear in the source.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple, TypeAlias

from pydantic_core import from_json

from llmtrace.lineage import dates
from llmtrace.lineage.forms import HOLDS_KEY, PIECES, keys_of_word, number_key, words_with_places
from llmtrace.lineage.provenance import Match
from llmtrace.lineage.quantities import Quantity
from llmtrace.lineage.sources import Source
from llmtrace.lineage.wording import QUOTED, quotations, wording
from llmtrace.model import JsonValue

Way: TypeAlias = "tuple[Any, object] | None"
"""The way to the container, and the name or position in it; None is the root."""

DEEPEST = 64
LONGEST_READ = 1 << 20
"""Characters of a source up to which its places are looked for."""
_RUN = re.compile(r"[^\W_]+")


class Leaf(NamedTuple):
    """A string or a number of a source, or the name of a member."""

    way: Way
    text: str
    of_name: bool = False


class Place(NamedTuple):
    leaf: Leaf
    start: int
    end: int

    def match(self, start: int, end: int) -> Match:
        """``start`` and ``end``: of the use."""
        leaf = self.leaf
        text = leaf.text[self.start : self.end]
        return Match(start, end, _pointer(leaf.way), self.start, self.end, text, leaf.of_name)


class Word(NamedTuple):
    """A word that has keys. Which of its characters spell one of them is seen to when that is asked for."""

    leaf: Leaf
    start: int
    text: str

    def place_of(self, key: str) -> Place:
        """The fewest characters that spell an identifier, of a number all of them (``1,018.50``, ``$54``)."""
        pieces = _pieces(self.text)
        holding = pieces if key[0] != "=" else reversed(pieces)
        spelling = (piece for piece in holding if key in keys_of_word(_plain(self.text[piece[0] : piece[1]])))
        first, last = next(spelling, (0, len(self.text)))
        return Place(self.leaf, self.start + first, self.start + last)


class Places:
    """The places of one source."""

    __slots__ = ("_keys", "_whole", "leaves")

    def __init__(self, source: Source) -> None:
        content = _structured(source.content)
        self.leaves: list[Leaf] = []
        if content is None:
            self.leaves.append(Leaf(None, source.text))
        else:
            _walk(content, None, self.leaves, 0)
        self._whole: dict[str, Leaf] = {}
        for leaf in self.leaves:
            self._whole.setdefault(leaf.text, leaf)
        self._keys: dict[str, Place | Word] | None = None

    def of_text(self, text: str) -> Place | None:
        """A member that is the text as it stands."""
        leaf = self._whole.get(text)
        return Place(leaf, 0, len(text)) if leaf is not None else None

    def of_keys(self, keys: Iterable[str]) -> Place | None:
        """The first place of the first of these keys that stands here."""
        if self._keys is None:
            self._keys = {}
            for leaf in self.leaves:
                for key, there in _keys_in(leaf):
                    self._keys.setdefault(key, there)
        for key in keys:
            found = self._keys.get(key)
            if found is not None:
                return found.place_of(key) if isinstance(found, Word) else found
        return None

    def of_number(self, number: float) -> Place | None:
        """The first place that spells this number."""
        return self.of_keys([number_key(number)])

    def of_quantity(self, others: Sequence[Quantity]) -> Place | None:
        """The first of these that stands with its unit, beside it or in the name of its member."""
        for other in others:
            for leaf in self.leaves:
                found = other.place_in(leaf.text)
                if found is not None and not leaf.of_name:
                    return Place(leaf, *found)
            named = self.of_keys([number_key(other.number)])
            if named is not None and other.place_in(f'"{_name(named.leaf.way)}": {named.leaf.text[named.start :]}'):
                return named
        return None

    def of_pattern(self, pattern: str | re.Pattern[str]) -> Place | None:
        """The first place that a regular expression matches, upper or lower case."""
        if isinstance(pattern, str):
            pattern = re.compile(pattern, re.IGNORECASE)
        found = ((leaf, pattern.search(leaf.text)) for leaf in self.leaves)
        return next((Place(leaf, *match.span()) for leaf, match in found if match is not None), None)

    def nearest_day(self, day: date) -> Place | None:
        """The full date that is nearest to this one."""
        self.of_keys(())
        known = [
            (abs(date.fromisoformat(key[1:]).toordinal() - day.toordinal()), key) for key in self._keys or () if _is_day(key)
        ]
        return self.of_keys([min(known)[1]]) if known else None

    def of_words(self, text: str) -> list[tuple[int, int, Place]]:
        """A text by its words: where all of it stands, or of a long one each stretch of several words that does. Of each the
        range in the text."""
        pattern = wording(text)
        whole = self.of_text(text.strip()) or (self.of_pattern(pattern) if pattern else None)
        if whole is not None:
            return [(0, len(text), whole)]
        found: list[tuple[int, int, Place]] = []
        if text.count(" ") + 1 >= QUOTED:
            for leaf in self.leaves:
                if len(leaf.text) >= QUOTED:
                    found += [(start, end, Place(leaf, *there)) for start, end, there in quotations(text, leaf.text)]
        return found


def places_of(source: Source) -> Places | None:
    """None where the source is too long to be walked."""
    if source.places is None and len(source.text) <= LONGEST_READ:
        source.places = Places(source)
    places: Places | None = source.places
    return places


def _is_day(key: str) -> bool:
    return key[0] == "@" and len(key) == 11


def _walk(content: JsonValue, way: Way, found: list[Leaf], depth: int) -> None:
    """Every string and number with its way, and every member's name."""
    if depth > DEEPEST:
        return
    if isinstance(content, dict):
        for name, member in content.items():
            _walk(member, (way, name), found, depth + 1)
            found.append(Leaf((way, name), str(name), True))
    elif isinstance(content, list):
        for place, member in enumerate(content):
            _walk(member, (way, place), found, depth + 1)
    elif content is not None and not isinstance(content, bool):
        found.append(Leaf(way, str(content)))


def _keys_in(leaf: Leaf) -> Iterator[tuple[str, Place | Word]]:
    """The keys of a text, each with where it stands."""
    for start, text in words_with_places(leaf.text):
        word = Word(leaf, start, text)
        for key in keys_of_word(_plain(text)):
            yield key, word
    for start, end, key in dates.mentions(leaf.text):
        place = Place(leaf, start, end)
        yield key, place
        if len(key) == 11:
            yield f"@+{key[6:]}", place


def _plain(word: str) -> str:
    return (word if word.isascii() else unicodedata.normalize("NFKC", word)).replace("\0", "")


def _pieces(word: str) -> list[tuple[int, int]]:
    """Parts of a word that may be a value by themselves, the shortest first; the word without what is around it last."""
    found = [match.span() for match in _RUN.finditer(word) if HOLDS_KEY.search(match.group())]
    at = 0
    for match in PIECES.finditer(word):
        if match.start() > at:
            found.append((at, match.start()))
        at = match.end()
    found.append((at, len(word)))
    bare = word.strip(".,:!?=&…\0")
    found.append((at := word.find(bare), at + len(bare)))
    return sorted(found, key=lambda place: place[1] - place[0])


def _name(way: Way) -> str:
    """The name of the innermost member on the way."""
    while way is not None and not isinstance(way[1], str):
        way = way[0]
    return "" if way is None else str(way[1])


def _pointer(way: Way) -> str:
    names: list[str] = []
    while way is not None:
        way, name = way
        names.append(escape(name))
    return "".join(f"/{name}" for name in reversed(names))


def _structured(content: JsonValue) -> JsonValue:
    if not isinstance(content, str):
        return content
    if content.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return from_json(content)
    except (ValueError, TypeError):  # a TypeError for half a surrogate pair
        return None


def escape(name: object) -> str:
    """A member's name as one segment of a JSON Pointer."""
    text = str(name)
    return text.replace("~", "~0").replace("/", "~1") if "~" in text or "/" in text else text
