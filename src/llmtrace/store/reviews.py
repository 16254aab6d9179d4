"""Reviews in a store's folder: what was asked, what was decided and what ran, in ``reviews.db``.

Laws: each state is on disk before the next is reached. A transaction changes a state only if it is the expected one, so one of
two reviewers wins, a decision is used once, and nothing starts without approval. A call whose process died while it ran is
``in_doubt`` for every reader, and never runs again automatically. Each method opens and closes its connection, since SQLite
does not survive a fork.
"""

from __future__ import annotations

import builtins
import contextlib
import getpass
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from llmtrace.codec import json_text
from llmtrace.errors import ReviewConflict
from llmtrace.locks import fork_safe_lock, importing
from llmtrace.model import JsonValue, ToolDefinition, Violation, replace
from llmtrace.model.reviews import Decision, ReviewRecord, ReviewRequest, ReviewState
from llmtrace.store import locks
from llmtrace.store.transactions import opened, transaction
from llmtrace.store.warnings import warn_once

NAME = "reviews.db"
RUNNING = "reviewing"
"""The folder with a file for each process that waits for a review or runs an approved call. The process holds its file's
lock."""
BUSY_SECONDS = 5.0
_SWEEP_SECONDS = 3600.0
KEEP_SECONDS = 30 * 86400.0
"""Seconds for which ended and expired reviews are kept."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reviews (id TEXT PRIMARY KEY, state TEXT NOT NULL, digest TEXT NOT NULL, run TEXT NOT NULL,
    tool TEXT, asked_at REAL NOT NULL, deadline REAL NOT NULL, owner TEXT NOT NULL, request TEXT NOT NULL, decision TEXT,
    started_at REAL, ended_at REAL, result TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reviews_asked ON reviews (state, asked_at);
CREATE TABLE IF NOT EXISTS standing (review TEXT PRIMARY KEY, run TEXT NOT NULL, tool TEXT NOT NULL, wanted TEXT NOT NULL)
    WITHOUT ROWID;
"""
_SELECT = "SELECT id, state, request, decision, started_at, ended_at, result, owner FROM reviews "
_OF_STATES = (
    "WHERE (state IN (SELECT value FROM json_each(?)) OR state NOT IN (SELECT value FROM json_each(?))) AND asked_at < ? "
)
_OLDEST = f"{_SELECT}{_OF_STATES}ORDER BY asked_at LIMIT ?"
_NEWEST = f"{_SELECT}{_OF_STATES}ORDER BY asked_at DESC LIMIT ?"
_FORGET = (
    "DELETE FROM reviews WHERE asked_at < ?1 AND state NOT IN ('approved', 'started', 'in_doubt')"
    " AND (state != 'proposed' OR deadline < ?1)"
)
_requests: TypeAdapter[ReviewRequest] = TypeAdapter(ReviewRequest)
_decisions: TypeAdapter[Decision] = TypeAdapter(Decision)


class Reviews:
    """The reviews of a store. All methods may be called by several threads and processes.

    They raise `sqlite3.Error` and OSError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path | None) -> None:
        """``folder`` None: the reviews are kept in memory and end with this process."""
        self.folder = folder
        self._memory: sqlite3.Connection | None = None
        self._lock = fork_safe_lock()
        if folder is None:
            self._memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            self._memory.executescript(_SCHEMA)

    # -- the program that asks

    def propose(self, request: ReviewRequest) -> ReviewRecord:
        """Store a request. It is approved at once if a reviewer has already approved such calls for this run."""
        owner = owner_of(self.folder)
        with self._write() as db:
            if db.execute(_FORGET, (request.asked_at - KEEP_SECONDS,)).rowcount:
                db.execute("DELETE FROM standing WHERE review NOT IN (SELECT id FROM reviews)")
            decision = self._standing(db, request)
            state: ReviewState = "proposed" if decision is None else "approved"
            row = (request.review_id, state, request.digest, request.run_id, request.tool, request.asked_at, request.deadline)
            content = (owner, _written(_requests, request), None if decision is None else _written(_decisions, decision))
            db.execute(
                "INSERT INTO reviews (id, state, digest, run, tool, asked_at, deadline, owner, request, decision)"
                " VALUES (?,?,?,?,?,?,?,?,?,?)",
                (*row, *content),
            )
        return ReviewRecord(request, state, decision, is_waiting=True)

    def adopt(self, review_id: str, deadline: float) -> ReviewRecord:
        """Take over a review from the process that asked. A withdrawn review is asked again, until ``deadline``."""
        with self._write() as db:
            record = self._find(db, review_id)
            if record.state in ("proposed", "withdrawn"):
                request = replace(record.request, deadline=deadline) if record.state == "withdrawn" else record.request
                db.execute(
                    "UPDATE reviews SET state = 'proposed', owner = ?, deadline = ?, request = ?, ended_at = NULL WHERE id = ?",
                    (owner_of(self.folder), request.deadline, _written(_requests, request), request.review_id),
                )
            return self._find(db, record.request.review_id)

    def start(self, review_id: str, digest: str, ran: str) -> bool:
        """Use up an approval before the call runs. Returns False if the call must not run.

        ``digest``: of the call that the reviewer was shown. ``ran``: of the call that is about to run; the two differ only if
        the reviewer edited the call.
        """
        with self._write() as db:
            record = self._find(db, review_id)
            decision = record.decision
            if record.state != "approved" or decision is None or digest != record.request.digest:
                return False
            if decision.kind != "edited" and ran != digest:
                return False
            db.execute(
                "UPDATE reviews SET state = 'started', started_at = ?, owner = ? WHERE id = ?",
                (time.time(), owner_of(self.folder), record.request.review_id),
            )
        return True

    def finish(self, review_id: str, state: ReviewState, result: JsonValue = None) -> None:
        """Record that the call is ``done`` or ``failed``, or that the program no longer waits (``withdrawn``)."""
        expected = "proposed" if state == "withdrawn" else "started"
        with self._write() as db:
            db.execute(
                "UPDATE reviews SET state = ?, ended_at = ?, result = ? WHERE id = ? AND state = ?",
                (state, time.time(), None if result is None else json_text.write(result), review_id, expected),
            )

    # -- the person who decides

    def decide(self, review_id: str, decision: Decision, *, digest: str | None = None) -> ReviewRecord:
        """Decide a review. ``digest``: of the call that the reviewer was shown; None if no person decided, as at a timeout.

        Raises `ReviewConflict` if the review is decided already, its digest differs from ``digest``, the deadline has passed,
        or the decision is not valid (its value breaks the schema, for example).
        """
        with self._write() as db:
            record = self._find(db, review_id)
            request, review_id = record.request, record.request.review_id
            if digest is not None and digest != request.digest:
                raise ReviewConflict("changed", f"review {review_id}: the call is not the one that was shown; look at it again")
            if record.state != "proposed":
                raise ReviewConflict("decided", f"review {review_id} {_was(record)}")
            is_late = decision.kind not in ("timed_out", "unattended") and decision.at >= request.deadline
            if is_late:
                decision = Decision("timed_out", at=request.deadline)
            problem = _problem(request, decision)
            if problem:
                raise ReviewConflict("invalid", f"review {review_id}: {problem}")
            state = "approved" if decision.is_allowed else decision.kind
            change = "UPDATE reviews SET state = ?, decision = ? WHERE id = ?"
            db.execute(change, (state, _written(_decisions, decision), review_id))
            if decision.always and request.tool is not None and decision.is_allowed:
                standing = (review_id, request.run_id, request.tool, json_text.write(dict(decision.always)))
                db.execute("INSERT INTO standing (review, run, tool, wanted) VALUES (?,?,?,?)", standing)
            record = self._find(db, review_id)
        if is_late:
            raise ReviewConflict("expired", f"review {review_id} has expired; the call was denied")
        return record

    def settle(self, review_id: str, *, happened: bool, by: str) -> ReviewRecord:
        """Record whether a call in doubt had its effect (``happened``). If not, it may run once when the program is resumed.

        Raises `ReviewConflict` if the call is not in doubt.
        """
        with self._write() as db:
            record = self._find(db, review_id)
            review_id = record.request.review_id
            if record.state != "in_doubt":
                raise ReviewConflict("decided", f"review {review_id} is not in doubt: it {_was(record)}")
            before = Decision("approved") if record.decision is None else record.decision
            now = time.time()
            decision = replace(before, by=by, at=now, reason=before.reason or f"settled by {by}")
            state, ended_at = ("done", now) if happened else ("approved", None)
            change = "UPDATE reviews SET state = ?, decision = ?, ended_at = ? WHERE id = ?"
            db.execute(change, (state, _written(_decisions, decision), ended_at, review_id))
            return self._find(db, review_id)

    # -- looking

    def get(self, review_id: str, *, busy_seconds: float | None = None) -> ReviewRecord:
        """Return a review by its id or the first 4 or more characters of it.

        ``busy_seconds``: how long to wait for another process that writes (default: `BUSY_SECONDS`). Raises `ReviewConflict`
        for an unknown id.
        """
        with self._read(busy_seconds) as db:
            return self._find(db, review_id)

    def list(
        self,
        *,
        states: tuple[ReviewState, ...] = ("proposed",),
        limit: int = 100,
        before: float = 1e18,
        oldest_first: bool = False,
    ) -> list[ReviewRecord]:
        """Return the reviews in these states, newest first. A review that cannot be read is logged and left out.

        ``before``: only reviews that were asked for before this time, in seconds since the Unix epoch.
        """
        stored = {*states, "started"} if "in_doubt" in states else {*states}  # its process may be gone
        with self._read() as db:
            known = json_text.write(list(get_args(ReviewState)))
            rows = db.execute(
                _OLDEST if oldest_first else _NEWEST, (json_text.write(sorted(stored)), known, before, limit)
            ).fetchall()
        return [record for record in self._readable(rows) if record.state in states]

    def _readable(self, rows: Iterable[tuple[Any, ...]]) -> builtins.list[ReviewRecord]:
        records = []
        for row in rows:
            try:
                records.append(self._record(row))
            except ReviewConflict as error:
                warn_once(f"{error}; it is left out")
        return records

    def of_run(self, run_id: str) -> builtins.list[ReviewRecord]:
        """Return the reviews that a run asked for, oldest first. A review that cannot be read is logged and left out."""
        with self._read() as db:
            rows = db.execute(_SELECT + "WHERE run = ? ORDER BY asked_at", (run_id,)).fetchall()
        return self._readable(rows)

    def count(self, state: ReviewState = "proposed") -> int:
        if state in ("started", "in_doubt"):
            return len(self.list(states=(state,), limit=sys.maxsize))
        with self._read() as db:
            return int(db.execute("SELECT count(*) FROM reviews WHERE state = ?", (state,)).fetchone()[0])

    # -- inside

    def _find(self, db: sqlite3.Connection, review_id: str) -> ReviewRecord:
        row = db.execute(_SELECT + "WHERE id = ?", (review_id,)).fetchone()
        if row is None and len(review_id) >= 4:
            ends = (review_id, f"{review_id}\U0010ffff")  # every longer id with this beginning is between these
            rows = db.execute(_SELECT + "WHERE id > ? AND id < ? LIMIT 2", ends).fetchall()
            row = rows[0] if len(rows) == 1 else None
        if row is None:
            raise ReviewConflict("unknown", f"unknown review {review_id!r}")
        return self._record(row)

    def _record(self, row: tuple[Any, ...]) -> ReviewRecord:
        """Decode a row. Raises `ReviewConflict` if it cannot be read, for example because a later llmtrace wrote it."""
        review_id, state, request, decision, started_at, ended_at, result, owner = row
        if state not in get_args(ReviewState):
            why = f"review {review_id} in {NAME} has the state {state!r}, which this llmtrace does not know; a later one may"
            raise ReviewConflict("unreadable", why)
        try:
            if state == "started" and not is_alive(self.folder, owner):
                state = "in_doubt"
            return ReviewRecord(
                _requests.validate_json(request),
                state,
                None if decision is None else _decisions.validate_json(decision),
                started_at,
                ended_at,
                None if result is None else json_text.read(result),
                state in ("proposed", "approved") and is_alive(self.folder, owner),
            )
        except ValueError as error:
            why = f"review {review_id} in {NAME} cannot be read ({type(error).__name__}). A later llmtrace may have written it"
            raise ReviewConflict("unreadable", why) from None

    def _standing(self, db: sqlite3.Connection, request: ReviewRequest) -> Decision | None:
        if request.tool is None or not isinstance(request.payload, dict):
            return None
        if faults_of(request, Decision("edited", request.payload)):  # an invalid call is always asked about
            return None
        rows = db.execute(
            "SELECT review, wanted, decision FROM standing JOIN reviews ON id = review"
            " WHERE standing.run = ? AND standing.tool = ?",
            (request.run_id, request.tool),
        )
        for review_id, wanted, written in rows:
            if _fits(json_text.read(wanted), request.payload):
                first = _decisions.validate_json(written)
                reason = f"as decided in review {review_id}, for {wanted}"
                return Decision("approved", by=first.by, at=time.time(), reason=reason)
        return None

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._connect(make=True) as db, transaction(db):
            yield db

    @contextlib.contextmanager
    def _read(self, busy_seconds: float | None = None) -> Iterator[sqlite3.Connection]:
        with self._connect(make=False, busy_seconds=busy_seconds) as db:
            yield db

    @contextlib.contextmanager
    def _connect(self, *, make: bool, busy_seconds: float | None = None) -> Iterator[sqlite3.Connection]:
        if self._memory is not None:
            with self._lock:
                yield self._memory
            return
        assert self.folder is not None
        path = self.folder / NAME
        if not path.exists():
            if not make:  # nobody has asked yet: read an empty database in memory
                with Reviews(None)._connect(make=True) as db:
                    yield db
                return
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seconds = BUSY_SECONDS if busy_seconds is None else busy_seconds
        with opened(path, _SCHEMA, "standing", busy_seconds=seconds) as db:
            yield db


def _written(adapter: TypeAdapter[Any], value: object) -> str:
    return adapter.dump_json(value).decode()


def _was(record: ReviewRecord) -> str:
    decision = record.decision
    if record.state == "proposed":
        return "waits for a decision"
    if decision is None:
        return "was withdrawn: the program does not wait for it any more"
    by = f" by {decision.by}" if decision.by else ""
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(decision.at))
    return f"was decided before: {decision.kind.replace('_', ' ')}{by} at {at}{_SINCE.get(record.state, '')}"


_SINCE: dict[ReviewState, str] = {
    "approved": ". The call has not run yet",
    "started": ". The call is running",
    "done": ". The call has run",
    "failed": ". The call has run, and failed",
    "in_doubt": ". The program died while the call ran",
}
"""By state: what happened to the call after its approval, as the end of a message."""


def _problem(request: ReviewRequest, decision: Decision) -> str:
    """Return why a decision is not valid; empty if it is."""
    from llmtrace.validation.json_pointers import steps

    if not isinstance(decision.always, Mapping):
        return "always= takes the arguments, with values, of the later calls that are approved, too"
    hidden = {step for place in request.hidden for step in steps(place)[:1]}
    if decision.always and not request.run_id:
        return "this run is not recorded, so that its later calls are not known"
    if decision.always and (request.tool is None or hidden & decision.always.keys()):
        return "only visible arguments of a tool call can be approved for later calls"
    if decision.always and not (isinstance(request.payload, dict) and _fits(decision.always, request.payload)):
        return "this call does not have the arguments that later calls shall have"
    if decision.kind == "edited" and request.tool is None:
        return "a question is answered, not edited"
    if decision.kind == "edited" and not isinstance(decision.value, dict):
        return "the arguments must be a JSON object"
    if not _is_kept(decision.value):
        return "the value has a number or a text that JSON cannot hold"
    faults = faults_of(request, decision)
    return "; ".join(f"{fault.pointer or 'the value'}: {fault.message}" for fault in faults[:5])


def _is_kept(value: JsonValue) -> bool:
    """Return True if a value is read from the store as it was written: JSON has no infinity, and no integer of any size."""
    try:
        kept = _decisions.validate_json(_written(_decisions, Decision("answered", value))).value
        return json_text.write(kept) == json_text.write(value)
    except (TypeError, ValueError):
        return False


def faults_of(request: ReviewRequest, decision: Decision) -> list[Violation]:
    """Return the schema errors of an edited or answered value. A hidden value that was left as shown counts as valid."""
    with importing:  # listing reviews needs no validation
        from llmtrace.validation.check_values import check_arguments, check_result, errors_in

    if decision.kind == "edited" and request.tool is not None and isinstance(decision.value, dict):
        definition = ToolDefinition(request.tool, parameters=request.schema, strict=request.strict)
        violations = check_arguments(decision.value, definition)
        return [
            violation for violation in errors_in(violations) if not _is_as_shown(violation.pointer, decision.value, request)
        ]
    if decision.kind == "answered" and request.tool is None and request.schema is not None:
        return errors_in(check_result(decision.value, ToolDefinition("", output=request.schema)))
    return []


def _is_as_shown(pointer: str, edited: JsonValue, request: ReviewRequest) -> bool:
    """Return True for a hidden value that the reviewer left as shown: the program then runs with its own value."""
    from llmtrace.validation.json_pointers import follow, steps

    try:
        path = steps(pointer)
        return pointer in request.hidden and follow(edited, path) == follow(request.payload, path)
    except (LookupError, TypeError, ValueError):
        return False


def _fits(wanted: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]) -> bool:
    return all(name in arguments and arguments[name] == value for name, value in wanted.items())


def this_user() -> str:
    """Return the name of the user of this process; empty if it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without this user
        return ""


# -- processes that wait or run

_owner: dict[Path | None, str] = {}
_lock_files: list[int] = []
_owner_lock = fork_safe_lock()


def owner_of(folder: Path | None) -> str:
    """Return this process's name in a folder of reviews; the first call also creates and locks its file. Raises OSError."""
    with _owner_lock:
        if folder not in _owner:
            name = f"{os.getpid()}-{secrets.token_hex(8)}"
            if folder is not None:
                place = folder / RUNNING
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
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
