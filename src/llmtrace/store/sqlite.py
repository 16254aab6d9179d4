"""The index of a local store: the place of each span in the journal, and the summaries, names and words that are searched.

Law: the index contains no spans and can be rebuilt from the journal. An index that is broken, or that another program changed,
is rebuilt. If the index is locked or cannot be written, reading goes on without it (`IndexUnusable`). Only an index of a newer
llmtrace is refused and left untouched. Each call opens and closes its connection, and a fork waits for the call to end, because
SQLite does not survive a fork.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from llmtrace.codec import json_text
from llmtrace.errors import LlmtraceError, TraceNotFound, UnreadableStore
from llmtrace.locks import fork_waits_for
from llmtrace.model import Trace, replace
from llmtrace.store import Query, filters, journal_files, locks, monitoring, search, word_index
from llmtrace.store.journal_reader import Misplaced, Reader
from llmtrace.store.summary import FORM, UNFINISHED, LetterLine, TraceSummary
from llmtrace.store.transactions import pragma, retry_locked, transaction
from llmtrace.store.warnings import warn_once

SCHEMA_VERSION = 6
APPLICATION_ID = 0x6C6C6D74
BUSY_SECONDS = 5.0
"""Seconds to wait for another process before reading goes on without the index."""
_STALE_AT_ONCE = 100
_SEAL_SECONDS = 0.01
_AGAIN_SECONDS = 0.05
"""Pause before a wrong seal is read again, since another process may be about to write it."""

_JOURNAL_SCHEMA = (
    # done, words: the offset up to which a file's records, and their words, are indexed
    "CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, done INTEGER NOT NULL, words INTEGER NOT NULL)",
    "CREATE TABLE contexts (file INTEGER, ref INTEGER, data BLOB, PRIMARY KEY (file, ref)) WITHOUT ROWID",
    # AUTOINCREMENT: a word table may still have the id of a removed span, so no id may be used twice
    (
        "CREATE TABLE spans (id INTEGER PRIMARY KEY AUTOINCREMENT, trace TEXT NOT NULL, span TEXT NOT NULL, parent TEXT,"
        " start INTEGER, end INTEGER, failed INTEGER, size INTEGER,"
        " file INTEGER, ref INTEGER, offset INTEGER, length INTEGER, UNIQUE (trace, span))"
    ),
    "CREATE INDEX spans_place ON spans (file, offset)",
    # stale: the columns after form are out of date; unseen: monitors have not seen all spans; form: see `summary.FORM`. health
    # counts unfinished spans as interrupted; running: the health while their programs run; open: their number. verdict: the
    # diagnosis that `listing` caches; judged: the code that made it. The longest column is last, since no filter reads it
    (
        "CREATE TABLE traces (trace TEXT PRIMARY KEY, start INTEGER, stale INTEGER, open INTEGER, unseen INTEGER, form INTEGER,"
        " health TEXT, running TEXT, spans INTEGER, findings INTEGER, tokens INTEGER, cost REAL, duration REAL,"
        " confidence TEXT, judged TEXT, verdict TEXT, summary BLOB)"
    ),
    "CREATE INDEX traces_start ON traces (start)",
    "CREATE INDEX traces_stale ON traces (trace) WHERE stale",
    "CREATE INDEX traces_unseen ON traces (start, trace) WHERE unseen",
    # kind: one of `filters.KINDS`
    "CREATE TABLE names (kind TEXT, name TEXT, trace TEXT, PRIMARY KEY (kind, name, trace)) WITHOUT ROWID",
    "CREATE INDEX names_trace ON names (trace)",
)
"""Tables that can be rebuilt from the journal."""
_TABLES = ("files", "contexts", "spans", "traces", "names")
_SCHEMA = (*_JOURNAL_SCHEMA, *monitoring.SCHEMA)

_OPEN_FILES = "SELECT DISTINCT f.name FROM spans s JOIN files f ON f.id = s.file WHERE s.trace = ? AND s.end IS NULL"
"""The journal files with unfinished spans of a trace."""

T = TypeVar("T")


class IndexUnusable(Exception):
    """The index cannot be used now. For example, another process has locked it, or the disk is read-only."""


class Index:
    """``index.db`` in a store's folder. `call` opens it; the other methods use the connection that `call` passes on."""

    def __init__(self, folder: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.journal = folder / "journal"
        self.path = folder / "index.db"
        self._busy_seconds = busy_seconds

    def call(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``action`` on a connection. If the index is broken, mend it and run ``action`` again.

        Raises IndexUnusable, Misplaced, UnreadableStore (the index was written by a newer llmtrace).
        """
        try:
            result = self._mended(action)
            seal(self.path)
            return result
        except (TraceNotFound, Misplaced):
            seal(self.path)
            raise
        except sqlite3.Error as error:
            raise IndexUnusable(str(error)) from error
        except OSError as error:
            raise IndexUnusable(error.strerror) from error

    def _mended(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``action`` on the index as it is. If that fails, rebuild the rows and try again; at last, start a new index."""
        was_changed = is_changed(self.path)
        for rebuild in (was_changed, True):  # an index that another program changed is rebuilt at once
            try:
                return self._attempt(action, rebuild=rebuild)
            except sqlite3.Error as error:
                is_locked_up = was_changed and "readonly" in str(error)  # the changed header makes SQLite refuse to write
                if not _is_broken(error) and not is_locked_up:
                    raise
                self._set_aside(error)
                return self._attempt(action)
            except (LlmtraceError, Misplaced, OSError):
                raise
            except Exception as error:  # a row that we did not write
                failure = error
        self._set_aside(failure)
        return self._attempt(action)

    def _attempt(self, action: Callable[[sqlite3.Connection], T], *, rebuild: bool = False) -> T:
        with _active(), _locked(self.path, exclusive=False, seconds=self._busy_seconds):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600))
            for suffix in ("-wal", "-shm", "-journal"):  # SQLite follows symbolic links
                if os.path.islink(beside := self.path.with_name(self.path.name + suffix)):
                    beside.unlink()
            with contextlib.closing(sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None)) as db:
                self._prepare(db, is_ours=rebuild)
                db.execute("PRAGMA synchronous = NORMAL")  # rows that a power cut loses are indexed again from the journal
                if rebuild:
                    self._rebuild(db)
                return action(db)

    def _rebuild(self, db: sqlite3.Connection) -> None:
        """Drop all rows that come from the journal; the monitors' states stay. Raises sqlite3.Error if the file is broken."""
        (state,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(f"malformed: {state}")
        with transaction(db):
            for table in _TABLES:
                db.execute(f"DELETE FROM {table}")  # noqa: S608
            db.execute("DROP TABLE IF EXISTS hourly_results")
            word_index.drop_unneeded(db)

    def _prepare(self, db: sqlite3.Connection, *, is_ours: bool) -> None:
        """Bring the index to the current version. ``is_ours``: an llmtrace that is not newer used it last."""
        if _is_foreign(db):
            raise sqlite3.DatabaseError("malformed: application id") if is_ours else self._foreign()
        version = pragma(db, "user_version")
        if version > SCHEMA_VERSION and is_ours:
            raise sqlite3.DatabaseError(f"malformed: version {version}")
        if version > SCHEMA_VERSION:
            raise UnreadableStore(
                f"{self.path} was written by a newer llmtrace (index version {version}; this one reads {SCHEMA_VERSION}). "
                "Upgrade llmtrace, or choose another store"
            )
        if version == SCHEMA_VERSION:
            return
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        retry_locked(lambda: db.execute("PRAGMA journal_mode = WAL"), self._busy_seconds)
        with transaction(db):
            version = pragma(db, "user_version")
            if version < SCHEMA_VERSION:  # no other process was faster
                self._create(db)

    def _create(self, db: sqlite3.Connection) -> None:
        """Create the tables. In an older index, tables that come from the journal are replaced; the monitors' states stay."""
        for table in (*_TABLES, "hourly_results", *word_index.tables(db)):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        existing = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        for statement in _SCHEMA:
            if statement.split()[2] not in existing:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def check_owner(self) -> None:
        """Raise UnreadableStore if ``index.db`` belongs to another program. Writes nothing, not even files beside it."""
        try:
            with contextlib.closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
                foreign = _is_foreign(db)
        except sqlite3.Error as error:
            foreign = _is_broken(error)
        if foreign:
            raise self._foreign()

    def _foreign(self) -> UnreadableStore:
        return UnreadableStore(
            f"{self.path} belongs to another program and is left as it is. Choose another folder for the store"
        )

    def _set_aside(self, error: Exception) -> None:
        """Rename the broken index as soon as no process uses it."""
        broken = self.path.with_name(self.path.name + journal_files.CORRUPT)
        with _active(), _locked(self.path, exclusive=True, seconds=self._busy_seconds):
            self.path.replace(broken)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        warn_once(f"the index {self.path} is broken ({error}). It was renamed to {broken.name} and is rebuilt from the journal")

    def remove(self) -> None:
        """Delete the index as soon as no process uses it; the next reader makes a new one. Raises OSError."""
        paths = [
            self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm", "-journal", journal_files.CORRUPT, "")
        ]
        if any(path.exists() for path in paths):
            with _active(), _locked(self.path, exclusive=True, seconds=self._busy_seconds):
                for path in paths:
                    path.unlink(missing_ok=True)

    def traces(self, db: sqlite3.Connection, query: Query) -> list[TraceSummary]:
        """Return the summaries of the indexed traces that match ``query``, in its order."""
        return [summary for _, summary in self._find(db, query)]

    def ids(self, db: sqlite3.Connection, query: Query) -> list[tuple[str, int]]:
        """Return id and number of spans of each trace that matches ``query``, in its order."""
        if filters.needs_summaries(query):
            return [(trace_id, summary.spans) for trace_id, summary in self._find(db, query)]
        where, values = _row_conditions(db, query)
        spans = "(SELECT count(*) FROM spans WHERE spans.trace = traces.trace)"
        statement = f"SELECT trace, {spans} FROM traces WHERE {where} ORDER BY start DESC LIMIT ?"  # noqa: S608
        return db.execute(statement, (*values, query.limit)).fetchall()

    def stale(self, db: sqlite3.Connection, query: Query, fresh: Collection[str]) -> list[str]:
        """Return some traces whose summaries must be made before `traces` can answer ``query``, without those in ``fresh``.

        A summary of an older form is made again only if the query returns it, since the columns that a query filters by are
        correct already.
        """
        where, values = _row_conditions(db, query)
        conditions, more = _summary_conditions(query)
        rows = db.execute(
            f"SELECT trace, stale, open, coalesce(form, 0) FROM traces WHERE {where} AND (stale OR {conditions})"  # noqa: S608
            f" ORDER BY {'start' if query.reverse else 'start DESC'}",
            values + more,
        )
        is_unfiltered = not filters.needs_summaries(query)
        matches, stale = 0, list[str]()
        for trace_id, is_stale, is_open, form in rows:
            if (is_stale or form < FORM) and trace_id not in fresh:
                stale.append(trace_id)
            matches += is_unfiltered or not (is_stale or is_open)
            if (matches >= query.limit and query.sort == "age") or len(stale) >= max(_STALE_AT_ONCE, len(fresh)):
                break
        return stale

    def _find(self, db: sqlite3.Connection, query: Query) -> Iterator[tuple[str, TraceSummary]]:
        where, values = self.conditions(db, query)
        column, direction = filters.SORTS[query.sort][0], "ASC" if query.reverse else "DESC"
        order = f"{column} {direction}" if query.sort == "age" else f"{column} {direction}, start DESC"
        summaries = self._summaries(db, f"{where} ORDER BY {order}", values)
        return islice(((trace_id, summary) for trace_id, summary in summaries if search.keeps(query, summary)), query.limit)

    def _summaries(self, db: sqlite3.Connection, where: str, values: Sequence[Any]) -> Iterator[tuple[str, TraceSummary]]:
        is_running = self.running_traces(db)
        statement = f"SELECT trace, open, running, health, summary FROM traces WHERE summary IS NOT NULL AND {where}"  # noqa: S608
        for trace_id, is_open, running_health, health, data in db.execute(statement, values):
            summary = read_summary(data)
            if is_open and is_running(trace_id):
                findings = tuple(name for name in summary.findings if name != UNFINISHED)
                summary = replace(summary, health=running_health, findings=findings)
            elif health == "suspect":  # a diagnosis found more than the summary knows, see `kept_verdicts`
                summary = replace(summary, health=health)
            yield trace_id, summary

    def running_traces(self, db: sqlite3.Connection) -> Callable[[str], bool]:
        """Return a function that tells if all programs with unfinished spans of a trace still run. Each is checked once."""
        running = journal_files.RunningWriters(self.journal)
        return lambda trace_id: all(running.is_running(name) for (name,) in db.execute(_OPEN_FILES, (trace_id,)).fetchall())

    def conditions(self, db: sqlite3.Connection, query: Query) -> tuple[str, list[Any]]:
        """Return the SQL condition of a query on a row of ``traces`` with its summary."""
        (where, values), (conditions, more) = _row_conditions(db, query), _summary_conditions(query)
        return f"{where} AND {conditions}", values + more

    def trace(self, db: sqlite3.Connection, wanted: str) -> Trace:
        """Return the trace with this id or beginning of an id, or the newest for "last". Raises TraceNotFound."""
        trace_id = resolve(db, wanted)
        with contextlib.closing(self.reader(db)) as reader:
            trace = reader.read(trace_id)
        if not trace.spans:
            raise _removed(trace_id)
        return trace

    def summary(self, db: sqlite3.Connection, trace_id: str) -> TraceSummary:
        """Return the stored summary of a trace. Raises TraceNotFound."""
        for _, summary in self._summaries(db, "trace = ?", (trace_id,)):
            return summary
        raise _removed(trace_id)

    def reader(self, db: sqlite3.Connection) -> Reader:
        """Return a reader for many traces. Use it only while the connection is open."""
        return Reader(db, self.journal)


def resolve(db: sqlite3.Connection, wanted: str) -> str:
    """Find the full id of ``wanted``, see `search.resolve`. Raises TraceNotFound."""
    newest = [row[0] for row in db.execute("SELECT trace FROM traces ORDER BY start DESC LIMIT 1000")]
    starting = "SELECT trace FROM traces WHERE trace >= ? AND trace < ? ORDER BY trace LIMIT 5"
    return search.resolve(wanted, newest, lambda text: [row[0] for row in db.execute(starting, (text, text + "\uffff"))])


def _row_conditions(db: sqlite3.Connection, query: Query) -> tuple[str, list[Any]]:
    """Return the SQL condition of a query on a row of ``traces``, without the summary's columns."""
    where, values = ["true"], list[Any]()
    for filter_, value in filters.active(query):
        if filter_.name in filters.OF_START:
            where.append(filter_.condition)
            values.append(value)
    for condition, terms in word_index.condition(query.text, word_index.tables(db)) if query.text else ():
        where.append(condition)
        values += terms
    return " AND ".join(where), values


def _summary_conditions(query: Query) -> tuple[str, list[Any]]:
    """Return the SQL condition of a query on the columns of a summary. Open traces are checked later, when they are read."""
    where, values = ["health IS NOT 'none'"], list[Any]()  # see `indexing`
    for filter_, value in filters.active(query):
        if filter_.name not in filters.OF_START:
            where.append(filter_.condition)
            values.append(sql_text(value) if isinstance(value, str) else value)
    return f"({' AND '.join(where)})", values


def sql_text(text: str) -> str:
    """Return the text without lone surrogates, which SQLite refuses."""
    return text.encode("utf-8", "replace").decode()


def read_summary(data: bytes) -> TraceSummary:
    """Decode a summary. What an older form has besides is left out."""
    kept: Any = json_text.read(data.decode())
    fields: dict[str, Any] = {
        name: tuple(kept[name]) if isinstance(kept[name], list) else kept[name]
        for name in TraceSummary.__slots__  # type: ignore[attr-defined]
        if name in kept
    }
    fields["letters"] = tuple([LetterLine(*line) for line in fields.get("letters", ())])
    return TraceSummary(**fields)


def _removed(trace_id: str) -> TraceNotFound:
    return TraceNotFound(f"trace {trace_id} was removed a moment ago, to keep the store within its limits")


def _is_foreign(db: sqlite3.Connection) -> bool:
    """Return True if the database has tables but not our application id.

    The id is read again at the end, since another process may be creating our index at this moment.
    """
    return (
        pragma(db, "application_id") != APPLICATION_ID
        and db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        and pragma(db, "application_id") != APPLICATION_ID
    )


def _is_broken(error: sqlite3.Error) -> bool:
    """Return True if the file itself is broken, not just unusable now (locked, read-only, disk full …)."""
    text = str(error)
    missing = ("no such table", "no such column", "no column named", "already exists", "duplicate column")
    broken = ("malformed", "not a database", "corrupt", "vtable constructor failed", *missing)
    return any(sign in text for sign in broken)


# -- the lock file beside the index
#
# Its content, the seal, is the size and the time of the last change of ``index.db``, and the version of the index. The last
# user of the index writes it. If the store was copied, repaired or damaged on disk, the seal no longer matches. A program of
# ours that was killed leaves SQLite's ``-wal`` file, which SQLite itself recovers.


def _locked(path: Path, *, exclusive: bool, seconds: float) -> AbstractContextManager[int]:
    """Hold the index's lock: shared to use the index, exclusive to rename it. Raises OSError if that takes too long."""
    return locks.locked(path.with_suffix(".lock"), exclusive=exclusive, seconds=seconds)


def is_changed(path: Path) -> bool:
    """Return True if another program changed the index. False while the index is in use, since that cannot be found out then.

    An index that a newer llmtrace used last counts as unchanged. Raises OSError.
    """
    if not locks.SUPPORTED:
        return False
    for pause in (_AGAIN_SECONDS, 0.0):
        try:
            with _locked(path, exclusive=True, seconds=0.0) as descriptor:
                used_as, _, used_version = os.pread(descriptor, 100, 0).rpartition(b" ")
                stamp = _stamp(path)
        except BlockingIOError:  # the index is in use
            return False
        if not used_as or not stamp or used_as == stamp or used_version > b"%06d" % SCHEMA_VERSION:
            return False
        time.sleep(pause)
    return True


def seal(path: Path) -> None:
    """Write the seal, unless another process uses the index, which will write it. Never raises."""
    if not locks.SUPPORTED:
        return
    with contextlib.suppress(OSError), _locked(path, exclusive=True, seconds=_SEAL_SECONDS) as descriptor:
        stamp = _stamp(path)
        content = b"%s %06d" % (stamp, SCHEMA_VERSION)
        if stamp and os.pread(descriptor, 100, 0) != content:
            os.pwrite(descriptor, content, 0)


def _stamp(path: Path) -> bytes:
    """Return size and time of the last change, with a fixed length; empty without an index, or if SQLite must recover it."""
    try:
        if path.with_name(path.name + "-wal").exists():
            return b""
        status = path.stat()
    except OSError:
        return b""
    return b"%020d %020d" % (status.st_size, status.st_mtime_ns)


# -- forks

_activity = fork_waits_for()
_entrance = fork_waits_for()


@contextlib.contextmanager
def _active() -> Iterator[None]:
    """Guard every use of SQLite. Threads queue for `_entrance`, so a fork that holds it is the next to get `_activity`."""
    with contextlib.ExitStack() as stack:
        with _entrance:
            stack.enter_context(_activity)
        yield
