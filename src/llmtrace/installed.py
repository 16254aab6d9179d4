"""Installed packages: their versions, and the extensions that they add by entry points.

Reading the metadata of all packages takes some 20 ms, so results are cached until something is installed or removed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Container, Iterator
from functools import lru_cache
from importlib import metadata
from typing import Any

logger = logging.getLogger("llmtrace")

_SearchPath = tuple[tuple[str, float], ...]


def versions(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The distributions of these names that are installed, each with its version. Never raises."""
    return _versions(names, _search_path())


def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """All entry points of a group. Never raises: a package whose metadata cannot be read is logged and left out."""
    return _entry_points(group, _search_path())


def entries(group: str, reserved: Container[str] = ()) -> Iterator[metadata.EntryPoint]:
    """The extensions that packages add to a group, each name once. ``reserved``: names that are in use already."""
    names: set[str] = set()
    for entry in entry_points(group):
        if entry.name in reserved or entry.name in names:
            log_broken(entry, "another extension has this name")
        else:
            names.add(entry.name)
            yield entry


def load(entry: metadata.EntryPoint) -> Any | None:
    """Import what an entry point names. Never raises: if that fails, one log line says why, and the result is None."""
    try:
        return entry.load()
    except Exception as error:  # a third party's import may raise anything
        log_broken(entry, f"{type(error).__qualname__}: {error}")
        return None


def log_broken(entry: metadata.EntryPoint, reason: str) -> None:
    """Log once that an extension is left out, and why."""
    line = f"{entry.group} {entry.name} ({entry.value}) cannot be loaded and is off: {reason}"
    if line not in _logged:
        _logged.add(line)
        logger.warning("llmtrace: %s", line)


_logged: set[str] = set()


@lru_cache(maxsize=8)
def _versions(names: tuple[str, ...], _: _SearchPath) -> tuple[tuple[str, str], ...]:
    installed = []
    for name in names:
        try:
            installed.append((name, str(metadata.version(name))))
        except (metadata.PackageNotFoundError, OSError, TypeError, ValueError):
            continue
    return tuple(installed)


@lru_cache(maxsize=8)
def _entry_points(group: str, _: _SearchPath) -> tuple[metadata.EntryPoint, ...]:
    try:
        return tuple(metadata.entry_points(group=group))
    except Exception:  # the metadata of one package is broken: read the packages one by one
        return tuple(_readable_entry_points(group))


def _readable_entry_points(group: str) -> Iterator[metadata.EntryPoint]:
    for distribution in metadata.distributions():
        try:
            yield from distribution.entry_points.select(group=group)
        except Exception as error:
            logger.warning("llmtrace: the entry points of %s cannot be read and are ignored: %s", distribution, error)


def _search_path() -> _SearchPath:
    """The folders in which packages are looked for, each with the time at which something was last added or removed."""
    return tuple((str(folder), _modified(str(folder))) for folder in sys.path)


def _modified(folder: str) -> float:
    try:
        return os.stat(folder or ".").st_mtime
    except (OSError, ValueError):
        return 0.0
