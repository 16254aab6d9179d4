"""Locks in a program that forks: a child inherits a lock that another thread held, and nobody there releases it.

`fork_safe_lock` is free again in the child. `importing` is for imports at first use: a fork waits until such an import is done,
since the child would inherit Python's own lock on the half-imported module.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, TypeVar, overload

T = TypeVar("T")

FORK_SECONDS: Final = 2.0
"""How long a fork waits."""

importing = threading.RLock()
"""Hold it around an ``import`` statement that runs when a function is first called, on whatever thread."""

_is_held_for_fork = False
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


def _before_fork() -> None:
    global _is_held_for_fork
    _is_held_for_fork = importing.acquire(timeout=FORK_SECONDS)


def _after_fork_in_parent() -> None:
    if _is_held_for_fork:
        importing.release()


def _after_fork_in_child() -> None:
    if _is_held_for_fork:
        importing.release()
    else:
        importing._at_fork_reinit()  # type: ignore[attr-defined]
    for lock in list(_fork_safe):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
