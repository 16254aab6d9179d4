"""States of dead letters: retried, dropped, by whom and when. One table, in ``dead_letters.db`` of a store's folder.

The letters themselves are read from traces (`store.dead_letters`). Laws: only one process at a time retries a letter, and the
state is on disk before the handler runs. A letter whose process died while it was retried is ``in_doubt``, and is retried again
only on explicit request.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from llmtrace.errors import LetterConflict, StoreError
from llmtrace.model.value import value
from llmtrace.store import Query, Store
from llmtrace.store.dead_letters import DeadLetter, letters_of
from llmtrace.store.reviews import is_alive, owner_of
from llmtrace.store.transactions import opened, transaction

NAME = "dead_letters.db"
BUSY_SECONDS = 5.0
KEEP_SECONDS = 90 * 86400.0
"""Seconds for which a state is kept; traces are kept for a shorter time."""
State: TypeAlias = Literal["open", "retrying", "retried", "failed", "dropped", "in_doubt"]
WAITING: frozenset[State] = frozenset({"open", "failed", "in_doubt"})
"""States in which somebody has to act on a letter."""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS letters (id TEXT PRIMARY KEY, state TEXT NOT NULL, retries INTEGER NOT NULL, by TEXT NOT NULL,"
    " at REAL NOT NULL, owner TEXT NOT NULL, note TEXT NOT NULL) WITHOUT ROWID"
)
_COLUMNS = "state, retries, by, at, note, owner"


@value
class LetterState:
    """The state of one letter."""

    state: State = "open"
    """``failed``: the handler raised, so the letter is open again. ``in_doubt``: the process that ran it died."""
    retries: int = 0
    by: str = ""
    at: float | None = None
    """Seconds since the Unix epoch; None for a letter that nobody has touched."""
    note: str = ""
    """The error of the handler, or why the letter was dropped."""


UNTOUCHED = LetterState()


class Entry(NamedTuple):
    """A dead letter and its state."""

    letter: DeadLetter
    state: LetterState

    @property
    def is_open(self) -> bool:
        """True if the letter was neither retried with success nor dropped."""
        return self.state.state in WAITING | {"retrying"}


def read_entries(store: Store, states: LetterStates, after: int | None = None) -> Iterator[Entry]:
    """Yield the dead letters of a store, those of the newest trace first.

    ``after``: only letters of traces that began at this time or later, in nanoseconds since the Unix epoch.
    """
    letter_states = states.all()
    for summary in store.traces(Query(limit=sys.maxsize, since=after)):
        if summary.dead_letters and summary.replay_of is None and summary.health != "running":
            with contextlib.suppress(LookupError):  # the trace was removed meanwhile
                for letter in letters_of(store.trace(summary.trace_id)):
                    yield Entry(letter, letter_states.get(letter.letter_id, UNTOUCHED))


class LetterStates:
    """The states of a store's letters. All methods may be called by several threads and processes.

    They raise StoreError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> dict[str, LetterState]:
        """Return the state of every letter that somebody has touched, by id."""
        if not (self.folder / NAME).exists():
            return {}
        with self._connect() as db:
            rows = db.execute(f"SELECT id, {_COLUMNS} FROM letters").fetchall()  # noqa: S608 - constants only
        return {letter_id: self._state(*columns) for letter_id, *columns in rows}

    def begin(self, letter_id: str, by: str, *, again: bool = False) -> int:
        """Mark a letter as being retried, and return the number of this retry, from 1.

        ``again``: accept a letter that was retried or dropped before, or is in doubt. Raises `LetterConflict` if the letter
        must not be retried.
        """
        with self._write() as db:
            before = self._find(db, letter_id)
            if before.state == "retrying":
                raise LetterConflict(f"letter {letter_id} is being retried by {before.by} now")
            if before.state == "in_doubt" and not again:
                raise LetterConflict(
                    f"the process that retried letter {letter_id} died, so its work may have been done. "
                    "Find out, then drop it or retry it with --again"
                )
            if before.state in ("retried", "dropped") and not again:
                raise LetterConflict(f"letter {letter_id} was {before.state} before by {before.by}. To retry it: --again")
            self._put(db, letter_id, "retrying", before.retries + 1, by, owner_of(self.folder))
        return before.retries + 1

    def finish(self, letter_id: str, error: str = "") -> None:
        """Record the end of this process's retry. ``error``: text of the handler's exception; empty if it succeeded."""
        with self._write() as db:
            before = self._find(db, letter_id)
            self._put(db, letter_id, "failed" if error else "retried", before.retries, before.by, note=error)

    def drop(self, letter_id: str, by: str, note: str = "") -> None:
        """Mark a letter as needing no work any more. Raises `LetterConflict` while it is being retried."""
        with self._write() as db:
            before = self._find(db, letter_id)
            if before.state == "retrying":
                raise LetterConflict(f"letter {letter_id} is being retried by {before.by} now")
            self._put(db, letter_id, "dropped", before.retries, by, note=note)

    def _find(self, db: sqlite3.Connection, letter_id: str) -> LetterState:
        row = db.execute(f"SELECT {_COLUMNS} FROM letters WHERE id = ?", (letter_id,)).fetchone()  # noqa: S608
        return UNTOUCHED if row is None else self._state(*row)

    def _state(self, state: State, retries: int, by: str, at: float, note: str, owner: str) -> LetterState:
        if state == "retrying" and not is_alive(self.folder, owner):
            state = "in_doubt"
        return LetterState(state, retries, by, at, note)

    @staticmethod
    def _put(
        db: sqlite3.Connection, letter_id: str, state: State, retries: int, by: str, owner: str = "", note: str = ""
    ) -> None:
        now = time.time()
        # each write removes old states, since nothing else does
        db.execute("DELETE FROM letters WHERE at < ?", (now - KEEP_SECONDS,))
        db.execute("INSERT OR REPLACE INTO letters VALUES (?,?,?,?,?,?,?)", (letter_id, state, retries, by, now, owner, note))

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._connect() as db, transaction(db):
            yield db

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        path = self.folder / NAME
        try:
            with opened(path, _SCHEMA, "letters", busy_seconds=BUSY_SECONDS) as db:
                yield db
        except (sqlite3.Error, OSError) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            raise StoreError(f"the states of dead letters in {path} cannot be read or written: {what}") from error
