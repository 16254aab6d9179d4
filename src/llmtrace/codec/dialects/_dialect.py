"""`Dialect` recognises and reads the spans of one other instrumentation; `SpanReader` is a span while it is read.

Law: a value is taken only if it has the expected type (`codec.fields`; a number may be written as text).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from llmtrace.codec import fields, json_text
from llmtrace.model import Event, JsonValue, Operation, RawSpan

T = TypeVar("T")


class Dialect:
    """Reads the spans of one other instrumentation. Derive from it, set ``name`` and ``marks``, define `read`."""

    name: str
    marks: frozenset[str]
    """Names of attributes, events and spans. Every span that the dialect knows has at least one of them, so that a database
    can tell which spans no dialect knows."""

    def knows(self, raw: RawSpan) -> bool:
        """Return True if the span is written in this dialect. Called for every span, so it must be cheap.

        Default: one of its attributes is among ``marks``.
        """
        return not self.marks.isdisjoint(raw.attributes)

    def read(self, reader: SpanReader) -> Operation | None:
        """Return the span's operation, and remove the attributes and events that describe it from the reader.

        Return None if the GenAI conventions' names describe it, after renaming attributes in ``reader.rest`` if necessary.
        """
        raise NotImplementedError

    def place(self, raw: RawSpan) -> RawSpan:
        """Return the span with its correct trace id, parent and status.

        Override it for spans that lose their trace id on the way, or get the status of another span.
        """
        return raw


class SpanReader:
    """A span while a dialect reads it. ``rest`` and ``events`` hold the attributes and events that are not read yet."""

    def __init__(self, raw: RawSpan) -> None:
        self.raw = raw
        self.rest: dict[str, JsonValue] = dict(raw.attributes)
        self.events: list[Event] = list(raw.events)

    def text(self, *keys: str) -> str | None:
        """Remove and return the first of these attributes that is non-empty text."""
        return self._take(lambda value: value if isinstance(value, str) and value else None, keys)

    def count(self, *keys: str) -> int | None:
        """Remove and return the first of these attributes that is a whole number."""
        return self._take(fields.as_count, keys)

    def number(self, *keys: str) -> float | None:
        return self._take(fields.as_number, keys)

    def object(self, *keys: str) -> dict[str, JsonValue] | None:
        """Remove and return the first of these attributes that is a JSON object, as text or structured."""
        return self._take(fields.as_object, keys)

    def _take(self, read: Callable[[JsonValue], T | None], keys: tuple[str, ...]) -> T | None:
        for key in keys:
            value = read(self.rest.get(key))
            if value is not None:
                del self.rest[key]
                return value
        return None

    def json(self, key: str) -> JsonValue:
        """Remove an attribute and return its value, parsed if it is the text of an object or list. None if it is missing."""
        return parsed(self.rest.pop(key, None))

    def rename(self, names: Mapping[str, str]) -> None:
        """Rename attributes. A new name that is in use stays as it is; if both values are equal, the old one is dropped."""
        for old, new in names.items():
            if old in self.rest and self.rest.get(new, self.rest[old]) == self.rest[old]:
                self.rest[new] = self.rest.pop(old)

    def drop(self, *keys: str) -> None:
        for key in keys:
            self.rest.pop(key, None)

    def nested(self, prefix: str) -> Node:
        """Return the attributes with this prefix as a tree, split at the dots in their names."""
        root = Node(self)
        for key in [key for key in self.rest if key.startswith(prefix)]:
            node = root
            for step in key[len(prefix) :].split("."):
                node = node.members.setdefault(step, Node(self))
            node.key = key
        return root


class Node:
    """A node in the tree of attributes whose names are split at the dots. Values that are read are removed from the reader."""

    __slots__ = ("_reader", "key", "members")

    def __init__(self, reader: SpanReader) -> None:
        self._reader = reader
        self.key: str | None = None
        self.members: dict[str, Node] = {}

    def at(self, *path: str) -> Node | None:
        node: Node | None = self
        for step in path:
            node = node.members.get(step) if node is not None else None
        return node

    def items(self, *path: str) -> list[Node]:
        """Return the members of a numbered list, in order."""
        node = self.at(*path)
        if node is None:
            return []
        numbers = [step for step in node.members if step.isdecimal() and len(step) < 7]
        return [node.members[step] for step in sorted(numbers, key=int)]

    def value(self, *path: str) -> JsonValue:
        node = self.at(*path)
        return None if node is None or node.key is None else self._reader.rest.pop(node.key, None)

    def text(self, *path: str) -> str | None:
        node = self.at(*path)
        return None if node is None or node.key is None else self._reader.text(node.key)

    def everything(self) -> Any:
        """Return all values of this node and below, as dicts and lists."""
        if not self.members:
            return self.value()
        if all(step.isdecimal() for step in self.members):
            return [node.everything() for node in self.items()]
        return {step: node.everything() for step, node in self.members.items()}


def parsed(value: JsonValue) -> JsonValue:
    """Parse text that is a JSON object or list; return any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json_text.read(value)
    except ValueError:
        return value


def parse_text(value: JsonValue) -> JsonValue:
    """Parse like `parsed`, and also turn the JSON text of a string into that string."""
    if isinstance(value, str) and len(value) > 1 and value[0] == '"' == value[-1]:
        values = parsed(f"[{value}]")
        return values[0] if isinstance(values, list) and len(values) == 1 else value
    return parsed(value)


def stem(name: str) -> str:
    """Return a span's name without the method at its end: ``look_up`` for ``look_up.__call__``."""
    first, _, method = name.rpartition(".")
    return first if first and method.replace("_", "").isalpha() and method.islower() else name
