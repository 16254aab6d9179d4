"""Caches messages and tool definitions while spans are read together, since each request repeats its whole conversation.

If a list of messages begins like that of an earlier call, only the rest is parsed, and both calls share the message objects.
Law: the cache never changes a result. It exists only within a `together` block.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from llmtrace.model import JsonValue

_T = TypeVar("_T")
_LISTS = 32
"""Maximum number of conversations in the cache; agents may work side by side."""
_TEXTS = 64
"""Maximum number of other texts in the cache."""


class _Cache:
    def __init__(self) -> None:
        self.lists: defaultdict[str, deque[tuple[str, tuple[Any, ...]]]] = defaultdict(lambda: deque(maxlen=_LISTS))
        """Texts without the closing bracket, and their messages, newest first; by the role of messages without one."""
        self.texts: dict[tuple[Any, str], Any] = {}


_CACHE: ContextVar[_Cache | None] = ContextVar("llmtrace_message_cache", default=None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within this block, spans that this thread reads share messages and tool definitions."""
    outer = _CACHE.get()
    _CACHE.set(_Cache())
    try:
        yield
    finally:
        _CACHE.set(outer)


def read_list(value: JsonValue, role: str, read: Callable[[JsonValue, str], tuple[_T, ...] | None]) -> tuple[_T, ...] | None:
    """Read a list with ``read``. If its beginning is in the cache, only the rest is read."""
    cache = _CACHE.get()
    if cache is None or type(value) is not str or value[-1:] != "]":
        return read(value, role)
    lists = cache.lists[role]
    beginning, messages = next((known for known in lists if value.startswith(known[0])), ("", ()))
    rest = value[len(beginning) :]
    if beginning and rest == "]":
        return messages
    if beginning and rest[:1] == "," and rest[1:].lstrip()[:1] != "]":
        more = read(f"[{rest[1:]}", role)
        items = None if more is None else (*messages, *more)
    else:
        items = read(value, role)
    if items:
        lists.appendleft((value[:-1], items))
    return items


def read_once(value: JsonValue, read: Callable[[JsonValue], _T]) -> _T:
    """Read a text with ``read``, or return the cached result."""
    cache = _CACHE.get()
    if cache is None or type(value) is not str:
        return read(value)
    if (read, value) not in cache.texts:
        if len(cache.texts) >= _TEXTS:
            cache.texts.clear()
        cache.texts[read, value] = read(value)
    result: _T = cache.texts[read, value]
    return result
