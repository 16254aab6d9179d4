"""Journal files: their format, how they are read, which belong to a running process, and how many may stay.

A file is a head (magic, format version) and records, each with a mark, its length and a CRC-32. Law: whatever happened to a
file, every record that is whole is read; what cannot be read is skipped or set aside, never removed. The file of a running
process is never removed either: its writer holds an exclusive ``flock`` on it, readers only ever try a shared one.
"""

from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from llmtrace.store import locks

SUFFIX = ".journal"
CORRUPT = ".corrupt"
BOUNDS = ".bounds"
"""Beside the journal files: bytes and days, as the program that wrote last was configured."""
VERSION = 1
MAGIC = b"llmtrace"
HEAD = struct.Struct("<8sHxxxxxx")

MARK = b"\xffLT\xff"
"""Starts each record. 0xff is in no UTF-8 text, so no content can be taken for a record while looking for the next one."""
RECORD = struct.Struct("<4sBxHII")

CONTEXT, START, SPAN = 1, 2, 3
"""Kinds of record: resource and scope; a span that has begun; a span that has ended. Readers skip kinds they don't know."""

_BLOCK = 1 << 20


class Record(NamedTuple):
    kind: int
    ref: int
    """Number of the context record (in the same file) that this one refers to, or that this one is; 0: none."""
    payload: bytes
    offset: int
    length: int
    """Bytes in the file, from ``offset``."""


class Gap(NamedTuple):
    """Bytes that are no record. ``tail``: nothing readable follows (yet, if its writer runs)."""

    offset: int
    length: int
    tail: bool


class Found(NamedTuple):
    name: str
    size: int
    modified: float


class Unusable(Exception):
    """A file that is no journal (``newer`` False), or one of a newer format."""

    def __init__(self, path: Path, *, newer: bool) -> None:
        super().__init__(path)
        self.path = path
        self.newer = newer


def frame(kind: int, ref: int, payload: bytes) -> bytes:
    """One record, ready to be written. Raises struct.error beyond 4 GiB or context 65535."""
    return RECORD.pack(MARK, kind, ref, len(payload), zlib.crc32(payload, kind | ref << 8)) + payload


def iterate(path: Path, offset: int = 0) -> Iterator[Record | Gap]:
    """The records from ``offset`` (0, or the end of a record) on, with a `Gap` wherever bytes are damaged.

    Raises `Unusable` if the head is not ours, OSError if the file cannot be opened.
    """
    with path.open("rb", buffering=_BLOCK) as file:
        size = os.fstat(file.fileno()).st_size
        _check_head(file, path)
        offset = max(offset, HEAD.size)
        while offset < size:
            record = _record_at(file, offset, size) or _gap(file, offset, size)
            yield record
            offset += record.length


def outline(path: Path) -> Iterator[Record]:
    """The records of a file, the payloads of contexts only; it ends where damage is in the way.

    Raises `Unusable`, OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_head(file, path)
        offset = HEAD.size
        while offset + RECORD.size <= size:
            file.seek(offset)
            mark, kind, ref, length, _ = RECORD.unpack(file.read(RECORD.size))
            if mark != MARK:
                return
            payload = file.read(length) if kind == CONTEXT else b""
            yield Record(kind, ref, payload, offset, RECORD.size + length)
            offset += RECORD.size + length


def read(file: BinaryIO, offset: int, length: int) -> Record | None:
    """The record at ``offset``, or None if no whole record of this length is there."""
    return _record_at(file, offset, offset + length)


def _check_head(file: BinaryIO, path: Path) -> None:
    head = file.read(HEAD.size)
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        raise Unusable(path, newer=False)
    if HEAD.unpack(head)[1] > VERSION:
        raise Unusable(path, newer=True)


def _record_at(file: BinaryIO, offset: int, size: int) -> Record | None:
    if offset + RECORD.size > size:
        return None
    file.seek(offset)
    mark, kind, ref, length, crc = RECORD.unpack(file.read(RECORD.size))
    if mark != MARK or offset + RECORD.size + length > size:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload, kind | ref << 8) != crc:
        return None
    return Record(kind, ref, payload, offset, RECORD.size + length)


def _gap(file: BinaryIO, offset: int, size: int) -> Gap:
    following = _resync(file, offset + 1, size)
    return Gap(offset, (size if following is None else following) - offset, tail=following is None)


def _resync(file: BinaryIO, offset: int, size: int) -> int | None:
    """Where the next whole record begins, from ``offset`` on."""
    while offset < size:
        file.seek(offset)
        block = file.read(_BLOCK)
        at = block.find(MARK)
        while at >= 0:
            if _record_at(file, offset + at, size) is not None:
                return offset + at
            at = block.find(MARK, at + 1)
        if len(block) < _BLOCK:
            return None
        offset += len(block) - len(MARK) + 1
    return None


def listing(folder: Path) -> list[Found]:
    """The journal files of a folder, oldest first; empty if there is no such folder."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                    try:
                        status = entry.stat()
                    except OSError:  # removed meanwhile
                        continue
                    found.append(Found(entry.name, status.st_size, status.st_mtime))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found)


def process_of(name: str) -> str:
    """What all files of one process have in common. A process holds the lock of its newest file only."""
    return name.partition("-")[2].partition(".")[0] or name


class Running:
    """Which processes still run, going by the locks on their files; each is looked at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, list[str]] | None = None
        self._known: dict[str, bool] = {}

    def wrote(self, name: str) -> bool:
        """True if the process that wrote this file still runs."""
        process = process_of(name)
        if process not in self._known:
            self._known[process] = any(held(self._folder / name) for name in reversed(self._files(process)))
        return self._known[process]

    def _files(self, process: str) -> list[str]:
        if self._names is None:
            self._names = {}
            for found in listing(self._folder):
                self._names.setdefault(process_of(found.name), []).append(found.name)
        return self._names.get(process, [])


def held(path: Path) -> bool:
    """True if the process that writes this file still runs; where there are no locks, if it wrote in the last minute."""
    try:
        descriptor = os.open(path, os.O_RDONLY | locks.FLAGS)
    except OSError as error:
        return error.errno != errno.ENOENT  # not ours to read, so not ours to judge
    try:
        taken = locks.take(descriptor, exclusive=False)
        return not taken if taken is not None else time.time() - os.fstat(descriptor).st_mtime < 60
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be read, so that nobody trips over it again. Raises OSError."""
    target = path.with_name(path.name + CORRUPT)
    path.rename(target)
    return target


Removing: TypeAlias = Callable[[Path], None]
"""Told of a file that is about to be removed."""


def keep_bounds(folder: Path, max_bytes: int, max_days: float, *, now: bool, removing: Removing | None = None) -> None:
    """For writers: note the bounds and sweep, at once or once an hour. Even where programs are short and nobody reads, they
    hold. Raises OSError if the folder cannot be written."""
    stamp, bounds = folder / BOUNDS, f"{max_bytes} {max_days:g}"
    if now or _age(stamp) > 3600 or stamp.read_text() != bounds:
        descriptor = os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | locks.FLAGS, 0o600)
        os.write(descriptor, bounds.encode())
        os.close(descriptor)
        sweep(folder, max_bytes, max_days, removing)


def sweep_as_noted(folder: Path, removing: Removing | None = None) -> None:
    """For readers: sweep by the bounds that the last writer noted (a reader's own may be others), once a minute."""
    stamp = folder / BOUNDS
    try:
        if _age(stamp) > 60:
            max_bytes, max_days = stamp.read_text().split()
            stamp.touch()
            sweep(folder, int(max_bytes), float(max_days), removing)
    except (OSError, ValueError):
        pass


def _age(path: Path) -> float:
    """Seconds since the last change; no end of them if there is no such file."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


def sweep(folder: Path, max_bytes: int, max_days: float, removing: Removing | None = None) -> list[str]:
    """Remove whole journal files, oldest first, until the store fits its bounds. Returns their names; never raises.

    ``max_bytes`` bounds the journal and what lies beside its folder (the index), of which at most half the bound counts.
    Files of running processes, and files that cannot be read, stay.
    """
    files = sorted(listing(folder), key=lambda file: file.modified)
    room = max_bytes - min(_size_beside(folder), max_bytes // 2)
    oldest = time.time() - max_days * 86400
    total = sum(file.size for file in files)
    removed = []
    for file in files:
        if total <= room and file.modified >= oldest:
            continue
        if not _removable(folder / file.name):
            continue
        try:
            if removing is not None:
                removing(folder / file.name)
            (folder / file.name).unlink(missing_ok=True)
        except OSError:
            continue
        total -= file.size
        removed.append(file.name)
    _remove_strays(folder)
    return removed


def _removable(path: Path) -> bool:
    if held(path):
        return False
    try:
        with path.open("rb") as file:
            _check_head(file, path)
    except (OSError, Unusable):
        return False
    return True


def _size_beside(folder: Path) -> int:
    total = 0
    try:
        with os.scandir(folder.parent) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.endswith(CORRUPT):
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return total


def _remove_strays(folder: Path) -> None:
    """Files whose process died between making them and giving them their name: they hold no record yet."""
    try:
        for path in folder.glob(".*.tmp"):
            if time.time() - path.stat().st_mtime > 3600 and not held(path):
                path.unlink(missing_ok=True)
    except OSError:
        pass
