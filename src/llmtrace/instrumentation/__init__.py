"""Instrumentors: each library whose calls become spans by themselves is one file here. The folder is the registry.

A file states ``PATCHES`` and is imported when instrumentation is turned on; the library itself never is (see `_patches`).
"""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Iterable

from llmtrace.instrumentation._patches import Patches
from llmtrace.instrumentation._streams import end_forgotten, end_open
from llmtrace.recorder.guard import guard

logger = logging.getLogger("llmtrace")

_instrumentors: dict[str, Patches] = {}


def available() -> tuple[str, ...]:
    """Names of all instrumentors, in order."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")))


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
    return tuple(name for name, patches in sorted(_instrumentors.items()) if patches.is_on())


def uninstrument(names: Iterable[str] | None = None) -> None:
    """Turn instrumentors off, those named or all: every function that was wrapped is itself again. Where all are, streams
    that are still open end their spans now."""
    wanted = None if names is None else set(names)
    for name, patches in _instrumentors.items():
        if wanted is None or name in wanted:
            patches.undo()
    if wanted is None:
        end_open()


def is_on(name: str) -> bool:
    """Whether the instrumentor of this name is on: a framework above it leaves the model's calls to it."""
    return name in _instrumentors and _instrumentors[name].is_on()


def _turn_on(name: str) -> None:
    if name not in _instrumentors:
        _instrumentors[name] = Patches(importlib.import_module(f"{__name__}.{name}").PATCHES)
    _instrumentors[name].apply()


__all__ = ["available", "end_forgotten", "end_open", "instrument", "is_on", "uninstrument"]
