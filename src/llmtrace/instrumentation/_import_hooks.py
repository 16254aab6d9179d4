"""Calls a function when a module has been imported.

wrapt's post-import hooks wrap the loader that runs a module's code. A namespace package (a folder without ``__init__.py``, such
as ``mistralai`` since 2.0) has no code and no loader: its hooks run when the first module inside it is looked up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import wrapt

_hooks: dict[str, list[Callable[[], None]]] = {}
"""By the name of a module that is not imported yet."""


class _NamespaceFinder:
    """A finder that finds nothing. Python asks it first for each module, after the package that contains the module."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        package = name.rpartition(".")[0]
        if package in _hooks and getattr(sys.modules.get(package), "__file__", "") is None:
            _run(package)


def after_import(module: str, hook: Callable[[], None]) -> None:
    """Call ``hook`` once ``module`` is imported; at once if it is. What the hook raises reaches the program's import."""
    if module in sys.modules:
        hook()
    elif module in _hooks:
        _hooks[module].append(hook)
    else:
        _hooks[module] = [hook]
        wrapt.register_post_import_hook(lambda _: _run(module), module)
        if not any(isinstance(finder, _NamespaceFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _NamespaceFinder())


def _run(module: str) -> None:
    for hook in _hooks.pop(module, ()):
        hook()
