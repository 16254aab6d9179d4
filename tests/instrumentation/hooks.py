"""Breaks hooks of ours, or watches who comes through them."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

import pytest


class Broken(Exception):
    """What a hook of ours raises here."""


def replace(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, hit: set[Any] | None = None) -> None:
    """Under every name by which it was imported, make one function raise; or have it tell ``hit`` that it was called."""
    original = inspect.getattr_static(owner, name)
    function = original.__func__ if isinstance(original, (staticmethod, classmethod)) else original

    @functools.wraps(function)
    def instead(*args: Any, **kwargs: Any) -> Any:
        if hit is None:
            raise Broken(name)
        hit.add((owner, name))
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, staticmethod(instead) if isinstance(original, staticmethod) else instead)
    for path, module in list(sys.modules.items()):
        if path.startswith("llmtrace"):
            for alias, thing in list(vars(module).items()):
                if thing is function:
                    monkeypatch.setattr(module, alias, instead)
