"""What was converted before is not converted again, so that a history sent at every turn costs next to nothing.

Law: a memo never hides a change. A message is known by its shape: every leaf in it, compared by identity first and by equality
else; an edit anywhere inside it, or an equal copy of it, is told apart from, or matched with, the first rightly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic_core import to_json

from llmtrace.model import Message, ToolDefinition

Memo: TypeAlias = dict[Any, Any]
"""``Run.messages``: from an object's id, and from its outline, to (shape, message)."""

MOST_LEAVES = 512
"""Messages with more leaves are converted each time."""
MOST_MESSAGES = 4096
"""Entries after which a run's memo starts anew, so that a very long run stays bounded."""
MOST_TOOL_LISTS = 64

_LONG, _EDGE = 48, 24
"""A text of more characters is given in an outline by its length and what stands at either end."""

_tools: dict[bytes, tuple[ToolDefinition, ...]] = {}


def known(memo: Memo, raw: Any, read: Callable[[Any], Message]) -> Message:
    """``read(raw)``, or the message that an equal ``raw`` gave earlier in this run."""
    shape: list[Any] = []
    try:
        _flatten(raw, shape)
    except (_Opaque, RecursionError):
        return read(raw)
    entry = memo.get(id(raw))
    if entry is not None and entry[0] == shape:
        return entry[1]  # type: ignore[no-any-return]
    outline = tuple([leaf if type(leaf) is not str or len(leaf) <= _LONG else _edges(leaf) for leaf in shape])
    entry = memo.get(outline)
    if entry is None or entry[0] != shape:
        entry = (shape, read(raw))
        if len(memo) > MOST_MESSAGES:
            memo.clear()
        memo[outline] = entry
    memo[id(raw)] = entry
    return entry[1]


def known_tools(raw: Any, read: Callable[[Any], tuple[ToolDefinition, ...]]) -> tuple[ToolDefinition, ...]:
    """``read(raw)``, or what the same definitions, byte for byte as JSON, gave before in this process."""
    try:
        key = to_json(raw)
    except Exception:  # not plain JSON: it cannot be known again
        return read(raw)
    found = _tools.get(key)
    if found is None:
        found = read(raw)
        if len(_tools) >= MOST_TOOL_LISTS:
            _tools.clear()
        _tools[key] = found
    return found


class _Opaque(Exception):
    """The value holds something whose content cannot be compared, or too much."""


def _flatten(value: Any, into: list[Any]) -> None:
    """Add every leaf of a value, and marks for its structure."""
    kind = type(value)
    if kind is str or value is None:
        into.append(value)
    elif kind is dict:
        _flatten_dict(value, into)
    elif kind is list or kind is tuple:
        if len(into) > MOST_LEAVES:
            raise _Opaque
        into.append(~len(value))  # negative: no mapping
        for member in value:
            _flatten(member, into)
    elif kind is int or kind is float or kind is bool:
        into.append(kind)  # or True would equal 1
        into.append(value)
    elif hasattr(kind, "model_fields") and hasattr(value, "__pydantic_extra__"):
        into.append(kind)
        _flatten_dict(value.__dict__, into)
        _flatten(value.__pydantic_extra__, into)
    else:
        raise _Opaque


def _flatten_dict(value: dict[Any, Any], into: list[Any]) -> None:
    if len(into) > MOST_LEAVES:
        raise _Opaque
    into.append(len(value))
    for key, member in value.items():
        into.append(key)
        if type(member) is str:
            into.append(member)
        else:
            _flatten(member, into)


def _edges(text: str) -> tuple[int, str, str]:
    return len(text), text[:_EDGE], text[-_EDGE:]
