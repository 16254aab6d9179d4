"""A small SQLite file beside the journal that several processes, perhaps on several machines, change."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from llmtrace.store import locks


@contextlib.contextmanager
def opened(path: Path, schema: str, table: str, *, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """Open the file, and make it with ``schema``, whose last table is ``table``. Raises `sqlite3.Error` and OSError.

    It has a rollback journal, not WAL, since machines may share the folder, and each commit is on disk. ``busy_seconds``: how
    long to wait for another process that writes.
    """
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
