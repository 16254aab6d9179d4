"""Caches converted messages and tool definitions, so that a history sent at every turn costs almost nothing.

There is one cache for the process, not one for each run: without a decorated agent, each call is a run of its own, and a system
prompt is the same in every run. The cache has a size limit, after which it is cleared. Law: the cache never hides a change. A
message is identified by its shape, which contains every leaf, compared by identity first and then by equality. So an edit
anywhere inside a message is noticed, and an equal copy is matched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from llmtrace.model import Message, ToolDefinition
from llmtrace.validation.tool_definitions import read_definition

MOST_LEAVES = 512
"""Messages with more leaves are converted each time."""
MOST_MESSAGES = 4096
"""Entries after which the cache is cleared."""
MOST_CHARACTERS = 4 << 20
"""Characters of text after which the cache is cleared."""
MOST_TOOL_LISTS = 64

_messages: dict[tuple[Any, ...], Message] = {}
"""By the message's shape; plain messages by (role, text)."""
_characters = 0
"""Characters of text in ``_messages``."""
_tools: dict[bytes, tuple[ToolDefinition, ...]] = {}


def read_messages_cached(raws: Iterable[Any], read: Callable[[Any], Message]) -> tuple[Message, ...]:
    """Read each raw message, or return the cached result of ``read`` for an equal one."""
    messages: list[Message] = []
    for raw in raws:
        if type(raw) is dict and len(raw) == 2:
            role, content = raw.get("role"), raw.get("content")
            if type(role) is str and type(content) is str:
                # the usual message is its own key: 1 µs for 1 KB of new text where its shape takes 8
                message = _messages.get((role, content))
                if message is None:
                    message = read(raw)
                    _make_room(len(content))
                    _messages[role, content] = message
                messages.append(message)
                continue
        messages.append(_shaped(raw, read))
    return tuple(messages)


def _shaped(raw: Any, read: Callable[[Any], Message]) -> Message:
    leaves: list[Any] = []
    try:
        _flatten(raw, leaves)
    except (_Opaque, RecursionError):
        return read(raw)
    shape = tuple(leaves)
    message = _messages.get(shape)
    if message is None:
        message = read(raw)
        _make_room(sum([len(leaf) for leaf in leaves if type(leaf) is str]))
        _messages[shape] = message
    return message


def _make_room(size: int) -> None:
    global _characters
    if len(_messages) > MOST_MESSAGES or _characters + size > MOST_CHARACTERS:
        _messages.clear()
        _characters = 0
    _characters += size


def read_definitions(raw: Any) -> tuple[ToolDefinition, ...]:
    return tuple([read_definition(tool) for tool in raw])


def read_tools_cached(
    raw: Any, read: Callable[[Any], tuple[ToolDefinition, ...]] = read_definitions
) -> tuple[ToolDefinition, ...]:
    """Read tool definitions, or return the cached result of ``read`` for the same JSON."""
    try:
        key = to_json(raw)
    except Exception:  # not plain JSON: it cannot be known again
        return read(raw)
    tools = _tools.get(key)
    if tools is None:
        tools = read(raw)
        if len(_tools) >= MOST_TOOL_LISTS:
            _tools.clear()
        _tools[key] = tools
    return tools


class _Opaque(Exception):
    """The value contains something that cannot be compared, or too many leaves."""


def _flatten(value: Any, into: list[Any]) -> None:
    """Append every leaf of a value, and markers for its structure, to ``into``."""
    kind: Any = type(value)
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
    elif _is_model(kind):
        into.append(kind)
        _flatten_dict(value.__dict__, into)
        extra = getattr(value, "__pydantic_extra__", None)
        into.append(None if extra is None else len(extra))
        if extra:
            _flatten_dict(extra, into)
    else:
        raise _Opaque


@lru_cache(maxsize=256)
def _is_model(kind: type) -> bool:
    """Return True for a pydantic model. Cached, because pydantic's metaclass answers slowly."""
    return hasattr(kind, "model_fields") and hasattr(kind, "__pydantic_extra__")


def _flatten_dict(value: dict[Any, Any], into: list[Any]) -> None:
    if len(into) > MOST_LEAVES:
        raise _Opaque
    into.append(len(value))
    for key, member in value.items():
        into.append(key)
        if member is None or type(member) is str:
            into.append(member)
        else:
            _flatten(member, into)
