"""Cleaning of single values: names, texts, JSON documents, attributes. They are redacted first, then truncated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, TypeVar

from llmtrace.content.redaction import Redactor
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.truncation import fit, fit_text
from llmtrace.model import JsonValue, replace
from llmtrace.text.patterns import lazy_pattern

T = TypeVar("T")

WIDEST = 6
"""Bytes of JSON that one character may take at most: a text of up to limit / 6 characters always fits."""
_MAX_NAMES = 4096
_LONGEST_NAME = 256
_DECLARED = lazy_pattern(r"[\w$./-]{0,128}", re.ASCII)


class Values:
    """Cleans single values, for messages and for spans. ``limit``: bytes of JSON that one attribute may have."""

    def __init__(self, redactor: Redactor, limit: int) -> None:
        self.redactor = redactor
        self.limit = limit
        self._names: dict[str, str] = {}

    def name(self, name: str, stats: RedactionStats) -> str:
        """Redact a name (of a span, a tool, a model). Returns the same object if it is clean."""
        cleaned = self._names.get(name)
        if cleaned is None:
            cleaned = self.redactor.in_name(name, RedactionStats())
            if len(self._names) < _MAX_NAMES and len(name) <= _LONGEST_NAME:
                self._names[name] = cleaned
        if cleaned is name or cleaned == name:
            return name
        stats.redacted += 1
        return cleaned

    def free_name(self, name: str, stats: RedactionStats) -> str:
        """Redact a name that a model may have invented. If it does not look like a declared name, it is cleaned as text."""
        return self.name(name, stats) if _DECLARED.fullmatch(name) else self.text(name, stats)

    def optional_free_name(self, name: str | None, stats: RedactionStats) -> str | None:
        return name and self.free_name(name, stats)

    def text(self, text: str, stats: RedactionStats) -> str:
        cleaned = self.redactor.in_text(text, stats)
        if len(cleaned) * WIDEST > self.limit:
            cleaned, cut = fit_text(cleaned, self.limit)
            stats.cut += cut
        return cleaned

    def document(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        """Clean one JSON value: arguments, a result, documents."""
        before = stats.size
        cleaned = self.redactor.in_document(value, stats)
        return self.truncated(cleaned, stats) if (stats.size - before) * WIDEST > self.limit else cleaned

    def truncated(self, value: JsonValue, stats: RedactionStats) -> JsonValue:
        shortened, cut = fit(value, self.limit)
        stats.cut += cut
        return shortened

    def attributes(self, attributes: Mapping[str, JsonValue], stats: RedactionStats) -> Mapping[str, JsonValue]:
        """Clean the attributes of a span, event, link or resource. The limit holds for each value."""
        if self.redactor.broken:  # texts that the user put there may hold secrets too
            return {name: item for name, item in attributes.items() if isinstance(item, (bool, int, float))}
        before = stats.size
        cleaned: Any = self.redactor.in_value(attributes, stats)
        if (stats.size - before) * WIDEST > self.limit and isinstance(cleaned, dict):
            truncated = {name: self.truncated(item, stats) for name, item in cleaned.items()}
            cleaned = cleaned if all(truncated[name] is item for name, item in cleaned.items()) else truncated
        return mapping(cleaned, attributes)


def mapping(cleaned: Any, before: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return ``cleaned`` as an object, even if cleaning replaced the whole object by a text."""
    cleaned_mapping: Mapping[str, JsonValue] = cleaned if cleaned is before or isinstance(cleaned, Mapping) else {"…": cleaned}
    return cleaned_mapping


def changed(owner: T, **fields: Any) -> T:
    """Return a copy of ``owner`` with the fields that differ, or ``owner`` itself if none does."""
    fields = {name: new for name, new in fields.items() if new is not getattr(owner, name)}
    return replace(owner, **fields) if fields else owner


def map_items(items: tuple[T, ...], change: Callable[[T], T]) -> tuple[T, ...]:
    """Apply ``change`` to all items. Returns the same tuple if no item changed."""
    changed_items = tuple([change(item) for item in items])
    return items if all(map(is_, changed_items, items)) else changed_items
