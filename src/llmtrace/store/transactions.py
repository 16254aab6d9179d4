"""Transactions of the index, which several processes write. They wait for the write lock in short steps."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator


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
