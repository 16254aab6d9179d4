"""The journal: one append-only file per process, and the only thing that a program writes on the calling thread.

Law: `Journal.append` never raises, and never waits for another process or for an fsync. Once it has returned, the record
survives the death of the process. It is one ``os.write`` (O_APPEND) without a lock: a thread holds a reference to the file
object while it writes, and the file is closed when the last reference is gone. If the disk fails, records wait in memory
(bounded) and are written when it works again; one log line says so. A forked child never writes to its parent's file, and
does not keep it locked.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from llmtrace.store import journal_files, journal_limits, locks
from llmtrace.store.warnings import warn_once

logger = logging.getLogger("llmtrace")

Entry: TypeAlias = tuple[int, bytes, bytes]
"""The journal entry of one span: its kind, payload and context."""
ROTATE_BYTES = 32 << 20
BACKLOG_BYTES = 16 << 20
LOOK_SECONDS = 1.0
"""Seconds between two checks if the file is full or old."""
IN_PLACE_SECONDS = 0.05
"""Seconds between two checks that the file was not deleted or replaced."""
RETRY_SECONDS = 5.0
_HIGH = 512
"""The journal's descriptor is moved up to this number. A program that closes all low descriptors and opens its own files must
not get our records in them."""


class Journal:
    """Appends records to this process's file in ``folder``. Opens it on first use, and again after ``close`` or a fork."""

    def __init__(self, folder: Path | None, *, max_bytes: int = 1 << 30, max_days: float = 7.0) -> None:
        """``folder`` None: records stay in memory, since no folder can be written to."""
        self.folder = folder
        self.on_look: list[Callable[[], None]] = []
        """Called about once a second, by a thread that appends, so they must return at once."""
        self._max_bytes = max_bytes
        self._max_days = max_days
        self._begin()
        _journals.add(self)

    def _begin(self) -> None:
        """Set the state of a process that has written nothing yet."""
        self._lock = threading.RLock()  # for rare work: opening, rotating, recovering. Reentrant: a finaliser may append
        self._file: _File | None = None
        self._troubled = False  # True while the disk takes no records; the file keeps its lock, since our process still runs
        self._look_at = 0.0
        self._in_place_until = 0.0
        self._process = ""
        self._numbers = itertools.count()
        self._backlog: deque[Entry] = deque()
        self._backlog_bytes = 0
        self._lost = 0

    def append(self, kind: int, payload: bytes, context: bytes = b"") -> None:
        """Write one record. ``context`` (see `journal_records.encode_context`) is written once per file; records refer to
        it."""
        self.append_all([(kind, payload, context)])

    def append_all(self, records: Sequence[Entry]) -> None:
        file = None if self._troubled else self._file
        try:
            now = time.monotonic()
            if file is None or now >= self._look_at:
                file = self._look()
            elif now >= self._in_place_until:
                if file.in_place():
                    self._in_place_until = now + IN_PLACE_SECONDS
                else:
                    self._look_at = 0.0
                    file = self._look()
            if file is None:
                self._keep(records)
            else:
                file.write(records)
        except OSError as error:
            self._keep(records)
            self._failed(error, file)
        except Exception as error:  # a record of more than 4 GiB, or the interpreter is shutting down
            if len(records) > 1:
                for record in records:
                    self.append_all([record])
                return
            warn_once(f"a span could not be written to the journal ({type(error).__name__}) and is lost")

    @property
    def process(self) -> str:
        """This process's part of its files' names (see `journal_files.process_of`); empty before the first file."""
        return self._process

    def waiting(self) -> list[Entry]:
        """Return the records that wait in memory because the disk does not take them."""
        return list(self._backlog)

    def flush(self) -> None:
        """Try again to write the records that wait in memory. Never raises."""
        if self._backlog:
            self._look_at = 0.0
            self._look()

    def close(self) -> None:
        """Close the file. Its unfinished spans count as interrupted from now on. Never raises."""
        self.flush()
        with self._lock:
            if self._file is not None and self.folder is not None and self._file.is_empty and not self._troubled:
                with contextlib.suppress(OSError):
                    (self.folder / self._file.name).unlink()
            self._file = None
            self._look_at = 0.0
            lost, self._lost = self._lost + len(self._backlog), 0
            self._backlog.clear()
            self._backlog_bytes = 0
        if lost:
            warn_once(f"{lost} span records could not be written to {_place(self.folder)} and are lost")

    def _look(self) -> _File | None:
        """Check the file and return the one to write to; None while the disk does not take records. Never raises OSError."""
        trouble = None
        recovered = False
        with self._lock:
            now = time.monotonic()
            if now < self._look_at:
                return None if self._troubled else self._file
            try:
                file = self._file = self._usable(self._file)
                self._drain(file)
                self._look_at = now + LOOK_SECONDS
                recovered, self._troubled = self._troubled, False
            except OSError as error:
                trouble, file = error, None
                self._trouble(error)
        if trouble is not None:
            warn_once(_line(trouble, self.folder))
        elif recovered:
            warn_once(f"{_place(self.folder)} can be written again{self._losses()}")
        self._notify()
        return file

    def _usable(self, file: _File | None) -> _File:
        """Return this file, or a new one if it is full. A file that somebody deleted is closed and not written again."""
        if file is not None and not file.in_place():
            file = None
        if file is not None and not file.full(self._max_days):
            return file
        if self.folder is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        locks.make_folder(self.folder)
        opened = _create(self.folder, self._name())
        journal_limits.keep_bounds(self.folder, self._max_bytes, self._max_days, now=file is not None)
        return opened

    def _name(self) -> str:
        self._process = self._process or journal_files.new_process()
        return journal_files.new_name(self._process, next(self._numbers))

    def _keep(self, records: Sequence[Entry]) -> None:
        self._backlog.extend(records)
        self._backlog_bytes += sum(len(payload) for _, payload, _ in records)
        while self._backlog_bytes > BACKLOG_BYTES and len(self._backlog) > 1:
            self._backlog_bytes -= len(self._backlog.popleft()[1])
            self._lost += 1

    def _drain(self, file: _File) -> None:
        """Write the records that wait in memory. Raises OSError if the disk still does not take them."""
        while self._backlog:
            record = self._backlog[0]
            file.write([record])
            if self._backlog and self._backlog[0] is record:
                self._backlog.popleft()
                self._backlog_bytes -= len(record[1])

    def _failed(self, error: OSError, file: _File | None) -> None:
        """Handle a failed write. If the program closed our descriptor, open a file at once; else try again in some seconds."""
        with self._lock:
            if file is not None and (self._troubled or file is not self._file):
                return  # another thread has handled it; our record, now in memory, is written at the next check
            if file is not None and not file.ours():
                self._file, self._look_at = None, 0.0
            else:
                self._trouble(error)
        if self._look() is None:
            warn_once(_line(error, self.folder))

    def _trouble(self, error: OSError) -> None:
        self._troubled = True
        if error.errno == errno.EFBIG:  # a limit on file size: begin another
            self._file = None
        self._look_at = time.monotonic() + RETRY_SECONDS

    def _losses(self) -> str:
        lost, self._lost = self._lost, 0
        return f". {lost} records were lost meanwhile, because the memory for them is limited" if lost else ""

    def _notify(self) -> None:
        for callback in self.on_look:
            try:
                callback()
            except Exception:
                logger.debug("llmtrace: the journal's on_look failed", exc_info=True)

    def _forked(self) -> None:
        is_used = self._file is not None
        if self._file is not None:
            self._file.close()  # this copy of the descriptor only; the lock stays with the parent
        self._begin()
        if is_used and hasattr(os, "geteuid") and os.geteuid() == 0:
            self._look()  # a child that gives up its privileges could not open a file later


class _File:
    """One open journal file. It is closed when no thread uses it."""

    __slots__ = ("_born", "_descriptor", "_identity", "_refs", "_seen", "_size", "name")

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self._descriptor = descriptor
        self._size = journal_files.HEAD.size
        self._born = time.monotonic()
        self._refs = itertools.count(1)
        self._seen = {b"": 0}

    def write(self, records: Sequence[Entry]) -> None:
        """Write records, each after its context if this file does not have it yet. Raises OSError if one was not complete."""
        frames: list[bytes] = []
        new: dict[bytes, int] = {}
        for kind, payload, context in records:
            ref = self._seen.get(context, new.get(context))
            if ref is None:
                ref = new[context] = next(self._refs)
                frames.append(journal_files.frame(journal_files.CONTEXT, ref, context))
            frames.append(journal_files.frame(kind, ref, payload))
        data = b"".join(frames)
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._seen.update(new)
        self._size += len(data)

    @property
    def is_empty(self) -> bool:
        return self._size == journal_files.HEAD.size

    def ours(self, least_links: int = 0) -> bool:
        """Return False if the program closed our descriptor, whose number may belong to another file by now."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity and status.st_nlink >= least_links

    def in_place(self) -> bool:
        """Return True if the descriptor is ours and the file was not deleted."""
        return self.ours(least_links=1)

    def full(self, max_days: float) -> bool:
        """Return True if a new file is due: this one is large, old (only whole files can be removed) or out of context
        numbers."""
        aged = time.monotonic() - self._born > max_days * 86400 / 7
        return self._size >= ROTATE_BYTES or aged or len(self._seen) > 60_000

    def close(self) -> None:
        ours, descriptor, self._descriptor = self.ours(), self._descriptor, -1
        if ours:
            os.close(descriptor)

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter is shutting down; the system closes the file
            pass


def _create(folder: Path, name: str) -> _File:
    """Create a journal file. It gets its name only when it has its lock and head, so nobody sees it without them."""
    hidden = folder / f".{name}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | locks.FLAGS
    descriptor = locks.moved_up(os.open(hidden, flags, 0o600), _HIGH)
    try:
        locks.take(descriptor, exclusive=True)
        os.write(descriptor, journal_files.head())
        hidden.rename(folder / name)
        return _File(descriptor, name)
    except OSError:
        os.close(descriptor)
        hidden.unlink(missing_ok=True)
        raise


def _place(folder: Path | None) -> str:
    return str(folder) if folder is not None else "the user's data folder"


def _line(error: OSError, folder: Path | None) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"cannot write to {_place(folder)} ({reason}). The last {BACKLOG_BYTES >> 20} MiB of spans stay in memory until it "
        "works. Free disk space, give write access, or set LLMTRACE_STORE to a writable folder"
    )


_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_journals):
        journal._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
