"""Folders as a crash leaves them: built from the changes that a program made, in order, as `io_shim.c` wrote them down.

A killed process leaves every change up to some point, the last write possibly in part. After a power cut, any write that was
not synced may be missing: its bytes are zeros if a later write made the file longer. Renames, links and removals keep their
order, as in the journaling file systems; ``-shm`` files are memory of SQLite and are left out.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<cIqI")


class Change(NamedTuple):
    kind: str
    """C create, W write, T truncate, R rename, L link, U unlink, D mkdir, F fsync, M mark of the program."""
    path: str
    place: int
    """Offset of a write, or the size after a truncate."""
    data: bytes


Image = dict[str, bytes | None]
"""Content of each file by its path; None for a folder."""


def read_log(log: Path) -> list[Change]:
    data, at, changes = log.read_bytes(), 0, []
    while at < len(data):
        kind, path_length, place, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        path, text = data[at : at + path_length].decode(), data[at + path_length : at + path_length + length]
        at += path_length + length
        changes.append(Change(kind.decode(), path, place, text))
    return changes


def load(folder: Path) -> Image:
    if not folder.exists():
        return {}
    found = {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    return {"": None, **found}


def store(image: Image, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    for path, data in sorted(image.items()):
        target = folder / path if path else folder
        if data is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def apply(image: Image, change: Change, *, zeros: bool = False) -> None:
    """``zeros``: a write makes the file longer, but its bytes did not reach the disk."""
    kind, path, place, data = change
    if path.endswith("-shm") or kind in "FM":
        return
    before = image.get(path) or b""
    if kind in "CD":
        image.setdefault(path, None if kind == "D" else b"")
    elif kind == "W":
        before = before.ljust(place, b"\0")
        old = before[place : place + len(data)].ljust(len(data), b"\0")
        image[path] = before[:place] + (old if zeros else data) + before[place + len(data) :]
    elif kind == "T":
        image[path] = before[:place].ljust(place, b"\0")
    elif kind == "U":
        image.pop(path, None)
    elif kind in "RL":
        image[data.decode()] = before
        if kind == "R":
            image.pop(path, None)


def after(
    start: Image, changes: Sequence[Change], lost: frozenset[int] = frozenset(), zeros: frozenset[int] = frozenset()
) -> Image:
    image = dict(start)
    for number, change in enumerate(changes):
        if number not in lost:
            apply(image, change, zeros=number in zeros)
    return image


def killed(start: Image, changes: Sequence[Change]) -> Iterator[tuple[int, Image]]:
    """Yield what a killed process leaves, with the number of changes that were complete."""
    for count in range(len(changes) + 1):
        yield count, after(start, changes[:count])
        if count < len(changes) and changes[count].kind == "W":
            last = changes[count]
            for length in {1, len(last.data) // 2, len(last.data) - 1} - {0, len(last.data)}:
                yield count, after(start, [*changes[:count], last._replace(data=last.data[:length])])


def powerless(start: Image, changes: Sequence[Change]) -> Iterator[tuple[int, Image]]:
    """Yield what a power cut leaves, with the number of changes that are on disk for certain or were tried."""
    for count in range(1, len(changes) + 1):
        pending = _unsynced(changes[:count])
        choices = [frozenset(pending), *(frozenset({number}) for number in pending[-8:])]
        choices += [frozenset(pending) - {number} for number in pending[-4:]]
        for lost in choices:
            yield count, after(start, changes[:count], lost=lost)
            yield count, after(start, changes[:count], zeros=lost)


def _unsynced(changes: Sequence[Change]) -> list[int]:
    """Return the numbers of the writes whose file was not synced after them."""
    names = {number: change.path for number, change in enumerate(changes) if change.kind == "W"}
    pending: dict[int, str] = {}
    for number, change in enumerate(changes):
        if change.kind in "WT":
            if number in names:
                pending[number] = change.path
        elif change.kind == "R":
            pending = {place: change.data.decode() if path == change.path else path for place, path in pending.items()}
        elif change.kind == "F":
            pending = {place: path for place, path in pending.items() if path != change.path}
    return list(pending)
