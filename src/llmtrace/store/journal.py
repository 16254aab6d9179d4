"""The journal: what a program writes, one append-only file per process, and nothing else on the calling thread.

Law: `Journal.append` never raises and never waits for another process or for the disk's platter; once it has returned, the
record survives the death of the process. It is one ``os.write`` (O_APPEND) without a lock: a thread holds the file object
while it writes, and the file is closed when the last one lets go. Whatever the disk does, records wait in memory (bounded)
and go out when it works again; one line says so. A forked child never writes into its parent's file, nor keeps it locked.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path

from llmtrace.store import files, locks, sent
from llmtrace.store.notices import say

logger = logging.getLogger("llmtrace")

ROTATE_BYTES = 32 << 20
BACKLOG_BYTES = 16 << 20
LOOK_SECONDS = 1.0
"""How often the file is looked at: is it still there, is it full, is it old?"""
RETRY_SECONDS = 5.0
_HIGH = 512
"""Our descriptor is moved up here: a program that closes all its low descriptors and opens its own must not get our records."""


class Journal:
    """Appends records to this process's file in ``folder``; opens it on first use, and again after ``close`` or a fork."""

    def __init__(self, folder: Path | None, *, max_bytes: int = 1 << 30, max_days: float = 7.0) -> None:
        """``folder`` None: there is no place to write, everything stays in memory."""
        self.folder = folder
        self.on_look: Callable[[], None] | None = None
        """Called about once a second by whoever appends then, so it must return at once."""
        self._max_bytes = max_bytes
        self._max_days = max_days
        self._begin()
        _journals.add(self)

    def _begin(self) -> None:
        """The state of a process that has written nothing yet."""
        self._lock = threading.RLock()  # for what is rare: opening, rotating, recovering. Reentrant: a finaliser may append
        self._file: _File | None = None  # None while there is trouble
        self._parked: _File | None = None  # during trouble: it keeps its lock, since our process still runs
        self._look_at = 0.0
        self._troubled = False
        self._process = ""
        self._numbers = itertools.count()
        self._backlog: deque[tuple[int, bytes, bytes]] = deque()
        self._backlog_bytes = 0
        self._lost = 0

    def append(self, kind: int, payload: bytes, context: bytes = b"") -> None:
        """Write one record. ``context`` (see `records.encode_context`) is written once per file and referred to."""
        file = self._file
        try:
            if file is None or time.monotonic() >= self._look_at:
                file = self._look()
            if file is None:
                self._keep(kind, payload, context)
            else:
                file.write(kind, payload, context)
        except OSError as error:
            self._keep(kind, payload, context)
            self._failed(error, file)
        except Exception as error:  # a record beyond all bounds, or the interpreter's end
            say(f"a span could not be journaled ({type(error).__name__}); it is lost")

    @property
    def process(self) -> str:
        """What the names of this process's files have in common (see `files.process_of`); empty before the first of them."""
        return self._process

    def waiting(self) -> list[tuple[int, bytes, bytes]]:
        """Records (kind, payload, context) that are not on disk yet, because it does not take them."""
        return list(self._backlog)

    def flush(self) -> None:
        """Try once more to write what waits in memory. What was written needs no flush. Never raises."""
        if self._backlog:
            self._look_at = 0.0
            self._look()

    def close(self) -> None:
        """Let go of the file; unfinished spans in it count as interrupted from now on. Never raises."""
        self.flush()
        with self._lock:
            self._file = self._parked = None
            self._look_at = 0.0
            lost, self._lost = self._lost + len(self._backlog), 0
            self._backlog.clear()
            self._backlog_bytes = 0
        if lost:
            say(f"{lost} span records could never be written to {_place(self.folder)} and are lost")

    def _look(self) -> _File | None:
        """The file to write to, after a look at it; None while there is trouble. Never raises OSError."""
        trouble = None
        recovered = False
        with self._lock:
            now = time.monotonic()
            file = self._file
            if now < self._look_at:
                return file
            try:
                file = self._usable(file or self._parked)
                self._drain(file)
                self._file, self._parked, self._look_at = file, None, now + LOOK_SECONDS
                recovered, self._troubled = self._troubled, False
            except OSError as error:
                trouble, file = error, None
                self._trouble(error)
        if trouble is not None:
            say(_line(trouble, self.folder))
        elif recovered:
            say(f"{_place(self.folder)} takes spans again{self._losses()}")
        self._notify()
        return file

    def _usable(self, file: _File | None) -> _File:
        """This file, or the next one. A file that has lost its name is let go: whoever removed it wanted it gone."""
        if file is not None and not file.in_place():
            file = None
        if file is not None and not file.full(self._max_days):
            return file
        if self.folder is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        opened = _create(self.folder, self._name())
        files.keep_bounds(self.folder, self._max_bytes, self._max_days, now=file is not None, removing=sent.note_removed)
        return opened

    def _name(self) -> str:
        """Names sort by the time at which a file was begun, and by `files.process_of` tell their process."""
        if not self._process:
            self._process = f"{os.getpid()}-{os.urandom(4).hex()}"
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        begun = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}{rest // 1000:06d}"
        return f"{begun}-{self._process}.{next(self._numbers):05d}{files.SUFFIX}"

    def _keep(self, kind: int, payload: bytes, context: bytes) -> None:
        self._backlog.append((kind, payload, context))
        self._backlog_bytes += len(payload)
        while self._backlog_bytes > BACKLOG_BYTES and len(self._backlog) > 1:
            self._backlog_bytes -= len(self._backlog.popleft()[1])
            self._lost += 1

    def _drain(self, file: _File) -> None:
        """Write what waited. Raises OSError if there is still trouble."""
        while self._backlog:
            record = self._backlog[0]
            file.write(*record)
            if self._backlog and self._backlog[0] is record:
                self._backlog.popleft()
                self._backlog_bytes -= len(record[1])

    def _failed(self, error: OSError, file: _File | None) -> None:
        """A write went wrong. If somebody closed our descriptor, open anew at once; else try again in some seconds."""
        with self._lock:
            if file is not None and file is not self._file:
                return  # another thread has dealt with this file; what we kept goes out at the next look
            if file is not None and not file.ours():
                self._file, self._look_at = None, 0.0
            else:
                self._trouble(error)
        if self._look() is None:
            say(_line(error, self.folder))

    def _trouble(self, error: OSError) -> None:
        file = self._file or self._parked
        self._troubled = True
        self._file, self._parked = None, None if error.errno == errno.EFBIG else file  # a limit on file size: begin another
        self._look_at = time.monotonic() + RETRY_SECONDS

    def _losses(self) -> str:
        lost, self._lost = self._lost, 0
        return f"; {lost} records were lost meanwhile, since the memory for them is bounded" if lost else ""

    def _notify(self) -> None:
        if self.on_look is not None:
            try:
                self.on_look()
            except Exception:
                logger.debug("llmtrace: the journal's on_look failed", exc_info=True)

    def _forked(self) -> None:
        for file in (self._file, self._parked):
            if file is not None:
                file.close()  # this copy of the descriptor only; the lock stays with the parent
        self._begin()


class _File:
    """One open journal file. It is closed when no thread uses it any more."""

    __slots__ = ("_born", "_descriptor", "_identity", "_refs", "_seen", "_size")

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self._descriptor = descriptor
        self._size = files.HEAD.size
        self._born = time.monotonic()
        self._refs = itertools.count(1)
        self._seen = {b"": 0}

    def write(self, kind: int, payload: bytes, context: bytes) -> None:
        """One record, after its context if that is new here. Raises OSError if it did not go in whole."""
        ref = self._seen.get(context)
        if ref is None:
            ref = next(self._refs)
            data = files.frame(files.CONTEXT, ref, context) + files.frame(kind, ref, payload)
        else:
            data = files.frame(kind, ref, payload)
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._seen[context] = ref
        self._size += len(data)

    def ours(self) -> bool:
        """False if the program closed our descriptor, whose number may be somebody else's by now."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def in_place(self) -> bool:
        """True if the descriptor is ours and the file still has a name."""
        return self.ours() and os.fstat(self._descriptor).st_nlink > 0

    def full(self, max_days: float) -> bool:
        """Big enough or, since only whole files are removed, old enough to begin another; or out of context numbers."""
        aged = time.monotonic() - self._born > max_days * 86400 / 7
        return self._size >= ROTATE_BYTES or aged or len(self._seen) > 60_000

    def close(self) -> None:
        ours, descriptor, self._descriptor = self.ours(), self._descriptor, -1
        if ours:
            os.close(descriptor)

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter is going down; the system closes what is left
            pass


def _create(folder: Path, name: str) -> _File:
    """A new file. It gets its name only when it has its lock and head, so that nobody sees it without."""
    hidden = folder / f".{name}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | locks.FLAGS
    descriptor = locks.moved_up(os.open(hidden, flags, 0o600), _HIGH)
    try:
        locks.take(descriptor, exclusive=True)
        os.write(descriptor, files.HEAD.pack(files.MAGIC, files.VERSION))
        hidden.rename(folder / name)
        return _File(descriptor)
    except OSError:
        os.close(descriptor)
        hidden.unlink(missing_ok=True)
        raise


def _place(folder: Path | None) -> str:
    return str(folder) if folder is not None else "the user's data folder"


def _line(error: OSError, folder: Path | None) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"cannot write to {_place(folder)} ({reason}): spans stay in memory, the last {BACKLOG_BYTES >> 20} MiB of them, "
        "until it works. Make room or give access there, or set LLMTRACE_STORE to a writable folder"
    )


_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_journals):
        journal._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
