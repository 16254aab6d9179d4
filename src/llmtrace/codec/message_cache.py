"""What spans that are read together tell again: a conversation is sent with every call of a model, tools with every one of it.

A list of messages mostly begins as that of an earlier call did; then only the rest of its text is read, and both hold the same
messages. Law: what is read is equal to what is read without this. Without a `together` block nothing is remembered.
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
"""Conversations that are held in mind at a time: agents may work side by side."""
_TEXTS = 64


class _Told:
    """``lists``: the newest first, by the role that was taken where none was said; with its text without the last bracket."""

    def __init__(self) -> None:
        self.lists: defaultdict[str, deque[tuple[str, tuple[Any, ...]]]] = defaultdict(lambda: deque(maxlen=_LISTS))
        self.texts: OrderedDict[tuple[Any, str], Any] = OrderedDict()


class _Mine(threading.local):
    told: _Told | None = None


_MINE = _Mine()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What this thread reads in the block may share its messages and definitions."""
    outer, _MINE.told = _MINE.told, _Told()
    try:
        yield
    finally:
        _MINE.told = outer


def listed(value: JsonValue, role: str, read: Callable[[JsonValue, str], tuple[_T, ...] | None]) -> tuple[_T, ...] | None:
    """As ``read`` reads a list, of which the beginning may be known."""
    told = _MINE.told
    if told is None or type(value) is not str or value[-1:] != "]":
        return read(value, role)
    lists = told.lists[role]
    for begun, known in lists:
        if value.startswith(begun):
            if len(begun) == len(value) - 1:
                return known
            found = _continued(value[len(begun) :], known, value, role, read)
            break
    else:
        found = read(value, role)
    if found:
        lists.appendleft((value[:-1], found))
    return found


def _continued(
    rest: str, known: tuple[_T, ...], whole: str, role: str, read: Callable[[JsonValue, str], tuple[_T, ...] | None]
) -> tuple[_T, ...] | None:
    if rest[:1] != "," or rest[1:].lstrip()[:1] == "]":  # another value that begins alike; what is no JSON
        return read(whole, role)
    more = read(f"[{rest[1:]}", role)
    return None if more is None else (*known, *more)


def same(value: JsonValue, read: Callable[[JsonValue], _T]) -> _T:
    """As ``read`` reads it; a text that was read before is not read again."""
    told = _MINE.told
    if told is None or type(value) is not str:
        return read(value)
    if (read, value) not in told.texts:
        told.texts[read, value] = read(value)
        while len(told.texts) > _TEXTS:
            told.texts.popitem(last=False)
    held: _T = told.texts[read, value]
    return held
