"""What results say of each identified thing, and which part of a text speaks of it.

A record is an object of a result that has an identifier: a member whose name says so. What it says of it is its scalars, and
those of the objects within it that are no records themselves. Records are of one kind where their identifiers go by one name.
Law: every result is read once, and no more than a bounded number of records.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.sightings import DEEPEST, is_date, is_word, shape
from llmtrace.lineage.forms import numbers_in, occurs
from llmtrace.model import JsonValue

_IDENTIFIES = re.compile(r"(?:^|[_\W]|(?<=[a-z]))(?:id|ID|Id|number|key|code|reference)$")
_WORD = re.compile(r"#?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_TOKEN = re.compile(r"[^\W_]+")
_TIME = re.compile(r"(\d\d:\d\d):\d\d")
_ITEM = re.compile(r"[ \t]*(?:[-*•]|\d+[.)])\s")
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n|\Z")
_PARAGRAPH_END = re.compile(r"\n\s*\n|\Z")
_LONGEST = 40
_LONGEST_READ = 10_000
_MOST_RECORDS = 4_000
_MOST_KIN = 200
_MOST_NAMED = 60


def identifies(name: str) -> bool:
    """True if a member of this name, or the elements of a list of this name, identify something."""
    return _IDENTIFIES.search(name.removesuffix("s")) is not None


@dataclass(slots=True)
class Kind:
    """The things that are identified by members of one name."""

    said: dict[str, dict[str, int]] = field(default_factory=dict)
    """By identifier what is said of it, each with the place of the result that said so first."""
    holders: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By what is said the identifiers of which it is, a bounded number of them."""

    def of(self, identifier: str, place: int) -> set[str]:
        """What was said of it before this place."""
        return {said for said, at in self.said.get(identifier, {}).items() if at < place}


class Descriptions:
    def __init__(self, flow: Flow) -> None:
        self.kinds: dict[str, Kind] = {}
        self._by_token: dict[str, set[str]] = defaultdict(set)
        self._left = _MOST_RECORDS
        for node in flow.nodes:
            if node.kind == "call" and isinstance(node.structure, (dict, list)) and self._left > 0:
                self._read(node.structure, node.place, 0)

    def _read(self, content: JsonValue, place: int, depth: int) -> None:
        if depth > DEEPEST or self._left <= 0:
            return
        if isinstance(content, dict):
            named = [(name, value) for name, value in content.items() if _is_identifier(name, value)]
            if named:
                self._left -= 1
                self._add(named, dict.fromkeys(_said(content, 0)), place)
        for member in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
            if isinstance(member, (dict, list)):
                self._read(member, place, depth + 1)

    def _add(self, named: list[tuple[str, JsonValue]], said: dict[str, None], place: int) -> None:
        for text in said:
            token = _TOKEN.search(text)
            if token is not None:
                self._by_token[token.group()].add(text)
        for name, value in named:
            kind, identifier = self.kinds.setdefault(name, Kind()), str(value)
            own = kind.said.setdefault(identifier, {})
            for text in said:
                if text not in own and text != identifier.casefold():
                    own[text] = place
                    if len(kind.holders[text]) < _MOST_KIN:
                        kind.holders[text].append(identifier)

    def said_in(self, text: str) -> set[str]:
        """What results say of anything and this text says too."""
        text = text[:_LONGEST_READ].casefold()
        numbers = {written(number) for number in numbers_in(text)}
        tokens = set(_TOKEN.findall(text))
        found = {one for token in tokens for one in self._by_token.get(token, ()) if occurs(one, text)}
        return found | numbers

    def rivals(self, kind: Kind, identifier: str, said: set[str], place: int) -> Iterator[tuple[str, set[str], set[str]]]:
        """Other things of the kind of which something is said that is not said of this one: each with that, and with what is
        said of this one only. The one with the most comes first."""
        own = kind.of(identifier, place)
        mine = said & own
        counts = Counter(
            other for one in sorted(said - own) for other in kind.holders.get(one, ()) if kind.said[other][one] < place
        )
        for other, _ in counts.most_common(_MOST_KIN):
            theirs = kind.of(other, place)
            yield other, (said & theirs) - own, mine - theirs


def written(number: float) -> str:
    """A number as records say it, whatever its sign."""
    return f"{abs(number):.10g}"


def _is_identifier(name: str, value: JsonValue) -> bool:
    return isinstance(value, str) and _IDENTIFIES.search(name) is not None and is_word(value) and not is_date(value)


def _said(content: dict[str, JsonValue], depth: int) -> Iterator[str]:
    for member in content.values():
        if isinstance(member, dict) and depth <= 1:
            if not any(_is_identifier(name, value) for name, value in member.items()):
                yield from _said(member, depth + 1)
        elif isinstance(member, str) and 1 < len(member) <= _LONGEST:
            time = _TIME.fullmatch(member)
            yield time.group(1) if time else member.casefold()
        elif isinstance(member, (int, float)) and not isinstance(member, bool):
            yield written(member)


# -- which part of a text speaks of a thing


def passages(text: str) -> list[tuple[str, str]]:
    """The identifiers of a text, each with the longest part (a line, an item of a list, a sentence, a paragraph) that names no
    other of its form. Those that no part has for itself are left out."""
    text = text[:_LONGEST_READ]
    words = [match for match in _WORD.finditer(text) if is_word(match.group())][:_MOST_NAMED]
    parts = sorted(set(_parts(text)), key=lambda part: part[0] - part[1]) if words else []
    named = [(match, shape(match.group())) for match in words]
    found: dict[tuple[str, int, int], None] = {}
    for match, form in named:
        for start, end in parts:
            if start <= match.start() and match.end() <= end:
                within = {other.group() for other, like in named if like == form and start <= other.start() < end}
                if len(within) == 1:
                    found[match.group(), start, end] = None
                    break
    return [(identifier, text[start:end]) for identifier, start, end in found]


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Lines, items of lists with what is indented below them, sentences and paragraphs."""
    open_items: list[tuple[int, int]] = []
    at = 0
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        while open_items and (open_items[-1][0] >= indent or not line.strip()):
            yield open_items.pop()[1], at
        if line.strip():
            yield at, at + len(line)
            if _ITEM.match(line):
                open_items.append((indent, at))
        at += len(line) + 1
    yield from ((start, len(text)) for _, start in open_items)
    for end_of in (_SENTENCE_END, _PARAGRAPH_END):
        start = 0
        for match in end_of.finditer(text):
            yield start, match.end()
            start = match.end()
