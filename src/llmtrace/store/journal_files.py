"""Journal files: their format, how to read them, and which belong to a running process.

A file has a head (magic bytes, format version) and records, each with a mark, its length and a CRC-32. Law: whatever happened
to a file, every complete record is read; bytes that cannot be read are skipped or set aside. Only `erasure`, which a user asks
for, overwrites what was written. The writer of a file holds an exclusive ``flock`` on it, and readers
only try a shared one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from llmtrace.store import locks

SUFFIX = ".journal"
CORRUPT = ".corrupt"
VERSION = 1
MAGIC = b"llmtrace"
HEAD = struct.Struct("<8sHxxI")
"""Magic bytes, version, and a CRC-32 of both, so that a damaged version is not mistaken for a newer one."""

MARK = b"\xffLT\xff"
"""Starts each record. UTF-8 text never contains 0xff, so content cannot be mistaken for the start of a record."""
RECORD = struct.Struct("<4sBxHII")

CONTEXT, START, SPAN, ERASED = 1, 2, 3, 254
"""Kinds of record: resource and scope; a span that has begun; a span that has ended; zeros in the place of a record that was
erased. Readers skip kinds they don't know."""

_BLOCK = 1 << 20


class Record(NamedTuple):
    kind: int
    ref: int
    """Number of the context record in this file: the record's own, or the one that it refers to; 0: none."""
    payload: bytes
    offset: int
    length: int
    """Bytes in the file, from ``offset``."""


class Gap(NamedTuple):
    """Bytes that are not a record. ``tail``: no record follows (yet, if the writer still runs)."""

    offset: int
    length: int
    tail: bool

    def describe(self, path: Path) -> str:
        if self.tail:
            return (
                f"{path}: the last {self.length} bytes are incomplete (the program was killed while writing) and are left out"
            )
        return f"{path}: {self.length} bytes at offset {self.offset} are damaged and are left out"


class JournalFile(NamedTuple):
    name: str
    size: int
    modified: float


class Unusable(Exception):
    """The file is not a journal, or it has a newer format (``newer`` True)."""

    def __init__(self, path: Path, *, newer: bool) -> None:
        super().__init__(path)
        self.path = path
        self.newer = newer


def head(version: int = VERSION) -> bytes:
    """Return the first bytes of a file."""
    return HEAD.pack(MAGIC, version, _head_check(version))


def _head_check(version: int) -> int:
    return zlib.crc32(struct.pack("<8sH", MAGIC, version))


def frame(kind: int, ref: int, payload: bytes) -> bytes:
    """Return the bytes of one record. Raises struct.error for more than 4 GiB or a context number above 65535."""
    return RECORD.pack(MARK, kind, ref, len(payload), zlib.crc32(payload, kind | ref << 8)) + payload


def iterate(path: Path, offset: int = 0) -> Iterator[Record | Gap]:
    """Read the records from ``offset`` (0, or the end of a record), with a `Gap` wherever bytes are damaged.

    Raises `Unusable` for a head that is not a journal's, OSError if the file cannot be opened.
    """
    with path.open("rb", _BLOCK) as file:
        size = os.fstat(file.fileno()).st_size
        check_head(file, path)
        offset = max(offset, HEAD.size)
        while offset < size:
            record: Record | Gap | None = _record_at(file, offset, size)
            if record is None:
                following = _resync(file, offset + 1, size)
                record = Gap(offset, (size if following is None else following) - offset, tail=following is None)
            yield record
            offset += record.length


def read(file: BinaryIO, offset: int, length: int) -> Record | None:
    """Read the record at ``offset``. Returns None if the file has no complete record of this length at that place."""
    return _record_at(file, offset, offset + length)


def erase(file: BinaryIO, place: Record | Gap) -> None:
    """Overwrite a record or damaged bytes with zeros of the same length, as a record where there is room for one.

    Bytes after the last record are cut off; nobody may write to the file then. Killed in between, it leaves damaged bytes, with
    which it can be called again. Raises OSError.
    """
    if isinstance(place, Gap) and place.tail:
        file.truncate(place.offset)
        return
    file.seek(place.offset)
    zeros = place.length - RECORD.size
    file.write(bytes(place.length) if zeros < 0 else frame(ERASED, 0, bytes(zeros)))


def check_head(file: BinaryIO, path: Path) -> None:
    """Raise `Unusable` if the file is not a journal of this version. A damaged head is accepted if a record follows it."""
    start = file.read(HEAD.size)
    if len(start) == HEAD.size:
        magic, version, check = HEAD.unpack(start)
        if magic == MAGIC and version == VERSION:
            return
        if magic == MAGIC and version > VERSION and check == _head_check(version):
            raise Unusable(path, newer=True)
        if _resync(file, HEAD.size, os.fstat(file.fileno()).st_size) is not None:
            return
    raise Unusable(path, newer=False)


def _record_at(file: BinaryIO, offset: int, size: int) -> Record | None:
    file.seek(offset)
    header = file.read(RECORD.size)
    if offset + RECORD.size > size or len(header) < RECORD.size:
        return None
    mark, kind, ref, length, crc = RECORD.unpack(header)
    if mark != MARK or offset + RECORD.size + length > size:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload, kind | ref << 8) != crc:
        return None
    return Record(kind, ref, payload, offset, RECORD.size + length)


def _resync(file: BinaryIO, offset: int, size: int) -> int | None:
    """Return the offset of the next complete record from ``offset`` on; None if there is none."""
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
        offset += len(block) - len(MARK) + 1  # a mark may lie across two blocks
    return None


def listing(folder: Path) -> list[JournalFile]:
    """Return the journal files of a folder, oldest first; an empty list if the folder does not exist. Raises OSError."""
    files = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat()
                    files.append(JournalFile(entry.name, status.st_size, status.st_mtime))
    return sorted(files)


def new_name(process: str, number: int) -> str:
    """Return a name for a new file. Names sort by the time of creation; `process_of` reads ``process`` from them."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    begun = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}{rest // 1000:06d}"
    return f"{begun}-{process}.{number:05d}{SUFFIX}"


def new_process() -> str:
    """Return a name for this process that no other one has, for `new_name`."""
    return f"{os.getpid()}-{os.urandom(4).hex()}"


def process_of(name: str) -> str:
    """Return the part of a file name that identifies its process. A process holds the lock of its newest file only."""
    return name.partition("-")[2].partition(".")[0] or name


def damages(folder: Path, *, seconds: float) -> Iterator[str]:
    """Yield a line for each damaged part of the journal files, newest file first. Starts no new file after ``seconds``."""
    deadline = time.monotonic() + seconds
    for file in reversed(listing(folder)):
        if time.monotonic() > deadline:
            return
        path = folder / file.name
        written = is_being_written(path)  # checked before reading: an incomplete record may be complete soon
        with contextlib.suppress(OSError, Unusable):
            for record in iterate(path):
                if isinstance(record, Gap) and not (record.tail and written):
                    yield record.describe(path)


class RunningWriters:
    """Tells which processes still run, by the locks on their files. Each process is checked once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, list[str]] | None = None
        self._runs: dict[str, bool] = {}

    def is_running(self, name: str) -> bool:
        """Return True if the process that wrote this file still runs."""
        process = process_of(name)
        if self._names is None:
            self._names = {}
            for file in listing(self._folder):
                self._names.setdefault(process_of(file.name), []).append(file.name)
        if process not in self._runs:
            # a process holds the lock of its newest file only
            names = reversed(self._names.get(process, []))
            self._runs[process] = any(is_being_written(self._folder / name) for name in names)
        return self._runs[process]


def is_being_written(path: Path) -> bool:
    """Return True if the process that writes this file still runs. Without file locks: if it wrote in the last minute."""
    is_locked = locks.is_held(path)
    return is_locked if is_locked is not None else age(path) < 60


def age(path: Path) -> float:
    """Return the seconds since the last change; infinity if the file does not exist."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
