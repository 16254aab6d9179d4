"""Instrumentors: each library whose calls become spans by themselves is one file here. The folder is the registry.

A file states ``LIBRARY, DISTRIBUTION = "module", "name to install"`` at the left margin, which is read from its text, and
``PATCHES``. It is imported when its library is, and the library itself never by us (see `_patches`): what a program does not
use costs it nothing.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
import re
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

import wrapt

from llmtrace.instrumentation._patches import Patches
from llmtrace.recorder.guard import guard

logger = logging.getLogger("llmtrace")

_STATED = re.compile(r'^LIBRARY, DISTRIBUTION = "(.*)", "(.*)"$', re.MULTILINE)


class _Instrumentor:
    """One of them, off or on. Its file is loaded once its library is there."""

    def __init__(self, name: str) -> None:
        self.is_on = False
        self._name = name
        self._library = stated(name)[0]
        self._patches: Patches | None = None
        self._is_awaited = False

    def turn_on(self) -> None:
        self.is_on = True
        if self._library in sys.modules:
            self._apply()
        elif not self._is_awaited:
            self._is_awaited = True
            wrapt.register_post_import_hook(self._imported, self._library)

    def turn_off(self) -> None:
        self.is_on = False
        if self._patches is not None:
            self._patches.undo()

    def _imported(self, _: object) -> None:
        if self.is_on:
            guard(self._apply)

    def _apply(self) -> None:
        if self._patches is None:
            self._patches = Patches(importlib.import_module(f"{__name__}.{self._name}").PATCHES)
        self._patches.apply()


_instrumentors: dict[str, _Instrumentor] = {}


def stated(name: str) -> tuple[str, str]:
    """The module and the distribution of an instrumentor's library, without loading either."""
    return _libraries(tuple(__path__))[name]


def available() -> tuple[str, ...]:
    """Names of all instrumentors, in order."""
    return tuple(_libraries(tuple(__path__)))


@cache
def _libraries(folders: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """By the instrumentor's name: the module and the distribution of its library."""
    libraries = {}
    for found in sorted(pkgutil.iter_modules(folders), key=lambda found: found.name):
        if not found.name.startswith("_"):
            spec: Any = found.module_finder.find_spec(found.name, None)
            stated = _STATED.search(spec.loader.get_data(spec.origin).decode())
            libraries[found.name] = (stated[1], stated[2]) if stated else (found.name, found.name)
    return libraries


def instrument(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Turn instrumentors on: those named, or all. Gives the names of those that are on now.

    Nothing is imported for it: what is not loaded is instrumented when it is. An unknown name is logged and left out.
    """
    known = available()
    for name in known if names is None else names:
        if name in known:
            guard(_turn_on, name)
        else:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            logger.warning("llmtrace: there is no instrumentor %r (%s); it is left out", name, meant)
    return tuple(name for name, one in sorted(_instrumentors.items()) if one.is_on)


def uninstrument(names: Iterable[str] | None = None) -> None:
    """Turn instrumentors off, those named or all: every function that was wrapped is itself again. Where all are, streams
    that are still open end their spans now."""
    wanted = None if names is None else set(names)
    for name, one in _instrumentors.items():
        if wanted is None or name in wanted:
            one.turn_off()
    if wanted is None and _has_streams():
        from llmtrace.instrumentation._streams import end_open

        end_open()


def end_forgotten() -> None:
    """Wait, for a second at most, until every stream that the program has dropped has ended its span."""
    if _has_streams():
        from llmtrace.instrumentation import _streams

        _streams.end_forgotten()


def _has_streams() -> bool:
    """False if no provider is loaded that has streams."""
    return f"{__name__}._streams" in sys.modules


def is_on(name: str) -> bool:
    """Whether the instrumentor of this name is on: a framework above it leaves the model's calls to it."""
    return name in _instrumentors and _instrumentors[name].is_on


def _turn_on(name: str) -> None:
    if name not in _instrumentors:
        _instrumentors[name] = _Instrumentor(name)
    _instrumentors[name].turn_on()


__all__ = ["available", "end_forgotten", "instrument", "is_on", "stated", "uninstrument"]
