"""Locks for programs that fork or end while a thread holds one, which nobody releases then.

`fork_safe_lock` is free again in a child. A fork waits until the locks of `fork_waits_for` are free. `importing` and
`background_importing` are for imports at first use: a fork, and the program's end, wait until such an import is done. Otherwise
Python's own lock on the half-imported module would never be released.
"""

from __future__ import annotations

# Two of the next have locks that a fork takes, too. Imported before us, they take them after our waiting, in which an import
# may log; and none is registered while we wait, which would then be released without having been taken.
import concurrent.futures.thread  # noqa: F401
import contextlib
import gc
import logging  # noqa: F401
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, TypeVar, overload

T = TypeVar("T")

WAIT_SECONDS: Final = 2.0
"""Seconds that a fork waits for all locks, and the program's end for each."""

importing = threading.RLock()
"""Hold it around an ``import`` statement that runs when a function is first called, perhaps on a thread of the program."""
background_importing = threading.RLock()
"""The same for imports on our own threads, which no thread of the program may have to wait for."""


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the collection of garbage while many modules are imported: it would look through all of them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_waited_for: list[Any] = [importing, background_importing]
_held_for_fork: list[Any] = []
_fork_safe: weakref.WeakSet[Any] = weakref.WeakSet()


class lazy_property(Generic[T]):  # noqa: N801  used like `property`
    """`functools.cached_property` without its lock, which a child inherits from a thread that works out the value (up to Python
    3.11). Two threads may work out the value at the same time."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        value = vars(instance)[self._name] = self._function(instance)
        return value


def fork_safe_lock() -> AbstractContextManager[Any]:
    """Return a reentrant lock that is free in a child process, whoever held it when the program forked."""
    lock = threading.RLock()
    _fork_safe.add(lock)
    return lock


def fork_waits_for() -> AbstractContextManager[Any]:
    """Return a reentrant lock. A fork waits until it is free, and keeps it meanwhile; the newest of several comes first."""
    lock = threading.RLock()
    _waited_for.append(lock)
    return lock


def finish_imports() -> None:
    """Wait for imports on other threads, and let none begin. Call it last when the program ends: the interpreter stops daemon
    threads wherever they are, and an import by a destructor would then wait for a module that is never complete."""
    for lock in (importing, background_importing):
        lock.acquire(timeout=WAIT_SECONDS)


def _before_fork() -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    in_order = reversed(_waited_for)
    _held_for_fork.extend(lock for lock in in_order if lock.acquire(timeout=max(0, deadline - time.monotonic())))


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop().release()


def _after_fork_in_child() -> None:
    for lock in _waited_for:
        if lock in _held_for_fork:
            lock.release()
        else:
            lock._at_fork_reinit()
    _held_for_fork.clear()
    for lock in list(_fork_safe):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
