"""Cleaning of single values: names, texts, JSON documents, attributes. Redacted first, then cut to the limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, TypeVar

from llmtrace.content.redaction import Redactor
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.truncation import fit, fit_text
from llmtrace.model import JsonValue, replace

T = TypeVar("T")

WIDEST = 6
"""Bytes of JSON that one character may take: a text of a sixth of the limit fits without a closer look."""
_MAX_NAMES = 4096
_LONGEST_NAME = 256
_DECLARED = re.compile(r"[\w$./-]{0,128}", re.ASCII)


class Values:
    """What the cleaning of messages and of spans shares. ``limit``: bytes of JSON that one attribute may have."""

    def __init__(self, redactor: Redactor, limit: int) -> None:
        self.redactor = redactor
        self.limit = limit
        self._names: dict[str, str] = {}

    def name(self, name: str, stats: RedactionStats) -> str:
        """A name (of a span, a tool, a model); the same object where it is clean."""
        made = self._names.get(name)
        if made is None:
            made = self.redactor.in_name(name, RedactionStats())
            if len(self._names) < _MAX_NAMES and len(name) <= _LONGEST_NAME:
                self._names[name] = made
        if made is name or made == name:
            return name
        stats.redacted += 1
        return made

    def said_name(self, name: str, stats: RedactionStats) -> str:
        """A name that a model may have made up: one that no program would give is a text, and read as such."""
        return self.name(name, stats) if _DECLARED.fullmatch(name) else self.text(name, stats)

    def optional_name(self, name: str | None, stats: RedactionStats) -> str | None:
        return name and self.said_name(name, stats)

    def text(self, text: str, stats: RedactionStats) -> str:
        made = self.redactor.in_text(text, stats)
        if len(made) * WIDEST > self.limit:
            made, cut = fit_text(made, self.limit)
            stats.cut += cut
        return made

    def document(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        """Arguments, a result, documents: one JSON value."""
        before = stats.size
        made = self.redactor.in_document(value, stats)
        return self.fitted(made, stats) if (stats.size - before) * WIDEST > self.limit else made

    def fitted(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        made, cut = fit(value, self.limit)
        stats.cut += cut
        return made

    def attributes(self, attributes: Mapping[str, JsonValue], stats: RedactionStats) -> Mapping[str, JsonValue]:
        """Attributes of a span, event, link or resource. Each value has the limit for itself."""
        if self.redactor.broken:  # not even what the user put there can be trusted to be clean
            return {name: item for name, item in attributes.items() if isinstance(item, (bool, int, float))}
        before = stats.size
        made: Any = self.redactor.in_value(attributes, stats)
        if (stats.size - before) * WIDEST > self.limit and isinstance(made, dict):
            fitted = {name: self.fitted(item, stats) for name, item in made.items()}
            made = made if all(fitted[name] is item for name, item in made.items()) else fitted
        return mapping(made, attributes)


def mapping(made: Any, before: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """What was an object stays one, even where all of it had to be cut or could not be redacted."""
    kept: Mapping[str, JsonValue] = made if made is before or isinstance(made, Mapping) else {"…": made}
    return kept


def changed(owner: T, **fields: Any) -> T:
    """The owner with those fields that differ; itself where none does."""
    fields = {name: new for name, new in fields.items() if new is not getattr(owner, name)}
    return replace(owner, **fields) if fields else owner


def each(items: tuple[T, ...], change: Callable[[T], T]) -> tuple[T, ...]:
    """All items changed; the same tuple where each came back as it was."""
    made = tuple([change(item) for item in items])
    return items if all(map(is_, made, items)) else made
