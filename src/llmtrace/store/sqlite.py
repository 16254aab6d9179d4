"""The index of a local store: where each span lies in the journal, and what to find it by. It holds no span itself.

Law: everything in here can be made again from the journal. So an index that is broken is set aside and rebuilt, one that is
locked or cannot be written is done without (`IndexUnusable`), and only one of a newer llmtrace is refused, untouched. No
connection outlives a call, and a fork waits for the call to end, since SQLite does not survive being forked.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from llmtrace.codec import json_text
from llmtrace.errors import TraceNotFound, UnreadableStore
from llmtrace.model import Trace, replace
from llmtrace.store import Query, files, locks, monitoring, search, wordindex
from llmtrace.store.notices import say
from llmtrace.store.reading import Reader
from llmtrace.store.summary import FORM, UNFINISHED, TraceSummary
from llmtrace.store.transactions import patiently, pragma, transaction

SCHEMA_VERSION = 5
APPLICATION_ID = 0x6C6C6D74
BUSY_SECONDS = 5.0
"""How long another process is waited for before the index is done without."""
FORK_SECONDS = 2.0
"""How long a fork waits for a call in another thread to end."""
_STALE_AT_ONCE = 100

_PLACE = "CREATE INDEX spans_place ON spans (file, offset)"
_UNSEEN = "CREATE INDEX traces_unseen ON traces (start, trace) WHERE unseen"
_SCHEMA = (
    # up to which offset a file's records are indexed, and their words
    "CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, done INTEGER NOT NULL, words INTEGER NOT NULL)",
    "CREATE TABLE contexts (file INTEGER, ref INTEGER, data BLOB, PRIMARY KEY (file, ref)) WITHOUT ROWID",
    # AUTOINCREMENT: word tables may still hold the id of a span that is gone, so no id is ever used twice
    (
        "CREATE TABLE spans (id INTEGER PRIMARY KEY AUTOINCREMENT, trace TEXT NOT NULL, span TEXT NOT NULL, parent TEXT,"
        " name TEXT, operation TEXT, run TEXT, start INTEGER, end INTEGER, failed INTEGER, size INTEGER,"
        " file INTEGER, ref INTEGER, offset INTEGER, length INTEGER, UNIQUE (trace, span))"
    ),
    _PLACE,
    # stale: what follows is to be made anew; unseen: monitors have not seen all of it. health counts unfinished spans as
    # interrupted, running says what it is while their programs run; open: how many; form: of the summary, see `summary.FORM`
    (
        "CREATE TABLE traces (trace TEXT PRIMARY KEY, start INTEGER, stale INTEGER, open INTEGER, health TEXT, running TEXT,"
        " agents TEXT, summary BLOB, unseen INTEGER, form INTEGER)"
    ),
    "CREATE INDEX traces_start ON traces (start)",
    "CREATE INDEX traces_stale ON traces (trace) WHERE stale",
    _UNSEEN,
    *monitoring.SCHEMA,
    *wordindex.SCHEMA,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_FROM_4 = ("ALTER TABLE traces ADD COLUMN form INTEGER", f"PRAGMA user_version = {SCHEMA_VERSION}")
"""What makes today's index of one of version 4."""
_FROM_3 = (
    "ALTER TABLE traces ADD COLUMN unseen INTEGER",
    "UPDATE traces SET unseen = stale",  # they were shown to monitors together
    _UNSEEN,
    *_FROM_4,
)
_FROM_2 = (
    *wordindex.SCHEMA,
    "ALTER TABLE files RENAME COLUMN worded TO words",
    "UPDATE files SET words = CASE WHEN words THEN done ELSE 0 END",
    "DROP INDEX spans_file",
    _PLACE,
    *_FROM_3,
)
_FROM_1 = (*monitoring.SCHEMA, *_FROM_2)
_STEPS = {0: _SCHEMA, 1: _FROM_1, 2: _FROM_2, 3: _FROM_3, 4: _FROM_4}
"""What makes today's index, by the version that is there."""

T = TypeVar("T")


class IndexUnusable(Exception):
    """The index cannot be used now: locked by another process, on a read-only disk …"""


class Index:
    """``index.db`` in a store's folder. `call` opens it; the other methods work on the connection that `call` hands out."""

    def __init__(self, folder: Path, *, busy_seconds: float = BUSY_SECONDS, words: bool = True) -> None:
        """``words`` False: search texts without FTS5, as where SQLite was built without it."""
        self.journal = folder / "journal"
        self.path = folder / "index.db"
        self._busy_seconds = busy_seconds
        self._words = words

    def has_words(self, db: sqlite3.Connection) -> bool:
        """Whether texts are looked up in word tables; else they are read from the journal."""
        return self._words and db.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is not None

    def call(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``action`` on a connection. If the index is broken, it is set aside and ``action`` runs on a new one.

        Raises IndexUnusable, UnreadableStore (the index is of a newer llmtrace).
        """
        try:
            try:
                return self._attempt(action)
            except sqlite3.Error as error:
                if not _is_broken(error):
                    raise
                self._set_aside(error)
            return self._attempt(action)
        except sqlite3.Error as error:
            raise IndexUnusable(str(error)) from error
        except OSError as error:
            raise IndexUnusable(error.strerror) from error

    def _attempt(self, action: Callable[[sqlite3.Connection], T]) -> T:
        with _active(), _locked(self.path, exclusive=False, seconds=self._busy_seconds):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600))
            with contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None)) as db:
                self._prepare(db)
                db.execute("PRAGMA synchronous = NORMAL")  # after a power cut the last steps are made again from the journal
                return action(db)

    def _prepare(self, db: sqlite3.Connection) -> None:
        version = pragma(db, "user_version")
        if version > SCHEMA_VERSION:
            raise UnreadableStore(
                f"{self.path} was written by a newer llmtrace (index version {version}, this one knows {SCHEMA_VERSION}): "
                "upgrade llmtrace, or choose another store"
            )
        if version == SCHEMA_VERSION:
            return
        if pragma(db, "page_count") > 0 and pragma(db, "application_id") not in (0, APPLICATION_ID):
            raise UnreadableStore(f"{self.path} is a database of another program: choose another folder for the store")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        patiently(lambda: db.execute("PRAGMA journal_mode = WAL"), self._busy_seconds)
        if version:
            self._back_up(db, version)
        with transaction(db):
            version = pragma(db, "user_version")
            for statement in _STEPS.get(version, ()):  # else another process was faster
                db.execute(statement)

    def _back_up(self, db: sqlite3.Connection, version: int) -> None:
        """Keep the index as it is before it is brought to this version's form: monitors' states are in no journal."""
        path = self.path.with_name(f"{self.path.name}.version{version}")
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        if not path.exists():
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | locks.FLAGS, 0o600))
            with contextlib.closing(sqlite3.connect(draft)) as backup:
                db.backup(backup)
            draft.replace(path)

    def _set_aside(self, error: Exception) -> None:
        """Rename the index once nobody uses it."""
        broken = self.path.with_name(self.path.name + files.CORRUPT)
        with _active(), _locked(self.path, exclusive=True, seconds=self._busy_seconds):
            self.path.replace(broken)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        say(f"{self.path} is broken ({error}): it is now {broken.name}, and rebuilt from the journal")

    def traces(self, db: sqlite3.Connection, query: Query) -> list[TraceSummary]:
        """Summaries of the traces that are indexed, newest first."""
        return [summary for _, summary in self._found(db, query)]

    def ids(self, db: sqlite3.Connection, query: Query) -> list[tuple[str, int]]:
        """Ids of the traces that a query asks for, newest first, and how many spans they have."""
        if query.health is not None or query.agent is not None:
            return [(trace_id, summary.spans) for trace_id, summary in self._found(db, query)]
        where, values = self._asked(db, query)
        spans = "(SELECT count(*) FROM spans WHERE spans.trace = traces.trace)"
        rows = db.execute(f"SELECT trace, {spans} FROM traces WHERE {where} ORDER BY start DESC", values)  # noqa: S608
        return list(itertools.islice((row for row in rows if self._has_text(db, row[0], query.text)), query.limit))

    def stale(self, db: sqlite3.Connection, query: Query, fresh: Collection[str]) -> list[str]:
        """Traces whose summaries have to be made before `traces` can answer a query, some at a time; of those in ``fresh`` it
        was made just now. One of an older form is made anew only where it is asked for: what a query goes by it has right."""
        where, values = self._asked(db, query)
        conditions, more = _kept(query)
        rows = db.execute(
            f"SELECT trace, stale, open, coalesce(form, 0) FROM traces WHERE {where} AND (stale OR {conditions})"  # noqa: S608
            " ORDER BY start DESC",
            values + more,
        )
        any_will_do = query.health is None and query.agent is None
        worded = not query.text or self.has_words(db)
        looked, found = 0, list[str]()
        for trace_id, is_stale, is_open, form in rows:
            if (is_stale or form < FORM) and trace_id not in fresh:
                found.append(trace_id)
            looked += worded and (any_will_do or not (is_stale or is_open))
            if looked >= query.limit or len(found) >= max(_STALE_AT_ONCE, len(fresh)):
                break
        return found

    def _found(self, db: sqlite3.Connection, query: Query) -> Iterator[tuple[str, TraceSummary]]:
        where, values = self._asked(db, query)
        conditions, more = _kept(query)
        found = 0
        for trace_id, summary in self._summaries(db, f"{where} AND {conditions}", values + more):
            if found >= query.limit:
                return
            if search.keeps(query, summary) and self._has_text(db, trace_id, query.text):
                found += 1
                yield trace_id, summary

    def _summaries(self, db: sqlite3.Connection, where: str, values: Sequence[Any]) -> Iterator[tuple[str, TraceSummary]]:
        running = files.Running(self.journal)
        statement = (
            "SELECT trace, open, running, summary FROM traces"  # noqa: S608
            f" WHERE summary IS NOT NULL AND {where} ORDER BY start DESC"
        )
        for trace_id, is_open, health, data in db.execute(statement, values):
            summary = _read_summary(data)
            if is_open and all(running.wrote(name) for name in _open_files(db, trace_id)):
                found = tuple(name for name in summary.findings if name != UNFINISHED)
                summary = replace(summary, health=health, findings=found)
            yield trace_id, summary

    def _asked(self, db: sqlite3.Connection, query: Query) -> tuple[str, list[Any]]:
        """What a query asks of a row of ``traces``, but for what the summary says."""
        return _conditions(query, wordindex.tables(db) if self.has_words(db) else None)

    def _has_text(self, db: sqlite3.Connection, trace_id: str, text: str | None) -> bool:
        """With word tables, the statement has looked after the text already."""
        return not text or self.has_words(db) or search.matches(self.read(db, trace_id).spans, text)

    def trace(self, db: sqlite3.Connection, wanted: str) -> Trace:
        """Raises TraceNotFound."""
        trace_id = resolved(db, wanted)
        trace = self.read(db, trace_id)
        if not trace.spans:
            raise _removed(trace_id)
        return trace

    def summary(self, db: sqlite3.Connection, trace_id: str) -> TraceSummary:
        """As it was made last. Raises TraceNotFound."""
        for _, summary in self._summaries(db, "trace = ?", (trace_id,)):
            return summary
        raise _removed(trace_id)

    def outline(self, db: sqlite3.Connection, trace_id: str) -> list[tuple[str, str | None, bool]]:
        """See `LocalStore.outline`."""
        rows = db.execute("SELECT span, parent, failed FROM spans WHERE trace = ? ORDER BY start, id", (trace_id,))
        return [(span, parent, bool(failed)) for span, parent, failed in rows]

    def read(self, db: sqlite3.Connection, trace_id: str) -> Trace:
        """One trace, see `Reader.read`."""
        with contextlib.closing(self.reader(db)) as reader:
            return reader.read(trace_id)

    def reader(self, db: sqlite3.Connection) -> Reader:
        """To read many traces with, while the connection is open."""
        return Reader(db, self.journal)


def write_summary(db: sqlite3.Connection, trace: Trace, summary: TraceSummary) -> None:
    """Keep a trace's summary, worked out as if no program ran any more."""
    is_open = [span.span_id for span in trace.spans if span.end is None]
    running = Trace(trace.spans, alive=frozenset(is_open)).health if is_open else summary.health
    fields = {name: getattr(summary, name) for name in TraceSummary.__slots__}  # type: ignore[attr-defined]
    agents = "\n".join(("", *summary.agents, "")).encode("utf-8", "replace").decode()  # SQLite takes no lone surrogates
    db.execute(
        "UPDATE traces SET stale = 0, open = ?, health = ?, running = ?, agents = ?, summary = ?, form = ? WHERE trace = ?",
        (len(is_open), summary.health, running, agents, json_text.write(fields).encode(), FORM, summary.trace_id),
    )


def _read_summary(data: bytes) -> TraceSummary:
    held: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json_text.read(data.decode()).items()
    }
    return TraceSummary(**held)


def _conditions(query: Query, tables: list[str] | None) -> tuple[str, list[Any]]:
    where, values = ["true"], list[Any]()
    for condition, held in (("start >= ?", query.since), ("start < ?", query.until)):
        if held is not None:
            where.append(condition)
            values.append(held)
    for condition, terms in wordindex.condition(query.text, tables) if query.text and tables is not None else ():
        where.append(condition)
        values += terms
    return " AND ".join(where), values


def _kept(query: Query) -> tuple[str, list[Any]]:
    """What a query asks of a summary, as far as columns tell."""
    where, values = ["true"], list[Any]()
    for condition, held in (
        ("(open OR health = ?)", query.health),
        ("instr(agents, ?)", query.agent and f"\n{query.agent}\n"),
    ):
        if held is not None:
            where.append(condition)
            values.append(held)
    return f"({' AND '.join(where)})", values


def resolved(db: sqlite3.Connection, wanted: str) -> str:
    """The id that a beginning of one, or "last", means. Raises TraceNotFound."""
    newest = [row[0] for row in db.execute("SELECT trace FROM traces ORDER BY start DESC LIMIT 1000")]
    return search.resolve(wanted, newest, lambda beginning: _starting(db, beginning))


def _removed(trace_id: str) -> TraceNotFound:
    return TraceNotFound(f"trace {trace_id} was removed a moment ago, to keep the store within its bounds")


def _open_files(db: sqlite3.Connection, trace_id: str) -> list[str]:
    """Names of the journal files that hold the trace's unfinished spans."""
    statement = "SELECT DISTINCT f.name FROM spans s JOIN files f ON f.id = s.file WHERE s.trace = ? AND s.end IS NULL"
    return [name for (name,) in db.execute(statement, (trace_id,))]


def _starting(db: sqlite3.Connection, beginning: str) -> list[str]:
    statement = "SELECT trace FROM traces WHERE trace >= ? AND trace < ? ORDER BY trace LIMIT 5"
    return [row[0] for row in db.execute(statement, (beginning, beginning + "\uffff"))]


def _is_broken(error: sqlite3.Error) -> bool:
    """Whether the file is to blame, and not the circumstances (locked, read-only, disk full …)."""
    text = str(error)
    broken = ("malformed", "not a database", "no such table", "no such column", "no column named", "corrupt")
    return any(sign in text for sign in broken)


@contextlib.contextmanager
def _locked(path: Path, *, exclusive: bool, seconds: float) -> Iterator[None]:
    """Whoever uses the index shares this lock; whoever sets it aside has it alone. Raises OSError when it takes too long."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while locks.take(descriptor, exclusive=exclusive) is False:
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, "the index is in use by another process")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


_entrance = threading.RLock()
_activity = threading.RLock()
_fork_holds: list[Any] = []


@contextlib.contextmanager
def _active() -> Iterator[None]:
    """Around every use of SQLite. Who waits for `_activity` stands in the entrance, so that a fork, once in there, is next."""
    with _entrance:
        _activity.acquire()
    try:
        yield
    finally:
        _activity.release()


def _before_fork() -> None:
    deadline = time.monotonic() + FORK_SECONDS
    locks_in_order = (_entrance, _activity)
    _fork_holds.extend(lock for lock in locks_in_order if lock.acquire(timeout=max(0, deadline - time.monotonic())))


def _after_fork_in_parent() -> None:
    while _fork_holds:
        _fork_holds.pop().release()


def _after_fork_in_child() -> None:
    global _entrance, _activity
    _entrance, _activity = threading.RLock(), threading.RLock()
    _fork_holds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
