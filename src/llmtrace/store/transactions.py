"""Transactions of the index, which several processes write: who waits for the write lock, waits in short steps."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Begin by taking the write lock, so that what is read inside is not changed by another process meanwhile."""
    seconds = pragma(db, "busy_timeout") / 1000
    db.execute("PRAGMA busy_timeout = 0")
    try:
        patiently(lambda: db.execute("BEGIN IMMEDIATE"), seconds)
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


def patiently(action: Callable[[], object], seconds: float) -> None:
    """Wait for a lock in short steps. SQLite's own wait gets so rare that a busy process keeps others out for seconds, and
    it does not wait at all to change the journal mode."""
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
