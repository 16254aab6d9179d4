"""Writing of messages, system instructions and tool definitions, cleaned.

Law: each message and definition is cleaned and written once; the result is kept in its ``cache``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llmtrace.codec import messages as codec
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

    __slots__ = ("bytes", "clean", "redacted", "secrets", "size", "text")

    def __init__(self, clean: Any, text: str, redacted: int, size: int, secrets: Sequence[str] = ()) -> None:
        self.clean = clean
        """The cleaned copy; None if the original is clean (a reference to it would be a cycle through its cache)."""
        self.text = text
        """JSON."""
        self.redacted = redacted
        self.size = size
        self.secrets = secrets
        """Removed values, which the rest of the span must not repeat."""
        self.bytes: int | None = None
        """Bytes of JSON. Measured only when the conversation comes near the limit."""


class Messages:
    """Writes messages, system instructions and tool definitions, cleaned by the rules of ``values``."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._redactor = values.redactor
        self._limit = values.limit

    def messages(self, items: tuple[Message, ...], stats: RedactionStats) -> tuple[str, bool]:
        """Return the messages as JSON text, and True if something was changed in them."""
        text, size, is_changed = self._write_all(items, self._message, stats)
        if size * WIDEST > self._limit:
            results = [self._message(message) for message in items]
            clean = tuple([_clean_of(message, result) for message, result in zip(items, results, strict=True)])
            shortened = self._truncate_messages(clean, results, stats)
            if shortened is not clean:
                return codec.write_messages(shortened), True
        return text, is_changed

    def _write_all(self, items: tuple[T, ...], read: Callable[[Any], _Cleaned], stats: RedactionStats) -> tuple[str, int, bool]:
        """Return the items as JSON text, their size together, and True if something was changed in them."""
        size, is_changed = 0, False
        texts: list[str] = []
        for item in items:
            cache = item.cache
            result = (cache and cache.get(self)) or read(item)
            texts.append(result.text)
            size += result.size
            if result.clean is not None:
                is_changed = True
                stats.redacted += result.redacted
                stats.remember(result.secrets)
        return f"[{','.join(texts)}]", size, is_changed

    def _message(self, message: Message) -> _Cleaned:
        if message.cache is not None and self in message.cache:
            known: _Cleaned = message.cache[self]
            return known
        stats = RedactionStats()
        parts = map_items(message.parts, lambda part: self.part(part, stats))
        role = self._values.name(message.role, stats)
        name = self._values.optional_free_name(message.name, stats)
        same = parts is message.parts and role is message.role and name is message.name
        cleaned = message if same else replace(message, parts=parts, role=role, name=name, cache=None)
        size = stats.size + len(role) + _PART * (len(parts) + 1)
        return self._store_result(message, cleaned, codec.write_message, stats, size)

    def _store_result(self, owner: T, cleaned: T, write: Callable[[T], str], stats: RedactionStats, size: int) -> _Cleaned:
        """Keep the result in the cache of the original."""
        if cleaned is owner:
            result = _Cleaned(None, write(owner), 0, size)
        else:
            result = _Cleaned(cleaned, write(cleaned), stats.redacted, size, stats.secrets)
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

    def parts(self, parts: tuple[Part, ...], stats: RedactionStats) -> str:
        """Return system instructions that are separate from the messages as JSON text."""
        before = stats.size
        cleaned = map_items(parts, lambda part: self.part(part, stats))
        if (stats.size - before + _PART * len(parts)) * WIDEST > self._limit:
            message = Message("system", cleaned)
            (shortened,), cut = fit_messages((message,), (message_size(message),), self._limit)
            stats.cut += cut
            cleaned = shortened.parts if cut else cleaned
        return codec.write_parts(cleaned)

    def part(self, part: Part, stats: RedactionStats) -> Part:
        """Redact a part and replace its inline bytes. Returns the same object if nothing had to be changed."""
        if isinstance(part, (Text, Reasoning, Compaction)):
            content = part.content
            redacted = self._redactor.in_text(content, stats) if content else content
            return part if redacted is content else replace(part, content=redacted)
        if isinstance(part, ToolCall):
            name, arguments = self._values.free_name(part.name, stats), self._redactor.in_document(part.arguments, stats)
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
            new: Any = self._values.free_name(old, stats) if read == "name" else getattr(self._redactor, read)(old, stats)
            if name in _OBJECTS and not isinstance(new, dict):
                new = {"…": new}
            if new is not old:
                fields[name] = new
        return replace(part, **fields) if fields else part

    # -- tools

    def definitions(self, tools: tuple[ToolDefinition, ...], stats: RedactionStats) -> str:
        """Return tool definitions as JSON text."""
        text, size, _ = self._write_all(tools, self._definition, stats)
        if size * WIDEST <= self._limit:
            return text
        clean = [_clean_of(tool, self._definition(tool)) for tool in tools]
        return codec.write_definitions([_truncate_definition(tool, self._limit // len(clean), stats) for tool in clean])

    def definition(self, tool: ToolDefinition, stats: RedactionStats) -> tuple[str, str | None]:
        """Return the list with this definition as JSON text, and its description."""
        text, size, _ = self._write_all((tool,), self._definition, stats)
        clean = _clean_of(tool, self._definition(tool))
        if size * WIDEST <= self._limit:
            return text, clean.description
        clean = _truncate_definition(clean, self._limit, stats)
        return codec.write_definitions((clean,)), clean.description

    def _definition(self, tool: ToolDefinition) -> _Cleaned:
        if tool.cache is not None and self in tool.cache:
            known: _Cleaned = tool.cache[self]
            return known
        stats = RedactionStats()
        cleaned = changed(
            tool,
            name=self._values.name(tool.name, stats),
            description=tool.description and self._redactor.in_text(tool.description, stats),
            parameters=self._redactor.in_value(tool.parameters, stats),
            output=self._redactor.in_value(tool.output, stats),
        )
        cleaned = cleaned if cleaned is tool else replace(cleaned, cache=None)
        return self._store_result(tool, cleaned, codec.write_definition, stats, stats.size + 2 * _PART)


def _clean_of(item: T, result: _Cleaned) -> T:
    clean: T = item if result.clean is None else result.clean
    return clean


def _truncate_definition(tool: ToolDefinition, limit: int, stats: RedactionStats) -> ToolDefinition:
    cut = 0
    changes: dict[str, Any] = {}
    for name, room in (("description", limit // 4), ("parameters", limit // 2), ("output", limit // 4)):
        changes[name], gone = fit(getattr(tool, name), room)
        cut += gone
    stats.cut += cut
    return replace(tool, **changes, cache=None) if cut else tool


_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {
    Uri: (("uri", "in_text"),),
    ServerToolCall: (("name", "name"), ("server_tool_call", "in_value")),
    ServerToolResult: (("server_tool_call_response", "in_value"),),
    Generic: (("fields", "in_value"),),
}
"""Fields of a part that hold content, and how each is cleaned."""
_OBJECTS = frozenset({"server_tool_call", "server_tool_call_response", "fields"})
