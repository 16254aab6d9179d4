"""Caches messages and tool definitions while spans are read together, since each request repeats its whole conversation.

If a list of messages begins like that of an earlier call, only the rest is parsed, and both calls share the message objects.
Law: the cache never changes a result. It exists only within a `together` block.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from llmtrace.model import JsonValue

_T = TypeVar("_T")
_LISTS = 32
"""Maximum number of conversations in the cache; agents may work side by side."""
_TEXTS = 64


class _Cache:
    def __init__(self) -> None:
        self.lists: defaultdict[str, deque[tuple[str, tuple[Any, ...]]]] = defaultdict(lambda: deque(maxlen=_LISTS))
        """Texts without the closing bracket, and their messages, newest first; by the role of messages without one."""
        self.texts: OrderedDict[tuple[Any, str], Any] = OrderedDict()


class _ThreadCache(threading.local):
    cache: _Cache | None = None


_THREAD = _ThreadCache()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within this block, spans that this thread reads share messages and tool definitions."""
    outer, _THREAD.cache = _THREAD.cache, _Cache()
    try:
        yield
    finally:
        _THREAD.cache = outer


def read_list(value: JsonValue, role: str, read: Callable[[JsonValue, str], tuple[_T, ...] | None]) -> tuple[_T, ...] | None:
    """Read a list with ``read``. If its beginning is in the cache, only the rest is read."""
    cache = _THREAD.cache
    if cache is None or type(value) is not str or value[-1:] != "]":
        return read(value, role)
    lists = cache.lists[role]
    for beginning, messages in lists:
        if value.startswith(beginning):
            if len(beginning) == len(value) - 1:
                return messages
            items = _read_rest(value[len(beginning) :], messages, value, role, read)
            break
    else:
        items = read(value, role)
    if items:
        lists.appendleft((value[:-1], items))
    return items


def _read_rest(
    rest: str, messages: tuple[_T, ...], value: str, role: str, read: Callable[[JsonValue, str], tuple[_T, ...] | None]
) -> tuple[_T, ...] | None:
    if rest[:1] != "," or rest[1:].lstrip()[:1] == "]":  # another value with the same beginning, or not JSON
        return read(value, role)
    more = read(f"[{rest[1:]}", role)
    return None if more is None else (*messages, *more)


def read_once(value: JsonValue, read: Callable[[JsonValue], _T]) -> _T:
    """Read a text with ``read``, or return the cached result."""
    cache = _THREAD.cache
    if cache is None or type(value) is not str:
        return read(value)
    if (read, value) not in cache.texts:
        cache.texts[read, value] = read(value)
        while len(cache.texts) > _TEXTS:
            cache.texts.popitem(last=False)
    result: _T = cache.texts[read, value]
    return result
