"""`Dialect` recognises and reads the spans of one other instrumentation; `SpanReader` is a span while it is read.

Law: a value is taken only if it has the expected type (`codec.fields`; a number may be written as text).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, Final, TypeVar

from llmtrace.codec import fields, json_text
from llmtrace.model import Event, JsonValue, Operation, RawSpan

T = TypeVar("T")
_MAX_DIGITS = 7
_TEXTS: Final = frozenset({"role", "name", "id", "tool_call_id", "finish_reason"})
"""Members of messages and tools that are always text."""


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
        Replace ``reader.raw`` for a span that loses its trace id on the way, or gets the status of another span.
        """
        raise NotImplementedError


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

    def seconds(self, *keys: str) -> float | None:
        return self._take(fields.as_seconds, keys)

    def amount(self, *keys: str) -> float | None:
        return self._take(fields.as_amount, keys)

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
        return json_text.parsed(self.rest.pop(key, None))

    def rename(self, names: Mapping[str, str]) -> None:
        """Rename attributes. A new name that is in use stays as it is; if both values are equal, the old one is dropped."""
        for old, new in names.items():
            if old in self.rest and self.rest.get(new, self.rest[old]) == self.rest[old]:
                self.rest[new] = self.rest.pop(old)

    def drop(self, *keys: str) -> None:
        for key in keys:
            self.rest.pop(key, None)

    def numbered(self, prefix: str, names: Set[str] = frozenset()) -> list[dict[str, Any]]:
        """Remove the attributes of a list of objects (``prefix.0.role``, ``prefix.0.text`` …) and return it.

        ``names``: of messages or tools, only those that have one of these names as a step; default, all.
        """
        tree: dict[str, Any] = {}
        keys = [key for key in self.rest if key.startswith(prefix)]
        for key in sorted(keys, key=lambda key: key.count("."), reverse=True):  # members before their object
            *steps, last = key[len(prefix) :].split(".")
            if not steps or not _is_place(steps[0]) or (names and names.isdisjoint((*steps, last))):
                continue
            node = tree
            for step in steps:
                node = node.setdefault(step, {})
            if last not in node and not (names and last in _TEXTS and not fields.as_text(self.rest[key])):
                node[last] = self.rest.pop(key)
        items = _with_lists(tree)
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _is_place(step: str) -> bool:
    """Return True for the place of an item in a list."""
    return step.isdecimal() and len(step) < _MAX_DIGITS


def _with_lists(tree: Any) -> Any:
    """Turn dicts with numbers as keys into lists."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(map(_is_place, tree)):
        return [_with_lists(tree[step]) for step in sorted(tree, key=int)]
    return {step: _with_lists(member) for step, member in tree.items()}


def parse_text(value: JsonValue) -> JsonValue:
    """Parse like `json_text.parsed`, and also turn the JSON text of a string into that string."""
    if isinstance(value, str) and len(value) > 1 and value[0] == '"' == value[-1]:
        values = json_text.parsed(f"[{value}]")
        return values[0] if isinstance(values, list) and len(values) == 1 else value
    return json_text.parsed(value)


def stem(name: str) -> str:
    """Return a span's name without the method at its end: ``look_up`` for ``look_up.__call__``."""
    first, _, method = name.rpartition(".")
    return first if first and method.replace("_", "").isalpha() and method.islower() else name
