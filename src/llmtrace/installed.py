"""Installed packages: their versions, and the extensions that they add by entry points.

`importlib.metadata` takes 40 ms to be imported and to read the metadata of a hundred packages. The names of the metadata
folders hold the versions, and one small file of each package tells whether it has an entry point. Results are cached until
something is installed or removed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmtrace.log_once import warn_once

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("llmtrace")

_SearchPath = tuple[tuple[str, float], ...]
_SUFFIXES = (".dist-info", ".egg-info")


def versions(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The distributions of these names that are installed in a folder, each with its version. Never raises."""
    installed = _all_versions(_search_path())
    return tuple((name, installed[_normalize(name)]) for name in names if installed.get(_normalize(name)))


def all_versions() -> dict[str, str]:
    """Every distribution that is installed in a folder, by its normalized name, with its version. Never raises."""
    return dict(_all_versions(_search_path()))


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """All entry points of a group. Never raises: a package whose metadata cannot be read is logged and left out."""
    return _entry_points(group, _search_path())


def entries(group: str, reserved: Container[str] = ()) -> Iterator[EntryPoint]:
    """The extensions that packages add to a group, each name once. ``reserved``: names that are in use already."""
    names: set[str] = set()
    for entry in entry_points(group):
        if entry.name in reserved or entry.name in names:
            log_broken(entry, "another extension has this name")
        else:
            names.add(entry.name)
            yield entry


def load(entry: EntryPoint) -> Any | None:
    """Import what an entry point names. Never raises: if that fails, one log line says why, and the result is None."""
    try:
        return entry.load()
    except Exception as error:  # a third party's import may raise anything
        log_broken(entry, f"{type(error).__qualname__}: {error}")
        return None


def log_broken(entry: EntryPoint, reason: str) -> None:
    """Log once that an extension is left out, and why."""
    warn_once(f"{entry.group} {entry.name} ({entry.value}) cannot be loaded and is off: {reason}")


@lru_cache(maxsize=2)
def _all_versions(path: _SearchPath) -> dict[str, str]:
    installed: dict[str, str] = {}
    for folder in _metadata_folders(path):
        name, _, version = os.path.splitext(os.path.basename(folder))[0].partition("-")
        installed.setdefault(_normalize(name), version.partition("-py")[0])  # an egg's name goes on with Python's version
    return installed


@lru_cache(maxsize=16)
def _entry_points(group: str, path: _SearchPath) -> tuple[EntryPoint, ...]:
    has_archive = any(os.path.isfile(folder) for folder, modified in path if modified)
    if not has_archive and not any(_mentions(folder, f"[{group}]") for folder in _metadata_folders(path)):
        return ()
    from importlib import metadata

    entry_points: dict[EntryPoint, None] = {}  # each once, although a package may be on the path twice
    for distribution in metadata.distributions():
        try:
            entry_points |= dict.fromkeys(distribution.entry_points.select(group=group))
        except Exception as error:
            logger.warning("llmtrace: the entry points of %s cannot be read and are ignored: %s", distribution, error)
    return tuple(entry_points)


@lru_cache(maxsize=2)
def _metadata_folders(path: _SearchPath) -> tuple[str, ...]:
    """The metadata folders of all packages, in the order in which packages are looked for."""
    folders = []
    for folder, _ in path:
        try:
            folders += [os.path.join(folder, name) for name in os.listdir(folder or ".") if name.endswith(_SUFFIXES)]
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


def _search_path() -> _SearchPath:
    """The folders in which packages are looked for, each with the time at which something was last added or removed."""
    return tuple((str(folder), _modified(str(folder))) for folder in sys.path)


def _modified(folder: str) -> float:
    try:
        return os.stat(folder or ".").st_mtime
    except (OSError, ValueError):
        return 0.0


NO_GRPC = 'OTLP over gRPC needs one more package. Install it: pip install "llmtrace-otel[grpc]"'


def has_grpc() -> bool:
    """True if the package of the extra ``grpc`` is installed."""
    from importlib.util import find_spec

    return find_spec("grpc") is not None
