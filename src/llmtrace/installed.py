"""What is installed: versions and entry points of packages.

To read what all packages say of themselves takes some 20 ms, and a suite of tests makes a recorder for each test; so what was
found is kept for as long as nothing is installed or removed.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib import metadata
from typing import Any

_Places = tuple[tuple[str, float], ...]


def versions(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Of these distributions those that are installed, each with its version. Never raises."""
    return _versions(names, _places())


def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """All of a group. Raises whatever broken metadata of any package makes `importlib.metadata` raise."""
    return tuple(_entry_points(_places()).select(group=group))


@lru_cache(maxsize=8)
def _versions(names: tuple[str, ...], _: _Places) -> tuple[tuple[str, str], ...]:
    found = []
    for name in names:
        try:
            found.append((name, str(metadata.version(name))))
        except (metadata.PackageNotFoundError, OSError, TypeError, ValueError):
            continue
    return tuple(found)


@lru_cache(maxsize=2)
def _entry_points(_: _Places) -> Any:
    return metadata.entry_points()


def _places() -> _Places:
    """Where packages are looked for, and when something was last put there or removed."""
    return tuple((str(place), _changed(str(place))) for place in sys.path)


def _changed(place: str) -> float:
    try:
        return os.stat(place or ".").st_mtime
    except (OSError, ValueError):
        return 0.0
