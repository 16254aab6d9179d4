"""Claims in a store's folder: what somebody has to decide or to do once, and how far it is. One table, in ``claims.db``.

A review is a claim, an approval of later calls is one, and so is a dead letter that somebody has touched. Laws: each state is
on disk before the next is reached; a transaction changes a state only if it is the expected one. A claim names the process that
works on it, so that every reader sees when that process has died. Each block opens and closes its connection, since SQLite does
not survive a fork.

Stores of before had a file for reviews and one for dead letters: they are carried over when the table is opened.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from llmtrace.codec import json_text
from llmtrace.locks import fork_safe_lock
from llmtrace.store import locks
from llmtrace.store.transactions import opened, transaction

NAME = "claims.db"
BUSY_SECONDS = 5.0
"""Seconds to wait for another process that writes."""
RUNNING = "reviewing"
"""The folder with a file for each process that waits for a decision or works on a claim. The process holds its file's lock."""
_SWEEP_SECONDS = 3600.0
Kind: TypeAlias = Literal["review", "standing", "letter"]
"""``standing``: an approval of later calls, by the id of the review that gave it."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS claims (kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, run TEXT NOT NULL,
    owner TEXT NOT NULL, at REAL NOT NULL, by TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_state ON claims (kind, state, at);
CREATE INDEX IF NOT EXISTS claims_run ON claims (kind, run);
"""
_SELECT: Final = "SELECT id, state, run, owner, at, by, data FROM claims WHERE kind = ? "
_INSERT: Final = "INTO claims (kind, id, state, run, owner, at, by, data) VALUES (?,?,?,?,?,?,?,?)"
_PUT: Final = (
    f"INSERT {_INSERT} ON CONFLICT (kind, id) DO UPDATE SET state = excluded.state, run = excluded.run,"
    " owner = excluded.owner, at = excluded.at, by = excluded.by, data = excluded.data"
)
_STATES: Final = "SELECT state FROM claims WHERE kind = ? GROUP BY state"


class Claim(NamedTuple):
    """A row of the table."""

    id: str
    state: str
    run: str
    """Id of the run or trace that it belongs to."""
    owner: str
    """Name of the process that waits for it or works on it, see `owner_of`; empty for none."""
    at: float
    """Seconds since the Unix epoch: when a review was asked for, or when a letter's state changed."""
    by: str
    """Who decided it last."""
    data: str
    """All else, as JSON."""


class Table:
    """The claims of one kind, in an open connection."""

    def __init__(self, db: sqlite3.Connection, kind: Kind) -> None:
        self.db = db
        self.kind = kind

    def find(self, claim_id: str) -> Claim | None:
        """Return a claim by its id, or by the first 4 or more characters if no other id begins with them."""
        row = self.db.execute(_SELECT + "AND id = ?", (self.kind, claim_id)).fetchone()
        if row is None and len(claim_id) >= 4:
            ends = (claim_id, f"{claim_id}\U0010ffff")  # every longer id with this beginning is between these
            rows = self.db.execute(_SELECT + "AND id > ? AND id < ? LIMIT 2", (self.kind, *ends)).fetchall()
            row = rows[0] if len(rows) == 1 else None
        return None if row is None else Claim(*row)

    def select(
        self, states: Collection[str] | None = None, *, limit: int = -1, before: float = 1e18, oldest_first: bool = True
    ) -> list[Claim]:
        """Return the claims in these states (None: in all), by time. ``limit`` -1: all of them."""
        chosen, values = "", [json_text.write(sorted(states or ()))]
        if states is not None:
            chosen = "AND state IN (SELECT value FROM json_each(?)) "
        else:
            values = []
        order = f"AND at < ? ORDER BY at {'' if oldest_first else 'DESC'} LIMIT ?"
        return [Claim(*row) for row in self.db.execute(_SELECT + chosen + order, (self.kind, *values, before, limit))]

    def states(self) -> list[str]:
        """Return the states that claims of this kind have, also those that this version does not know."""
        return [state for (state,) in self.db.execute(_STATES, (self.kind,))]

    def of_run(self, run: str) -> list[Claim]:
        """Return the claims of a run, oldest first."""
        return [Claim(*row) for row in self.db.execute(_SELECT + "AND run = ? ORDER BY at", (self.kind, run))]

    def count(self, state: str) -> int:
        row = self.db.execute("SELECT count(*) FROM claims WHERE kind = ? AND state = ?", (self.kind, state)).fetchone()
        return int(row[0])

    def put(self, claim: Claim) -> None:
        """Write a claim, over the one of the same id if there is one. Columns that a later version has added stay."""
        self.db.execute(_PUT, (self.kind, *claim))

    def forget(self, claims: Collection[str]) -> None:
        """Remove claims by their ids."""
        self.db.executemany("DELETE FROM claims WHERE kind = ? AND id = ?", [(self.kind, claim_id) for claim_id in claims])


class Claims:
    """The claims of a store. All methods may be called by several threads and processes.

    They raise `sqlite3.Error` and OSError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder`` None: the claims are kept in memory and end with this process."""
        self.folder = folder
        self._memory: sqlite3.Connection | None = None
        self._lock = fork_safe_lock()
        if folder is None:
            self._memory = _in_memory()

    @contextlib.contextmanager
    def write(self, *, busy_seconds: float | None = None) -> Iterator[sqlite3.Connection]:
        """Open the table in a transaction. Nothing else writes until the block ends."""
        with self._connect(busy_seconds, make=True) as db, transaction(db):
            yield db

    @contextlib.contextmanager
    def read(self, *, busy_seconds: float | None = None) -> Iterator[sqlite3.Connection]:
        with self._connect(busy_seconds, make=False) as db:
            yield db

    def erase(self, runs: Collection[str], letters: Collection[str]) -> int:
        """Remove all claims of these runs and traces, and these dead letters, so that no byte of them stays in the file.

        Returns their number.
        """
        if self.folder is None or not any((self.folder / name).exists() for name in (NAME, *FORMER)):
            return 0
        with self.write() as db:
            db.execute("PRAGMA secure_delete = ON")
            chosen = "run IN (SELECT value FROM json_each(?)) OR (kind = 'letter' AND id IN (SELECT value FROM json_each(?)))"
            values = json_text.write(list(runs)), json_text.write(list(letters))
            found = db.execute(f"DELETE FROM claims WHERE {chosen}", values)  # noqa: S608
            number = found.rowcount
        with self._connect(None, make=True) as db:
            db.execute("VACUUM")
        return number

    def is_alive(self, owner: str) -> bool:
        """Return True if the process of a claim still runs, or if that cannot be found out."""
        return is_alive(self.folder, owner)

    @contextlib.contextmanager
    def _connect(self, busy_seconds: float | None, *, make: bool) -> Iterator[sqlite3.Connection]:
        if self._memory is not None:
            with self._lock:
                yield self._memory
            return
        assert self.folder is not None
        path, seconds = self.folder / NAME, BUSY_SECONDS if busy_seconds is None else busy_seconds
        before = [self.folder / name for name in FORMER if _is_file(self.folder / name)]
        if not path.exists() and not make and not (before and os.access(self.folder, os.W_OK)):
            with contextlib.closing(_in_memory()) as db:  # nobody has asked yet, or the folder may only be read
                for file in before:
                    _copy(file, db, seconds)
                yield db
            return
        locks.make_folder(self.folder)
        with opened(path, _SCHEMA, "claims_run", busy_seconds=seconds) as db:
            for file in before:
                _carry_over(file, db, seconds)
            yield db


def _is_file(path: Path) -> bool:
    return path.exists() and not path.is_symlink()  # SQLite would follow a link


def _in_memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    db.executescript(_SCHEMA)
    return db


# -- the files of stores of before

_REVIEWS: Final = """
SELECT id, state, run, owner, asked_at, '', json_object('request', iif(json_valid(request), json(request), request),
    'decision', iif(json_valid(decision), json(decision), decision), 'started_at', started_at, 'ended_at', ended_at,
    'result', iif(json_valid(result), json(result), result)) FROM reviews
"""
_STANDING: Final = "SELECT review, 'given', run, '', 0, '', json_object('tool', tool, 'wanted', json(wanted)) FROM standing"
_LETTERS: Final = "SELECT id, state, '', owner, at, by, json_object('retries', retries, 'note', note) FROM letters"
FORMER: Final[Mapping[str, Mapping[Kind, str]]] = {
    "reviews.db": {"review": _REVIEWS, "standing": _STANDING},
    "dead_letters.db": {"letter": _LETTERS},
}
"""By file, for each kind of claim: the query that reads its rows."""


def _carry_over(file: Path, db: sqlite3.Connection, seconds: float) -> None:
    """Move the rows of a former file into the table. Killed at any point, the next that opens it goes on."""
    with transaction(db):
        _copy(file, db, seconds)
    with contextlib.suppress(FileNotFoundError):  # another process was first
        os.unlink(file)


def _copy(file: Path, db: sqlite3.Connection, seconds: float) -> None:
    if not file.exists():
        return
    try:
        address = f"{file.absolute().as_uri()}?mode=rw"  # else a file that another process just carried over is made anew
        with contextlib.closing(sqlite3.connect(address, timeout=seconds, isolation_level=None, uri=True)) as former:
            for kind, query in FORMER[file.name].items():
                rows = former.execute(query)
                db.executemany(f"INSERT OR IGNORE {_INSERT}", ((kind, *row) for row in rows))
    except sqlite3.Error as error:
        if file.exists():
            raise type(error)(f"{file}: {error}") from None


# -- processes that wait or work

_owner: dict[Path | None, str] = {}
_lock_files: list[int] = []
_owner_lock = fork_safe_lock()


def owner_of(folder: Path | None) -> str:
    """Return this process's name in a store's folder; the first call also creates and locks its file. Raises OSError."""
    with _owner_lock:
        if folder not in _owner:
            name = f"{os.getpid()}-{secrets.token_hex(8)}"
            if folder is not None:
                place = folder / RUNNING
                locks.make_folder(place)
                _sweep(place)
                descriptor = os.open(place / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | locks.FLAGS, 0o600)
                locks.take(descriptor, exclusive=True)
                _lock_files.append(descriptor)
            _owner[folder] = name
        return _owner[folder]


def is_alive(folder: Path | None, owner: str) -> bool:
    """Return True if the process still runs, or if that cannot be found out."""
    if folder is None or _owner.get(folder) == owner:
        return _owner.get(folder) == owner
    return locks.is_held(folder / RUNNING / owner) is not False


def _sweep(place: Path) -> None:
    """Remove the files of processes that are gone. A new one may belong to a process that has not locked it yet."""
    for entry in os.scandir(place):
        with contextlib.suppress(OSError):
            if entry.stat().st_mtime < time.time() - _SWEEP_SECONDS and not is_alive(place.parent, entry.name):
                os.unlink(entry.path)


def _forget_in_child() -> None:
    """Close the parent's lock files in a forked child: held open, they would make a dead parent seem to run."""
    _owner.clear()
    for descriptor in _lock_files:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _lock_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
