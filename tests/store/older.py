"""What makes of today's index one of an older llmtrace."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_BACK = {
    4: (  # an SQLite of old drops no column
        "ALTER TABLE traces RENAME TO newest",
        "DROP INDEX traces_start",
        "DROP INDEX traces_stale",
        "DROP INDEX traces_unseen",
        (
            "CREATE TABLE traces (trace TEXT PRIMARY KEY, start INTEGER, stale INTEGER, open INTEGER, health TEXT,"
            " running TEXT, agents TEXT, summary BLOB, unseen INTEGER)"
        ),
        "INSERT INTO traces SELECT trace, start, stale, open, health, running, agents, summary, unseen FROM newest",
        "DROP TABLE newest",
        "CREATE INDEX traces_start ON traces (start)",
        "CREATE INDEX traces_stale ON traces (trace) WHERE stale",
        "CREATE INDEX traces_unseen ON traces (start, trace) WHERE unseen",
    ),
    3: (
        "ALTER TABLE traces RENAME TO newer",
        "DROP INDEX traces_start",
        "DROP INDEX traces_stale",
        "DROP INDEX traces_unseen",
        (
            "CREATE TABLE traces (trace TEXT PRIMARY KEY, start INTEGER, stale INTEGER, open INTEGER, health TEXT,"
            " running TEXT, agents TEXT, summary BLOB)"
        ),
        "INSERT INTO traces SELECT trace, start, stale, open, health, running, agents, summary FROM newer",
        "DROP TABLE newer",
        "CREATE INDEX traces_start ON traces (start)",
        "CREATE INDEX traces_stale ON traces (trace) WHERE stale",
    ),
    2: (
        "DROP TABLE searched",
        "ALTER TABLE files RENAME COLUMN words TO worded",
        "DROP INDEX spans_place",
        "CREATE INDEX spans_file ON spans (file)",
    ),
    1: tuple(f"DROP TABLE {table}" for table in ("watched", "monitors", "drift", "loud")),
}
"""By version: how it is made of the one after it."""


def make_older(folder: Path, version: int, *more: str) -> None:
    """Bring the index of a store back to a version, and then execute ``more``."""
    with contextlib.closing(sqlite3.connect(folder / "index.db")) as db, db:
        for number, statements in _BACK.items():
            for statement in statements if number >= version else ():
                db.execute(statement)
        for statement in (*more, f"PRAGMA user_version = {version}"):
            db.execute(statement)
    (folder / "index.lock").write_bytes(b"")  # older versions kept nothing there
