"""Calls a function right after a module was imported. The module is never imported by us.

wrapt does this, too; but importing wrapt takes as long as half of OpenTelemetry's SDK, and most programs import none of the
libraries that we patch with it before they begin to work.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_hooks: dict[str, list[Callable[[], None]]] = {}
"""By the name of a module that is not imported yet."""


def after_import(module: str, hook: Callable[[], None]) -> None:
    """Call ``hook`` once ``module`` is imported; at once if it is. An exception of the hook reaches the program's import."""
    if module in sys.modules:
        hook()
        return
    _hooks.setdefault(module, []).append(hook)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _run(module: str) -> None:
    for hook in _hooks.pop(module, ()):
        hook()


class _Finder:
    """Finds the modules with a hook as the other finders do, and notices when their code has run.

    A namespace package (a folder without ``__init__.py``, such as ``mistralai`` since 2.0) has no code: its hooks run when the
    first module inside it is looked up.
    """

    def __init__(self) -> None:
        self._looked_up = threading.local()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package = name.rpartition(".")[0]
        if package in _hooks and getattr(sys.modules.get(package), "__file__", "") is None:
            _run(package)
        if name not in _hooks or getattr(self._looked_up, "name", None) == name:
            return None
        self._looked_up.name = name
        try:
            spec = _found_by_others(self, name, path, target)
        finally:
            self._looked_up.name = None
        if spec is not None and spec.loader is not None:
            spec.loader = _HookedLoader(spec.loader, name)  # type: ignore[assignment]
        return spec


def _found_by_others(ours: _Finder, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        find = None if finder is ours else getattr(finder, "find_spec", None)
        try:
            spec = None if find is None else find(name, path, target)
        except Exception:  # Python asks it again, and the program sees what it raises
            return None
        if spec is not None:
            return spec  # type: ignore[no-any-return]
    return None


class _HookedLoader:
    """Loads a module as ``loader`` does, whose place it takes only until the module's code runs."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        return None if create is None else create(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _run(self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
