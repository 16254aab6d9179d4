"""Truncation that keeps JSON valid and says how much was cut.

Long texts keep their head and tail, long lists their first and last items, long objects their first and last members. A
conversation keeps its system prompt and its newest message. The oldest messages between them are emptied first (role and
position stay), and left out only if that is not enough. Law: the result has at most ``limit`` bytes of JSON, and the second
value returned counts the characters that were cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pydantic_core

from llmtrace.model import (
    Compaction,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Uri,
    replace,
)

_MARK = 64
"""Bytes that a cut mark may take."""
_LEAST = 128
"""Bytes of an item at least; an item that would have to be shorter is left out."""
_PART = 48
"""Bytes of a part beside its content: its type and punctuation."""
_MESSAGE = 64


def cut_mark(characters: int) -> str:
    return f"…[cut {characters} characters]…"


def json_size(value: object) -> int:
    """Return the bytes of ``value`` as compact JSON."""
    try:
        return len(pydantic_core.to_json(value))
    except Exception:  # lone surrogates, or nested deeper than it writes
        return len(json.dumps(value, default=str))


def fit(value: JsonValue, limit: int) -> tuple[JsonValue, int]:
    """Truncate ``value`` to ``limit`` bytes of JSON (64 at least). Returns the value (same object if it fits) and the cut."""
    size = json_size(value)
    if size <= limit:
        return value, 0
    if isinstance(value, str):
        return fit_text(value, limit)
    if limit > _LEAST:
        cut: tuple[JsonValue, int] = (None, size)
        if isinstance(value, list):
            cut = _fit_list(value, limit, size)
        elif isinstance(value, dict):
            cut = _fit_dict(value, limit)
        if cut[0] is not None and json_size(cut[0]) <= limit:
            return cut
    return cut_mark(size), size


def fit_text(text: str, limit: int) -> tuple[str, int]:
    """Truncate ``text`` to ``limit`` bytes as a JSON string: its head and tail, or shorter JSON if it is JSON itself."""
    if text[:1] in ("{", "[") and (shorter := _fit_json(text, limit)) is not None:
        return shorter
    size = json_size(text)
    kept_length = len(text)
    while size > limit:
        kept_length = min(int(kept_length * max(limit - _MARK, 0) / size), kept_length - 1)
        if kept_length <= 0:
            return cut_mark(len(text)), len(text)
        head = kept_length - kept_length // 2
        shortened = text[:head] + cut_mark(len(text) - kept_length) + text[len(text) - kept_length // 2 :]
        size = json_size(shortened)
    return (shortened, len(text) - kept_length) if kept_length < len(text) else (text, 0)


def _fit_json(text: str, limit: int) -> tuple[str, int] | None:
    """Truncate a text that is JSON, as JSON. Returns None if it is not JSON or cannot be shortened enough."""
    size = json_size(text)
    if size <= limit:
        return text, 0
    try:
        value = pydantic_core.from_json(text)
        room = limit * len(text) // size  # its quotes and escapes are escaped in turn
        for _ in range(4):
            shortened = pydantic_core.to_json(fit(value, room)[0]).decode()
            if json_size(shortened) <= limit:
                return shortened, max(len(text) - len(shortened), 1)
            room = room * 3 // 4
    except (TypeError, ValueError):  # no JSON, half a surrogate pair, or nothing that can be written again
        return None
    return None


def _fit_list(items: list[JsonValue], limit: int, size: int) -> tuple[JsonValue, int]:
    """Truncate a list. ``size``: bytes of all items. In a long list only the items that fit are measured one by one."""
    measured: dict[int, int] = {}

    def size_of(index: int) -> int:
        size = measured.get(index)
        if size is None:
            size = measured[index] = json_size(items[index]) + 1
        return size

    head, tail = _kept_counts(size_of, len(items), limit - _MARK)
    chosen = [*range(head), *range(len(items) - tail, len(items))]
    sizes = [size_of(i) for i in chosen]
    fitted, cut = _fit_each([items[i] for i in chosen], sizes, limit - _MARK)
    if head + tail < len(items):
        gone = max(size - 1 - sum(sizes), len(items) - len(chosen))
        fitted.insert(head, f"…[cut {len(items) - head - tail} items, {gone} characters]…")
        cut += gone
    return fitted, cut


def _fit_dict(members: dict[str, JsonValue], limit: int) -> tuple[JsonValue, int]:
    names = list(members)
    overheads = [json_size(name) + 2 for name in names]
    sizes = [json_size(members[name]) for name in names]
    least = [a + min(b, _LEAST) for a, b in zip(overheads, sizes, strict=True)]
    head, tail = _kept_counts(least.__getitem__, len(names), limit - _MARK, least=limit)
    chosen = [*range(head), *range(len(names) - tail, len(names))]
    room = limit - _MARK - sum(overheads[i] for i in chosen)
    values, cut = _fit_each([members[names[i]] for i in chosen], [sizes[i] for i in chosen], room)
    pairs = list(zip((names[i] for i in chosen), values, strict=True))
    if head + tail < len(names):
        gone = sum(overheads[head : len(names) - tail]) + sum(sizes[head : len(names) - tail])
        pairs.insert(head, ("…", f"[cut {len(names) - head - tail} members, {gone} characters]"))
        cut += gone
    return dict(pairs), cut


def _kept_counts(size_of: Callable[[int], int], count: int, room: int, *, least: int = _LEAST) -> tuple[int, int]:
    """Return how many of ``count`` items fit from the front and from the back, if each may shrink to ``least`` bytes."""
    head, used = 0, 0
    while head < count and used + (size := min(size_of(head), least)) <= room // 2:
        used += size
        head += 1
    tail = 0
    while tail < count - head and used + (size := min(size_of(count - 1 - tail), least)) <= room:
        used += size
        tail += 1
    return (count, 0) if head + tail == count else (head, tail)


def _fit_each(items: list[JsonValue], sizes: list[int], room: int) -> tuple[list[JsonValue], int]:
    """Fit all items into ``room`` bytes: small ones stay whole, large ones are cut to equal shares."""
    share = _share(sizes, room)
    fitted_items, cut = [], 0
    for item, size in zip(items, sizes, strict=True):
        if size > share:
            item, gone = fit(item, share - 1)
            cut += gone
        fitted_items.append(item)
    return fitted_items, cut


def _share(sizes: list[int], room: int) -> int:
    """Return the largest size to which items may be cut so that all of them fit into ``room``."""
    ordered = sorted(sizes)
    for done, size in enumerate(ordered):
        share = room // (len(ordered) - done)
        if size > share:
            return share
        room -= size
    return ordered[-1] if ordered else 0


# -- messages


def message_size(message: Message) -> int:
    """Return the bytes that a message takes as JSON, at most."""
    return _MESSAGE + json_size(message.role) + sum(_PART + json_size(part) for part in message.parts)


def fit_messages(messages: Sequence[Message], sizes: Sequence[int], limit: int) -> tuple[tuple[Message, ...], int]:
    """Truncate a conversation to ``limit`` bytes. Returns it and the characters cut. ``sizes``: `message_size` of each."""
    remaining, remaining_sizes, cuts = list(messages), list(sizes), [0] * len(sizes)

    def put(index: int, message: Message, gone: int) -> None:
        remaining[index], remaining_sizes[index], cuts[index] = message, message_size(message), gone

    protected = _protected(messages)
    for index, size in enumerate(sizes):
        if size > limit // 4 and sum(remaining_sizes) > limit:
            put(index, *fit_message(messages[index], limit // 4))
    for index, message in enumerate(messages):
        if index not in protected and sum(remaining_sizes) > limit:
            put(index, *_emptied(message))
    if sum(remaining_sizes) > limit:
        for index in protected:
            put(index, *fit_message(messages[index], limit // 2 // len(protected)))
    if sum(remaining_sizes) > limit:
        remaining = _drop_middle(remaining, remaining_sizes, limit)
    return tuple(remaining), sum(cuts)


def fit_message(message: Message, limit: int) -> tuple[Message, int]:
    """Truncate a message to ``limit`` bytes by cutting its longest texts and values."""
    sizes = [_PART + json_size(part) for part in message.parts]
    room = limit - _MESSAGE - json_size(message.role)
    if room < len(sizes) * (_PART + _LEAST):
        return _emptied(message)
    share = _share(sizes, room)
    parts, cut = [], 0
    for part, size in zip(message.parts, sizes, strict=True):
        if size > share:
            part, gone = fit_part(part, share - _PART)
            cut += gone
        parts.append(part)
    return (replace(message, parts=tuple(parts), cache={}), cut) if cut else (message, 0)


def fit_part(part: Part, limit: int) -> tuple[Part, int]:
    """Truncate the one large field of a part, so that the part has at most ``limit`` bytes if its other fields allow that."""
    name = _LARGE.get(type(part))
    if name is None:
        return part, 0
    value = getattr(part, name)
    fitted, cut = fit(value, max(limit - (json_size(part) - json_size(value)), _MARK))
    if isinstance(value, dict) and name != "arguments" and not isinstance(fitted, dict):
        fitted = {"…": fitted}
    return replace(part, **{name: fitted}), cut


_LARGE: dict[type, str] = {
    Text: "content",
    Reasoning: "content",
    Compaction: "content",
    ToolCall: "arguments",
    ToolResult: "response",
    ServerToolCall: "server_tool_call",
    ServerToolResult: "server_tool_call_response",
    Generic: "fields",
    Uri: "uri",
}


def _protected(messages: Sequence[Message]) -> list[int]:
    """Return the indices of the leading system prompt and of the newest message."""
    first = 0
    while first < len(messages) - 1 and messages[first].role in ("system", "developer"):
        first += 1
    return [*range(first), len(messages) - 1]


def _emptied(message: Message) -> tuple[Message, int]:
    gone = sum(json_size(part) for part in message.parts)
    return replace(message, parts=(Text(cut_mark(gone)),), cache={}), gone


def _drop_middle(messages: list[Message], sizes: list[int], limit: int) -> list[Message]:
    """Keep the first and last messages that fit, with a mark between them: there are too many even when emptied."""
    head, tail = _kept_counts(sizes.__getitem__, len(sizes), limit - _MARK - _MESSAGE - _PART, least=limit)
    mark = Message("system", (Text(f"…[cut {len(messages) - head - tail} messages]…"),), cache={})
    return [*messages[:head], mark, *messages[len(messages) - tail :]]
