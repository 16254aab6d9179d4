"""Pinned baselines of a store: a file beside the journal that can be copied elsewhere and does not depend on the index.

Law: a file that is not a baseline file, or is of another version, changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmtrace.errors import StoreError
from llmtrace.store import locks
from llmtrace.store.warnings import warn_once

if TYPE_CHECKING:  # see `monitoring`
    from llmtrace.monitors import Key

NAME: Final = "baselines.json"
_VERSION: Final = 2

Pins = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Baselines by the name of the key, then by the name of the stream."""


def read(folder: Path) -> Pins:
    """Return the pinned baselines of a store; none without a readable file."""
    try:
        return parse((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warn_once(f"the pinned baselines in {folder / NAME} are ignored: {error}")
        return {}


def parse(text: str) -> Pins:
    """Read the text of a baseline file. Raises ValueError if it is not one."""
    from llmtrace.monitors import Key

    try:
        document = json.loads(text)
        version = document["llmtrace_baselines"]
    except (ValueError, TypeError, KeyError):
        raise ValueError("it is not a baseline file. 'llmtrace drift baseline export' writes one") from None
    if version != _VERSION:
        raise ValueError(f"it has version {version!r}, but this llmtrace reads version {_VERSION}. Upgrade llmtrace")
    try:
        return {Key(**entry["key"]).name(): _streams(entry["streams"]) for entry in document["keys"]}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from None


def _streams(streams: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    from llmtrace.monitors import KINDS

    for stream in streams.values():
        KINDS[stream["kind"]]().start_from(stream["baseline"])  # raises if something is missing
    return streams


def key(name: str) -> Key:
    """Return the key that has this name in `Pins`."""
    from llmtrace.monitors import Key

    return Key(*json.loads(name))


def text(pins: Pins) -> str:
    """Return the text of a baseline file; `parse` reads it."""
    keys = [{"key": key(name)._asdict(), "streams": streams} for name, streams in sorted(pins.items())]
    return json.dumps({"llmtrace_baselines": _VERSION, "keys": keys}, indent=1) + "\n"


def _is_later(path: Path) -> bool:
    try:
        version = json.loads(path.read_bytes())["llmtrace_baselines"]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return isinstance(version, int) and version > _VERSION


def write(folder: Path, pins: Pins) -> None:
    """Write the baseline file, or remove it if ``pins`` is empty. Readers never see a partial file.

    Raises StoreError, also if a later llmtrace wrote the file that is there.
    """
    path = folder / NAME
    try:
        if _is_later(path):
            raise StoreError(f"{path} was written by a newer llmtrace. Upgrade llmtrace, or move the file away")
        if not pins:
            path.unlink(missing_ok=True)
            return
        draft = path.with_name(f".{NAME}.{os.getpid()}")
        locks.write(draft, text(pins).encode())
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def names(pins: Pins) -> frozenset[str]:
    """Return the names that baselines are kept by: agents, models, tools, and parts of results."""
    parts = {_part(stream) for streams in pins.values() for stream in streams.values()} - {""}
    return frozenset(parts.union(*map(_of_key, pins)))


def without(pins: Pins, gone: Set[str]) -> Pins:
    """Return the baselines without those that are kept by one of these names."""
    return {
        of: {name: stream for name, stream in streams.items() if _part(stream) not in gone}
        for of, streams in pins.items()
        if not _of_key(of) & gone
    }


def _of_key(name: str) -> Set[str]:
    of = key(name)
    return {part for part in (of.agent, of.model, of.tool) if part}


def _part(stream: Mapping[str, Any]) -> str:
    return str(stream.get("part") or "")
