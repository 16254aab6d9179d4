"""Breaks hooks of ours, or watches who comes through them."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, TypeAlias, TypeVar

import pytest

import llmtrace

Hook: TypeAlias = "tuple[Any, str]"
"""A module or class, and the name of its function."""
Stack: TypeAlias = "tuple[tuple[CodeType, int], ...]"
"""The lines of llmtrace through which a hook was called, innermost first."""
Hits: TypeAlias = "defaultdict[Hook, set[Stack]]"

T = TypeVar("T")

_SOURCE = str(Path(llmtrace.__file__).parent)


@pytest.fixture(autouse=True)
def _conforms() -> None:
    """Where hooks are broken, spans are, too. Overrides the fixture that holds them against the conventions."""


@pytest.fixture(autouse=True)
def _silence() -> None:
    """Where hooks are broken, llmtrace logs it: once for each place. Overrides the fixture that forbids it."""


class Broken(Exception):
    """What a hook of ours raises here."""


def replace(hooks: Iterable[Hook], monkeypatch: pytest.MonkeyPatch, hits: Hits | None = None) -> None:
    """Under every name by which they were imported, make functions raise; or have them tell ``hits`` how they were called."""
    aliases = defaultdict(list)
    for path, module in list(sys.modules.items()):
        if path.startswith("llmtrace"):
            for alias, thing in list(vars(module).items()):
                if inspect.isfunction(thing):
                    aliases[thing].append((module, alias))
    for owner, name in hooks:
        original = inspect.getattr_static(owner, name)
        function = original.__func__ if isinstance(original, (staticmethod, classmethod)) else original
        instead = _stand_in(function, (owner, name), hits)
        monkeypatch.setattr(owner, name, staticmethod(instead) if isinstance(original, staticmethod) else instead)
        for module, alias in aliases[function]:
            monkeypatch.setattr(module, alias, instead)


def functions_of(module: ModuleType) -> Iterator[Hook]:
    """Every function and method that is defined in a module; special methods and those of exceptions apart."""
    for member, thing in list(vars(module).items()):
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            yield module, member
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            for method, function in list(vars(thing).items()):
                if inspect.isfunction(function) and not method.startswith("__"):
                    yield thing, method


def patched_functions(instrumentor: str) -> dict[tuple[str, str], tuple[int, bool]]:
    """The id of what stands where each patch of an instrumentor goes, as far as it is loaded; True if its class defines it
    itself. By id, since a wrapper says that it equals what it wraps."""
    functions = {}
    for patch in importlib.import_module(f"llmtrace.instrumentation.{instrumentor}").PATCHES:
        owner: Any = sys.modules.get(patch.module)
        *path, name = patch.path.split(".")
        for step in path:
            owner = getattr(owner, step, None)
        if owner is not None and hasattr(owner, name):
            functions[patch.module, patch.path] = id(inspect.getattr_static(owner, name)), name in vars(owner)
    return functions


def _stand_in(function: Any, hook: Hook, hits: Hits | None) -> Any:
    @functools.wraps(function)
    def instead(*args: Any, **kwargs: Any) -> Any:
        if hits is None:
            raise Broken(hook[1])
        hits[hook].add(_stack())
        return function(*args, **kwargs)

    return instead


def _stack() -> Stack:
    frame: FrameType | None = sys._getframe(2)
    lines = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(_SOURCE):
            lines.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(lines)


def steps_through(hook: Hook, hits_by_step: Mapping[T, Hits]) -> list[T]:
    """Steps that together call a hook by every stack by which any step calls it: what it raises takes the same way up."""
    covered: set[Stack] = set()
    steps = []
    for step, hits in hits_by_step.items():
        if hook in hits and not hits[hook] <= covered:
            steps.append(step)
            covered |= hits[hook]
    return steps
