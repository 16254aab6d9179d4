"""What is installed: versions and entry points of packages.

`importlib.metadata` takes 40 ms to be imported and to read what a hundred packages say of themselves. The names of their
folders say the versions, and a look into one small file of each says whether there is an entry point to be read. A suite of
tests makes a recorder for each test; so what was found is cached until something is installed or removed.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_Places = tuple[tuple[str, float], ...]
_SUFFIXES = (".dist-info", ".egg-info")


def versions(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Of these distributions those that are installed in a folder, each with its version. Never raises."""
    return _versions(names, _places())


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """All of a group. Raises whatever broken metadata of any package makes `importlib.metadata` raise."""
    return _entry_points(group, _places())


@lru_cache(maxsize=8)
def _versions(names: tuple[str, ...], places: _Places) -> tuple[tuple[str, str], ...]:
    installed: dict[str, str] = {}
    for folder in _metadata_folders(places):
        name, _, version = os.path.splitext(os.path.basename(folder))[0].partition("-")
        installed.setdefault(_normalize(name), version.partition("-py")[0])  # an egg's name goes on with Python's version
    return tuple((name, installed[_normalize(name)]) for name in names if installed.get(_normalize(name)))


@lru_cache(maxsize=8)
def _entry_points(group: str, places: _Places) -> tuple[EntryPoint, ...]:
    has_archive = any(os.path.isfile(place) for place, changed in places if changed)
    if not has_archive and not any(_mentions(folder, f"[{group}]") for folder in _metadata_folders(places)):
        return ()
    from importlib import metadata

    return tuple(metadata.entry_points(group=group))


@lru_cache(maxsize=2)
def _metadata_folders(places: _Places) -> tuple[str, ...]:
    """The paths of what packages say of themselves, in the order in which packages are looked for."""
    folders = []
    for place, _ in places:
        try:
            folders += [os.path.join(place, name) for name in os.listdir(place or ".") if name.endswith(_SUFFIXES)]
        except (OSError, ValueError):  # an archive, or absent
            continue
    return tuple(folders)


def _mentions(folder: str, header: str) -> bool:
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8", errors="replace") as file:
            return header in file.read()
    except OSError:
        return False


def _normalize(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _places() -> _Places:
    """Where packages are looked for, and when something was last put there or removed."""
    return tuple((str(place), _changed(str(place))) for place in sys.path)


def _changed(place: str) -> float:
    try:
        return os.stat(place or ".").st_mtime
    except (OSError, ValueError):
        return 0.0
