"""Transactions of the index, which several processes write. They wait for the write lock in short steps."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from llmtrace.store import locks


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Take the write lock at once, so that no other process changes what is read inside."""
    seconds = pragma(db, "busy_timeout") / 1000
    db.execute("PRAGMA busy_timeout = 0")
    try:
        retry_locked(lambda: db.execute("BEGIN IMMEDIATE"), seconds)
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # after an error of the disk, SQLite has rolled back already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def retry_locked(action: Callable[[], object], seconds: float) -> None:
    """Run ``action`` as soon as the database is not locked, trying in short steps for at most ``seconds``.

    SQLite's own wait uses ever longer steps, so a busy process keeps others out for seconds, and it does not wait at all for a
    change of the journal mode.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return


@contextlib.contextmanager
def opened(path: Path, schema: str, table: str, *, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """Open a database file, and run ``schema`` if it has no ``table`` yet, the last table of the schema.

    The database has a rollback journal, not WAL, since machines may share the folder. Each commit is on disk.
    ``busy_seconds``: how long to wait for another process that writes. Raises `sqlite3.Error` and OSError.
    """
    if path.is_symlink():  # SQLite would follow it, to a file that another user may have chosen
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600))
    db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = EXTRA")
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            db.executescript(schema)
        yield db
    finally:
        db.close()
