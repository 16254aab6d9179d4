"""Where each identifier of a run stands: in which turns, results and answers, and under which names of members.

Law: every text is read once, however many values are asked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from heapq import nsmallest
from typing import TypeAlias

from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.model import JsonValue

_WORD = re.compile(r"#?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_DIGIT = re.compile(r"\d")
_OF_WORDS = bytes(byte if byte < 128 and (chr(byte).isalnum() or chr(byte) in "#_-") else 32 for byte in range(256))
"""Each byte of a text that no word has turned into a space."""
_LONGEST_READ = 1 << 18
_SHORTEST = 4
_LONGEST_NAME = 40
DEEPEST = 12
MOST_ALIKE = 200


class Sightings:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    @cached_property
    def spoken(self) -> dict[str, list[Node]]:
        """By word, the turns of the user and the words of the model that hold it, in order."""
        found: dict[str, list[Node]] = defaultdict(list)
        for node in self.flow.nodes:
            for word in words_in(node.text or node.said_with):
                found[word].append(node)
        return found

    @cached_property
    def told(self) -> dict[str, list[Node]]:
        """By word, the calls whose results hold it, in order."""
        found: dict[str, list[Node]] = defaultdict(list)
        for node in self.flow.nodes:
            if node.kind == "call" and node.has_result:
                for word in words_in(node.result if isinstance(node.result, str) else repr(node.result)):
                    found[word].append(node)
        return found

    @cached_property
    def _named(self) -> dict[str, _Names]:
        """By text of a value, what it is called in results."""
        found: dict[str, _Names] = {}
        for node in self.flow.nodes:
            if node.structure is not None:
                _name(node.structure, "", found, node.place, 0)
        return found

    def _called(self, text: str) -> Iterable[tuple[str, int]]:
        """The names of the members that hold it, each with the place of the first call; inverted (``~``) where others hold it
        too."""
        held = self._named.get(text, ())
        return held.items() if isinstance(held, dict) else (held,) if held else ()

    @cached_property
    def records(self) -> dict[str, set[float]]:
        """By the name of a thing in results, the numbers that stand with it."""
        found: dict[str, set[float]] = defaultdict(set)
        for node in self.flow.nodes:
            if _may_name(node):
                _record(node.structure, found, 0)
        return found

    def last_name(self, text: str) -> str | None:
        """The name of a thing that stands last in the text (in small letters)."""
        places = [(text.rfind(name), name) for name in list(self.records)[:MOST_ALIKE] if name in text]
        return max(places)[1] if places else None

    @cached_property
    def owners(self) -> dict[str, dict[str, int]]:
        """By the name of a thing in results, the identifiers of the records that hold it (members of the result itself, or of
        an element of it), each with the place of the first call that gave it."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for node in self.flow.nodes:
            structure = node.structure if _may_name(node) else None
            parts = structure if isinstance(structure, list) else [structure]
            for part in (part for part in parts if isinstance(part, dict)):
                named: dict[str, None] = {}
                _titles(part, named, 0)
                texts = [member for member in part.values() if isinstance(member, str)] if named else []
                for identifier in (text for text in texts if is_word(text)):
                    for thing in named:
                        found[thing].setdefault(identifier, node.place)
        return found

    def record(self, identifier: str, node: Node) -> dict[str, JsonValue] | None:
        """The last result before this node that is the record of the identifier."""
        held = self._records.get(identifier, ())
        return next((record for place, record in reversed(held) if place < node.place), None)

    @cached_property
    def _records(self) -> dict[str, list[tuple[int, dict[str, JsonValue]]]]:
        found: dict[str, list[tuple[int, dict[str, JsonValue]]]] = defaultdict(list)
        for node in self.flow.nodes:
            if isinstance(node.structure, dict):
                for member in node.structure.values():
                    if isinstance(member, str) and is_word(member):
                        found[member].append((node.place, node.structure))
        return found

    @cached_property
    def things(self) -> dict[str, set[str]]:
        """By identifier of a record, the names of the things in it."""
        found: dict[str, set[str]] = defaultdict(set)
        for thing, identifiers in self.owners.items():
            for identifier in identifiers:
                found[identifier].add(thing)
        return found

    @cached_property
    def members(self) -> set[str]:
        """The names of all members of results."""
        return {name for held in self._named.values() for name in (held if isinstance(held, dict) else held[:1])}

    def names(self, text: str) -> set[str]:
        """What the value is called in results."""
        return {name for name, _ in self._called(text)}

    def names_elsewhere(self, text: str, node: Node) -> set[str]:
        """What the value is called in results other than this node's."""
        return {name for name, place in self._called(text) if place != node.place}

    def names_before(self, text: str, node: Node) -> set[str]:
        """What the value is called in the results before this node's."""
        return {name for name, place in self._called(text) if _first(place) < node.place}

    def kin(self, one: str, other: str) -> bool:
        """True if both go by one name in results."""
        return not self.names(one).isdisjoint(self.names(other))

    def alike(self, word: str) -> list[str]:
        """The words that look like this one, a bounded number of them: those that were told first, then those that were said
        first."""
        if not is_word(word):
            return []
        return [other for _, _, other in nsmallest(MOST_ALIKE, self._by_shape.get(shape(word), ()))]

    @cached_property
    def _by_shape(self) -> dict[str, list[tuple[bool, int, str]]]:
        """By form, the words, each with whether it was only said, and where it stands first. A text gives its words in no
        order: all of the text with which the bound is reached are kept."""
        found: dict[str, list[tuple[bool, int, str]]] = defaultdict(list)
        for only_said, held in (False, self.told), (True, self.spoken):
            for word, nodes in held.items():
                if not (only_said and word in self.told):
                    kept, place = found[shape(word)], nodes[0].place
                    if len(kept) < MOST_ALIKE or kept[-1][:2] == (only_said, place):
                        kept.append((only_said, place, word))
        return found

    def before(self, word: str, node: Node) -> list[Node]:
        """The nodes that hold the word and come before this one."""
        found = [one for one in self.spoken.get(word, ()) if one.place < node.place]
        return found + [one for one in self.told.get(word, ()) if one.told <= node.place]


def words_in(text: str) -> set[str]:
    """The words of a text that hold a digit and are long enough to name something."""
    pieces = set(text[:_LONGEST_READ].encode("ascii", "replace").translate(_OF_WORDS).decode().split())
    known = {piece for piece in pieces if len(piece) >= _SHORTEST and not piece.isalpha()}
    plain = {piece for piece in known if piece.isalnum()}
    others = _WORD.findall(" ".join(known - plain))
    return plain.union(word for word in others if len(word) >= _SHORTEST and _DIGIT.search(word))


def is_word(text: str) -> bool:
    """True if the text is nothing but one such word."""
    return _SHORTEST <= len(text) <= _LONGEST_READ and _WORD.fullmatch(text) is not None and _DIGIT.search(text) is not None


_DATE = re.compile(r"\d{4}|\d{4}-\d\d(?:-\d\d)?")


def is_date(word: str) -> bool:
    return _DATE.fullmatch(word) is not None


_LIKE = str.maketrans({chr(code): "9" if chr(code).isdigit() else "a" for code in range(128) if chr(code).isalnum()})
_LETTERS = re.compile("aa+")


def shape(text: str) -> str:
    """Equal for values that look alike: digits by their number, letters of either case; of a code in capitals the length."""
    if text.isalnum() and text.upper() == text and not text.isdigit():
        return f"code of {len(text)}"
    if text.isascii():
        return _LETTERS.sub("a", text.translate(_LIKE))
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]+", "a", text))


def _first(place: int) -> int:
    return place if place >= 0 else ~place


_Names: TypeAlias = "tuple[str, int] | dict[str, int]"
"""One name with its place, as most values have, or several."""


def _name(content: JsonValue, name: str, found: dict[str, _Names], place: int, depth: int) -> None:
    """``content``: an object or a list."""
    if depth >= DEEPEST:
        return
    for key, member in content.items() if isinstance(content, dict) else ((name, member) for member in content):
        if type(member) is str:
            text = member
        elif isinstance(member, (dict, list)):
            _name(member, str(key), found, place, depth + 1)
            continue
        elif member is None or isinstance(member, bool):
            continue
        else:
            text = str(member)
        known = found.get(text)
        if known is None:
            if key != "":
                found[text] = (str(key), place)
        elif key != "":
            found[text] = _with_name(known, str(key), place)


def _with_name(known: _Names, key: str, place: int) -> _Names:
    if isinstance(known, tuple):
        if known[0] == key:
            return known if known[1] == place else (key, ~_first(known[1]))
        known = {known[0]: known[1]}
    if known.get(key) != place:
        known[key] = ~_first(known[key]) if key in known else place
    return known


def _record(content: JsonValue, found: dict[str, set[float]], depth: int) -> None:
    if depth > DEEPEST:
        return
    name = _name_of(content)
    if name is not None:
        found[name].update(_numbers(content, 0))
    for member in _members(content):
        if isinstance(member, (dict, list)):
            _record(member, found, depth + 1)


def _titles(content: JsonValue, found: dict[str, None], depth: int) -> None:
    """The names of things below, in order."""
    if depth > DEEPEST:
        return
    for member in _members(content):
        if isinstance(member, (dict, list)):
            _titles(member, found, depth + 1)
    name = _name_of(content)
    if name is not None:
        found[name] = None


def _may_name(node: Node) -> bool:
    """False where the result names nothing, as can be seen of a text without reading it."""
    text = node.result
    return not isinstance(text, str) or '"name"' in text or '"title"' in text or "\\" in text


def _members(content: JsonValue) -> Iterable[JsonValue]:
    return content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()


def _name_of(content: JsonValue) -> str | None:
    """What a thing is called, in small letters."""
    name = content.get("name", content.get("title")) if isinstance(content, dict) else None
    return name.casefold() if isinstance(name, str) and _SHORTEST <= len(name) <= _LONGEST_NAME else None


def _numbers(content: JsonValue, depth: int) -> set[float]:
    if isinstance(content, (dict, list)) and depth < DEEPEST:
        members = content.values() if isinstance(content, dict) else content
        return {number for member in members for number in _numbers(member, depth + 1)}
    return {float(content)} if isinstance(content, (int, float)) and not isinstance(content, bool) else set()
