"""What makes of today's index one of an older llmtrace."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_BACK = (
    "DROP TABLE names",
    "DROP TABLE traces",
    (
        "CREATE TABLE traces (trace TEXT PRIMARY KEY, start INTEGER, stale INTEGER, open INTEGER, health TEXT,"
        " running TEXT, agents TEXT, summary BLOB, unseen INTEGER, form INTEGER)"
    ),
    "INSERT INTO traces SELECT trace, min(start), 0, 0, 'ok', 'ok', '', x'7B7D', 0, 7 FROM spans GROUP BY trace",
    "CREATE INDEX traces_start ON traces (start)",
)
_MONITORS = tuple(f"DROP TABLE {table}" for table in ("watched", "monitors", "drift", "loud"))


def make_older(folder: Path, version: int) -> None:
    """Bring the index of a store back to a version. Version 1 had no monitors."""
    with contextlib.closing(sqlite3.connect(folder / "index.db")) as db, db:
        for statement in (*_BACK, *(_MONITORS if version == 1 else ()), f"PRAGMA user_version = {version}"):
            db.execute(statement)
    (folder / "index.lock").write_bytes(b"")  # older versions kept nothing there
