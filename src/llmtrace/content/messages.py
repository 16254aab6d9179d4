"""Cleaning of messages and tool definitions.

Law: each is cleaned once; the result is kept in its ``cache``. A cleaned copy gets a cache of its own, because values derived
from the raw one must not leave with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llmtrace.content.blobs import without_bytes
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.truncation import fit, fit_messages, message_size
from llmtrace.content.values import WIDEST, Values, changed, map_items
from llmtrace.model import (
    Blob,
    Compaction,
    Generic,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    replace,
)

T = TypeVar("T", Message, ToolDefinition)

_PART = 32
"""Characters that a part counts for, beside its texts."""


class _Cleaned:
    """Result of cleaning one message or definition."""

    __slots__ = ("bytes", "clean", "redacted", "secrets", "size")

    def __init__(self, clean: Any, redacted: int, size: int, secrets: Sequence[str] = ()) -> None:
        self.clean = clean
        """The cleaned copy; None if the original is clean (a reference to it would be a cycle through its cache)."""
        self.redacted = redacted
        self.size = size
        self.secrets = secrets
        """Removed values, which the rest of the span must not repeat."""
        self.bytes: int | None = None
        """Bytes of JSON. Measured only when the conversation comes near the limit."""


class Messages:
    """Cleans messages, system instructions and tool definitions by the rules of ``values``."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._redactor = values.redactor
        self._limit = values.limit

    def messages(self, messages: tuple[Message, ...], stats: RedactionStats) -> tuple[Message, ...]:
        clean, results, size = self._clean_all(messages, self._message, stats)
        return clean if size * WIDEST <= self._limit else self._truncate_messages(clean, results, stats)

    def _clean_all(
        self, items: tuple[T, ...], read: Callable[[Any], _Cleaned], stats: RedactionStats
    ) -> tuple[tuple[T, ...], list[_Cleaned], int]:
        """Return the cleaned items, the result of each, and their size together."""
        size = 0
        cleaned: list[T] | None = None
        results: list[_Cleaned] = []
        for index, item in enumerate(items):
            cache = item.cache
            result = (cache and cache.get(self)) or read(item)
            results.append(result)
            size += result.size
            if result.clean is not None:
                stats.redacted += result.redacted
                stats.remember(result.secrets)
                cleaned = cleaned or list(items)
                cleaned[index] = result.clean
        return items if cleaned is None else tuple(cleaned), results, size

    def _message(self, message: Message) -> _Cleaned:
        stats = RedactionStats()
        parts = map_items(message.parts, lambda part: self.part(part, stats))
        role = self._values.name(message.role, stats)
        name = self._values.optional_untrusted_name(message.name, stats)
        same = parts is message.parts and role is message.role and name is message.name
        cleaned = message if same else replace(message, parts=parts, role=role, name=name)
        return self._store_result(message, cleaned, stats, stats.size + len(role) + _PART * (len(parts) + 1))

    def _store_result(self, owner: Message | ToolDefinition, cleaned: Any, stats: RedactionStats, size: int) -> _Cleaned:
        """Keep the result in the caches of the original and of the cleaned copy."""
        result = _Cleaned(None, 0, size)
        if cleaned is not owner:
            result = _Cleaned(replace(cleaned, cache={self: result}), stats.redacted, size, stats.secrets)
        if owner.cache is not None:
            owner.cache[self] = result
        return result

    def _truncate_messages(
        self, messages: tuple[Message, ...], results: Sequence[_Cleaned], stats: RedactionStats
    ) -> tuple[Message, ...]:
        for message, result in zip(messages, results, strict=True):
            if result.bytes is None:
                result.bytes = message_size(message)
        sizes = [result.bytes or 0 for result in results]
        if sum(sizes) <= self._limit:
            return messages
        shortened, cut = fit_messages(messages, sizes, self._limit)
        stats.cut += cut
        return shortened

    def system(self, parts: tuple[Part, ...], stats: RedactionStats) -> tuple[Part, ...]:
        """Clean system instructions that are separate from the messages."""
        before = stats.size
        cleaned = map_items(parts, lambda part: self.part(part, stats))
        if (stats.size - before + _PART * len(parts)) * WIDEST <= self._limit:
            return cleaned
        message = Message("system", cleaned)
        (shortened,), cut = fit_messages((message,), (message_size(message),), self._limit)
        stats.cut += cut
        return shortened.parts if cut else cleaned

    def part(self, part: Part, stats: RedactionStats) -> Part:
        """Redact a part and replace its inline bytes. Returns the same object if nothing had to be changed."""
        if isinstance(part, (Text, Reasoning, Compaction)):
            content = part.content
            redacted = self._redactor.in_text(content, stats) if content else content
            return part if redacted is content else replace(part, content=redacted)
        if isinstance(part, ToolCall):
            name, arguments = self._values.untrusted_name(part.name, stats), self._redactor.in_document(part.arguments, stats)
            return part if name is part.name and arguments is part.arguments else ToolCall(name, arguments, part.id)
        if isinstance(part, ToolResult):
            response = self._redactor.in_document(part.response, stats)
            return part if response is part.response else ToolResult(response, part.id)
        if isinstance(part, (Blob, Uri)):
            part = without_bytes(part)
        fields: dict[str, Any] = {}
        for name, read in _FIELDS.get(type(part), ()):
            old = getattr(part, name)
            if old is None:
                continue
            new: Any = self._values.untrusted_name(old, stats) if read == "name" else getattr(self._redactor, read)(old, stats)
            if name in _OBJECTS and not isinstance(new, dict):
                new = {"…": new}
            if new is not old:
                fields[name] = new
        return replace(part, **fields) if fields else part

    # -- tools

    def definitions(self, tools: tuple[ToolDefinition, ...], stats: RedactionStats) -> tuple[ToolDefinition, ...]:
        clean, _, size = self._clean_all(tools, self._definition, stats)
        if size * WIDEST <= self._limit:
            return clean
        return map_items(clean, lambda tool: _truncate_definition(tool, self._limit // len(clean), stats))

    def definition(self, tool: ToolDefinition, stats: RedactionStats) -> ToolDefinition:
        return self.definitions((tool,), stats)[0]

    def _definition(self, tool: ToolDefinition) -> _Cleaned:
        stats = RedactionStats()
        cleaned = changed(
            tool,
            name=self._values.name(tool.name, stats),
            description=tool.description and self._redactor.in_text(tool.description, stats),
            parameters=self._redactor.in_value(tool.parameters, stats),
            output=self._redactor.in_value(tool.output, stats),
        )
        return self._store_result(tool, cleaned, stats, stats.size + 2 * _PART)


def _truncate_definition(tool: ToolDefinition, limit: int, stats: RedactionStats) -> ToolDefinition:
    cut = 0
    changes: dict[str, Any] = {}
    for name, room in (("description", limit // 4), ("parameters", limit // 2), ("output", limit // 4)):
        changes[name], gone = fit(getattr(tool, name), room)
        cut += gone
    stats.cut += cut
    return replace(tool, **changes, cache={}) if cut else tool


_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {
    Uri: (("uri", "in_text"),),
    ServerToolCall: (("name", "name"), ("server_tool_call", "in_value")),
    ServerToolResult: (("server_tool_call_response", "in_value"),),
    Generic: (("fields", "in_value"),),
}
"""Fields of a part that hold content, and how each is cleaned."""
_OBJECTS = frozenset({"server_tool_call", "server_tool_call_response", "fields"})
