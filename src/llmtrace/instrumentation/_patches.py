"""Puts wrappers around functions of a library when it is imported, and removes them.

Laws: we never import the library. It is patched if it is loaded, or else right after its import. Removing a wrapper restores
the very same object, even if several instrumentors of one function are removed in any order. If other code has wrapped our
wrapper, ours stays below it and does nothing.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MethodType, ModuleType
from typing import Any, TypeAlias

from llmtrace.instrumentation._after_import import after_import
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called instead of the wrapped function: (wrapped, instance, args, kwargs)."""

_INHERITED = object()


@dataclass(frozen=True, slots=True)
class Patch:
    """A function to wrap: its module, its path in it (``Class.method`` or ``function``), and the wrapper."""

    module: str
    path: str
    wrapper: Wrapper
    is_plain: bool = False
    """True for a function that is written in Python and is neither a class method nor static: a function around it is enough.
    So wrapt is imported with the first library only."""


@dataclass(slots=True, eq=False)
class _AppliedPatch:
    """An applied patch: its place, the original, and the wrapper."""

    owner: Any
    name: str
    original: Any
    ours: Any


_applied: list[_AppliedPatch] = []
"""Every patch that is on, of all instrumentors: two of them may wrap the same function (of OpenAI's client, for example)."""


class Patches:
    def __init__(self, patches: Iterable[Patch]) -> None:
        self._by_module: dict[str, list[Patch]] = {}
        for patch in patches:
            self._by_module.setdefault(patch.module, []).append(patch)
        self._on = False
        self._done: dict[str, list[_AppliedPatch]] = {}
        self._awaited: set[str] = set()
        self._lock = threading.RLock()

    def is_on(self) -> bool:
        return self._on

    def apply(self) -> None:
        """Patch loaded modules now, and the others when they are imported. Applying twice changes nothing."""
        with self._lock:
            self._on = True
            for name in self._by_module:
                if name in sys.modules:
                    guard(self._patch, name)
                elif name not in self._awaited:
                    self._awaited.add(name)
                    after_import(name, partial(guard, self._patch, name))

    def undo(self) -> None:
        with self._lock:
            self._on = False
            for done in self._done.values():
                for applied in reversed(done):
                    guard(_restore, applied)
            self._done.clear()

    def _patch(self, name: str) -> None:
        with self._lock:
            module = sys.modules.get(name)
            if not self._on or module is None or name in self._done:
                return
            done = self._done[name] = []
            for patch in self._by_module[name]:
                applied = guard(self._wrap, module, patch)
                if applied is not None:
                    done.append(applied)

    def _wrap(self, module: ModuleType, patch: Patch) -> _AppliedPatch | None:
        *path, name = patch.path.split(".")
        owner: Any = module
        for step in path:
            owner = getattr(owner, step, None)
        if isinstance(owner, type) and not any(name in vars(base) for base in owner.__mro__):
            return None  # not even asked for: a metaclass may import half of the library for an answer
        present = getattr(owner, name, None)
        if present is None:
            return None  # this version of the library has no such function
        members: Mapping[str, Any] = vars(owner)
        original = members.get(name, _INHERITED)
        if hasattr(original, "_self_parent") and getattr(original, "_self_wrapper", None) is patch.wrapper:
            original = original.__wrapped__  # the class was made of the functions of one that is patched already
        is_ours = any(applied.ours is original for done in self._done.values() for applied in done)
        if is_ours and getattr(original, "_self_wrapper", None) is patch.wrapper:
            return None  # wrapped already: another module names the same class
        wrapped = present if original is _INHERITED else original
        ours = (_plain if patch.is_plain else _proxy)(wrapped, patch, self.is_on)
        setattr(owner, name, ours)
        done = _AppliedPatch(owner, name, original, ours)
        _applied.append(done)
        return done


def _proxy(wrapped: Any, patch: Patch, is_on: Callable[[], bool]) -> Any:
    from llmtrace.recorder.function_proxy import PatchedProxy  # within the import of the library, whose lock is held anyway

    return PatchedProxy(wrapped, patch.wrapper, f"{patch.module}:{patch.path}", is_on)


def _plain(wrapped: Any, patch: Patch, is_on: Callable[[], bool]) -> Any:
    is_method = "." in patch.path

    @functools.wraps(wrapped)
    def function(*args: Any, **kwargs: Any) -> Any:
        inner: Any = function.__wrapped__  # which a patch above this one may have changed
        if not is_on():
            return inner(*args, **kwargs)
        if is_method:
            return patch.wrapper(MethodType(inner, args[0]), args[0], args[1:], kwargs)
        return patch.wrapper(inner, None, args, kwargs)

    function._self_wrapper = patch.wrapper  # type: ignore[attr-defined]
    return function


def _restore(done: _AppliedPatch) -> None:
    """Put the original back. Other libraries may have put back our wrapper, bound to its class (`_self_parent`)."""
    _applied.remove(done)
    present = vars(done.owner).get(done.name)
    if present is not done.ours and getattr(present, "_self_parent", None) is not done.ours:
        above = next((candidate for candidate in _applied if candidate.ours.__wrapped__ is done.ours), None)
        if above is not None:  # of another instrumentor, which goes on without this one
            above.original, above.ours.__wrapped__ = done.original, done.ours.__wrapped__
        return  # else wrapped again by somebody else; ours is off
    if done.original is _INHERITED:
        delattr(done.owner, done.name)
    else:
        setattr(done.owner, done.name, done.original)


# -- wrappers that call a callback before or after a function, or change its arguments


def before(callback: Callable[[Any, Any, Any], Any], *, always: bool = False) -> Wrapper:
    """Return a wrapper that calls ``callback(instance, args, kwargs)`` before the function.

    ``always``: also while recording is off.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if always or active() is not None:
            guard(callback, instance, args, kwargs)
        return wrapped(*args, **kwargs)

    return wrapper


def after(callback: Callable[[Any, Any, Any, Any], Any], *, always: bool = False) -> Wrapper:
    """Return a wrapper that calls ``callback(result, instance, args, kwargs)`` after the function; ``always`` as in
    `before`."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        if always or active() is not None:
            guard(callback, result, instance, args, kwargs)
        return result

    return wrapper


def changing(change: Callable[[Any, Any, Any], tuple[Any, dict[str, Any]] | None]) -> Wrapper:
    """Return a wrapper that calls the function with the arguments that ``change(instance, args, kwargs)`` returns.

    If it returns None, or recording is off, the function gets the original arguments.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        changed = guard(change, instance, args, kwargs)
        args, kwargs = (args, kwargs) if changed is None else changed
        return wrapped(*args, **kwargs)

    return wrapper
