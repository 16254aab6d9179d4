"""States of dead letters: retried, dropped, by whom and when. They are claims (`store.claims`).

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
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from pydantic import TypeAdapter

from llmtrace.codec import json_text
from llmtrace.errors import LetterConflict, StoreError
from llmtrace.model.value import value
from llmtrace.store import Query, Store
from llmtrace.store.claims import NAME, Claim, Claims, Table, owner_of
from llmtrace.store.dead_letters import DeadLetter, letters_of
from llmtrace.store.summary import LetterLine
from llmtrace.store.warnings import warn_once

KEEP_SECONDS = 90 * 86400.0
"""Seconds for which a state is kept; traces are kept for a shorter time."""
State: TypeAlias = Literal["open", "retrying", "retried", "failed", "dropped", "in_doubt"]
WAITING: frozenset[State] = frozenset({"open", "failed", "in_doubt"})
"""States in which somebody has to act on a letter."""


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
    trace_id: str = ""
    """The trace of the letter; empty in a state that an older llmtrace wrote."""


UNTOUCHED = LetterState()
_states: TypeAdapter[LetterState] = TypeAdapter(LetterState)


class Entry(NamedTuple):
    """A dead letter of a trace, and its state."""

    letter: LetterLine
    trace_id: str
    state: LetterState

    @property
    def is_open(self) -> bool:
        """True if the letter was neither retried with success nor dropped."""
        return self.state.state in WAITING | {"retrying"}


def read_entries(store: Store, states: LetterStates, after: int | None = None) -> Iterator[Entry]:
    """Yield the dead letters of a store, those of the newest trace first. No trace is read: `letter_of` reads a whole letter.

    ``after``: only letters of traces that began at this time or later, in nanoseconds since the Unix epoch.
    """
    letter_states = states.all()
    for summary in store.traces(Query(limit=sys.maxsize, since=after)):
        if summary.replay_of is None and summary.health != "running":
            for letter in summary.letters:
                yield Entry(letter, summary.trace_id, letter_states.get(letter.letter_id, UNTOUCHED))


def letter_of(store: Store, entry: Entry) -> DeadLetter:
    """Return the whole letter. Raises `TraceNotFound` if its trace was removed meanwhile."""
    letters = letters_of(store.trace(entry.trace_id))
    return next(letter for letter in letters if letter.letter_id == entry.letter.letter_id)


class LetterStates:
    """The states of a store's letters. All methods may be called by several threads and processes.

    They raise StoreError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._claims = Claims(folder)

    def all(self) -> dict[str, LetterState]:
        """Return the state of every letter that somebody has touched, by id."""
        with self._said(), self._claims.read() as db:
            return {claim.id: self._readable(claim) for claim in Table(db, "letter").select()}

    def begin(self, letter: DeadLetter, by: str, *, again: bool = False) -> int:
        """Mark a letter as being retried, and return the number of this retry, from 1.

        ``again``: accept a letter that was retried or dropped before, or is in doubt. Raises `LetterConflict` if the letter
        must not be retried.
        """
        letter_id = letter.letter_id
        with self._said(), self._claims.write() as db:
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
            self._put(db, letter, LetterState("retrying", before.retries + 1, by), owner_of(self.folder))
        return before.retries + 1

    def finish(self, letter: DeadLetter, error: str = "") -> None:
        """Record the end of this process's retry. ``error``: text of the handler's exception; empty if it succeeded."""
        with self._said(), self._claims.write() as db:
            before = self._find(db, letter.letter_id)
            self._put(db, letter, LetterState("failed" if error else "retried", before.retries, before.by, note=error))

    def drop(self, letter: DeadLetter, by: str, note: str = "") -> None:
        """Mark a letter as needing no work any more. Raises `LetterConflict` while it is being retried."""
        with self._said(), self._claims.write() as db:
            before = self._find(db, letter.letter_id)
            if before.state == "retrying":
                raise LetterConflict(f"letter {letter.letter_id} is being retried by {before.by} now")
            self._put(db, letter, LetterState("dropped", before.retries, by, note=note))

    def _find(self, db: sqlite3.Connection, letter_id: str) -> LetterState:
        claim = Table(db, "letter").find(letter_id)
        return UNTOUCHED if claim is None else self._state(claim)

    def _readable(self, claim: Claim) -> LetterState:
        try:
            return self._state(claim)
        except LetterConflict as error:
            warn_once(f"{error}. It counts as in doubt")
            return LetterState("in_doubt", note=str(error))

    def _state(self, claim: Claim) -> LetterState:
        """Decode a claim. Raises `LetterConflict` if it cannot be read, for example because a later llmtrace wrote it."""
        state: Any = claim.state
        if state == "retrying" and not self._claims.is_alive(claim.owner):
            state = "in_doubt"
        try:
            kept: Any = json_text.read(claim.data)
            members = {"state": state, "by": claim.by, "at": claim.at, "trace_id": claim.run}
            return _states.validate_python({**kept, **members})
        except (ValueError, TypeError):
            what = f"the state of letter {claim.id} in {NAME} cannot be read. A later llmtrace may have written it"
            raise LetterConflict(what) from None

    @staticmethod
    def _put(db: sqlite3.Connection, letter: DeadLetter, state: LetterState, owner: str = "") -> None:
        now, table = time.time(), Table(db, "letter")
        # each write removes old states, since nothing else does
        table.forget([claim.id for claim in table.select(get_args(State), before=now - KEEP_SECONDS)])
        data = json_text.write({"retries": state.retries, "note": state.note})
        table.put(Claim(letter.letter_id, state.state, letter.trace_id, owner, now, state.by, data))

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            path = self.folder / NAME
            raise StoreError(f"the states of dead letters in {path} cannot be read or written: {what}") from error
