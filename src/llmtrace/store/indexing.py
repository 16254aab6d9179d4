"""Fills the index from the journal: new records become rows, and their traces are marked.

More expensive work is done later, for traces with one of two independent marks: the summary is made when somebody lists the
trace (``stale``, or an older ``form``), and monitors see the trace when there is time (``unseen``). Law: a record is indexed
once, however many processes index at the same time: its rows and the file's position change in one transaction. Damaged bytes
are skipped and reported in one log line; a file that is not a journal is set aside.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from llmtrace.codec import json_text
from llmtrace.model import RawSpan, Trace
from llmtrace.store import Query, baselines, filters, journal_files, journal_records, monitoring, word_index
from llmtrace.store.journal_reader import Contexts, Misplaced
from llmtrace.store.sqlite import Index, IndexUnusable, sql_text
from llmtrace.store.summary import FORM, TraceSummary, summarise
from llmtrace.store.transactions import transaction
from llmtrace.store.warnings import warn_once

if TYPE_CHECKING:  # see `monitoring`
    from llmtrace.monitors import Monitor

_BATCH = 2000
"""Records in one transaction. Other processes wait for the write lock meanwhile."""
_SECONDS = 0.25
"""Seconds after which a transaction that makes summaries or runs monitors ends. Each transaction reads and writes the monitors'
states."""
_FEW = 1000
"""A query waits for the monitors to see up to this many new spans; if there are more, it does not wait."""
_MOST_CHANGED = 50
"""Changed journal files that one call indexes again, at most."""
_TRACES_AT_ONCE = 200
_BATCH_BYTES = 4 << 20
_INT64 = (1 << 63) - 1


_COLUMNS = ("trace", "span", "parent", "start", "end", "failed", "size", "file", "ref", "offset", "length")
_STORED = (
    "SELECT s.trace, s.span, s.end IS NOT NULL, s.size FROM json_each(?) ids CROSS JOIN spans s"
    " ON s.trace = json_extract(ids.value, '$[0]') AND s.span = json_extract(ids.value, '$[1]')"
)
_VALUES = ", ".join(f"json_extract(value, '$[{number}]')" for number in range(len(_COLUMNS)))
_INSERT = f"INSERT OR REPLACE INTO spans ({', '.join(_COLUMNS)}) SELECT {_VALUES} FROM json_each(?)"  # noqa: S608
_Row: TypeAlias = tuple[Any, ...]
"""The values of `_COLUMNS`."""
T = TypeVar("T")


class Indexer:
    """Brings an index up to date. One per process and store, since it remembers the texts that it has indexed."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._journal = index.journal
        self.words = word_index.Words(index)

    def call(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``action`` on the index (see `Index.call`), again after each journal file that turns out to have changed."""

        def index_again(db: sqlite3.Connection, name: str) -> None:
            self._forget_rows(db, name)
            self.catch_up(db)

        for _ in range(_MOST_CHANGED):
            try:
                return self.index.call(action)
            except Misplaced as misplaced:
                self.index.call(partial(index_again, name=misplaced.name))
        raise IndexUnusable("many files of the journal have changed")

    def ready(self, db: sqlite3.Connection, query: Query, *, summaries: bool = True) -> bool:
        """Bring the tables that ``query`` reads up to date, and run the monitors if there are few new spans.

        ``summaries`` False: make summaries only if the query filters or sorts by them. Returns True if the monitors have seen
        all spans.
        """
        self.catch_up(db)
        if query.text:
            self.words.catch_up(db)
        unseen = "SELECT 1 FROM traces JOIN spans USING (trace) WHERE unseen LIMIT ?"
        seen = len(db.execute(unseen, (_FEW + 1,)).fetchall()) <= _FEW and self.watch(db)
        summarised: set[str] = set()
        while (summaries or filters.needs_summaries(query)) and (stale := self.index.stale(db, query, summarised)):
            self.summarise(db, stale)
            summarised.update(stale)
        return seen

    def catch_up(self, db: sqlite3.Connection, *, seconds: float = float("inf")) -> bool:
        """Index new records of the journal, for at most ``seconds``. Returns True if it has indexed all."""
        deadline = time.monotonic() + seconds
        files = journal_files.listing(self._journal)
        self._forget(db, {file.name for file in files})
        done = dict(db.execute("SELECT name, done FROM files").fetchall())
        for file in files:
            if file.size < done.get(file.name, 0):  # a power cut took the end of it
                self._forget_rows(db, file.name)
                done[file.name] = 0
            more = file.size > done.get(file.name, 0)
            while more:
                if time.monotonic() > deadline:
                    return False
                more = self._guarded_batch(db, file.name)
        return True

    def watch(
        self, db: sqlite3.Connection, *, ended: bool = False, seconds: float = float("inf"), max_spans: int | None = None
    ) -> bool:
        """Show new spans to the monitors, for at most ``seconds``. ``ended``: only traces whose spans have all ended.

        ``max_spans``: leave out longer traces, since a trace is shown in one step. Each trace that is read also gets its
        summary. Returns True if the monitors have seen all traces that were not left out.
        """
        deadline = time.monotonic() + seconds
        quiet = deque(sorted(monitoring.quiet_now(db)))
        monitors: tuple[Monitor, ...] = ()
        while quiet or _unseen(db, 1, ended=ended, max_spans=max_spans):
            if time.monotonic() >= deadline:
                return False
            if not monitors:
                from llmtrace.monitors import load

                monitors, pins = load(), baselines.read(self._journal.parent)
            with transaction(db), contextlib.closing(self.index.reader(db)) as reader:
                watching = monitoring.Watching(db, monitors, pins)
                until = min(time.monotonic() + _SECONDS, deadline)
                waiting = deque(_unseen(db, _TRACES_AT_ONCE, ended=ended, max_spans=max_spans)) or quiet
                while waiting:
                    trace_id = waiting.popleft()
                    trace = reader.read(trace_id)
                    has_news = bool(trace.spans) and watching.see(trace)
                    if has_news:
                        trace = Trace(monitoring.with_findings(db, trace.spans, trace_id), alive=trace.alive)
                    if has_news or not trace.spans or _is_stale(db, trace_id):  # else its summary and its verdict still hold
                        _store_summary(db, trace_id, trace)
                    db.execute("UPDATE traces SET unseen = 0 WHERE trace = ?", (trace_id,))
                    if time.monotonic() >= until:
                        break
                watching.end()
        return True

    def unseen(self, db: sqlite3.Connection) -> int:
        """Return the number of traces that the monitors have not seen completely."""
        return int(db.execute("SELECT count(*) FROM traces WHERE unseen").fetchone()[0])

    def summarise(self, db: sqlite3.Connection, trace_ids: Iterable[str]) -> None:
        """Make the summaries of these traces that are missing or out of date."""
        waiting = deque(trace_id for trace_id in trace_ids if _is_stale(db, trace_id))
        while waiting:
            with transaction(db), contextlib.closing(self.index.reader(db)) as reader:
                until = time.monotonic() + _SECONDS
                while waiting:
                    trace_id = waiting.popleft()
                    if _is_stale(db, trace_id):  # another process may have been faster
                        _store_summary(db, trace_id, reader.read(trace_id))
                    if time.monotonic() >= until:
                        break

    def _forget(self, db: sqlite3.Connection, present: set[str]) -> None:
        """Delete the rows of files that no longer exist."""
        indexed = db.execute("SELECT id, name FROM files").fetchall()
        gone = [file for file, name in indexed if name not in present]
        if not gone:
            return
        with transaction(db):
            for file in gone:
                self._delete(db, file)
                db.execute("DELETE FROM files WHERE id = ?", (file,))
            word_index.drop_unneeded(db)
        db.execute("PRAGMA incremental_vacuum").fetchall()

    def _forget_rows(self, db: sqlite3.Connection, name: str) -> None:
        """Delete the rows of a file that has changed, so that `catch_up` indexes it anew."""
        with transaction(db):
            for (file,) in db.execute("SELECT id FROM files WHERE name = ?", (name,)).fetchall():
                self._delete(db, file)
                db.execute("UPDATE files SET done = 0, words = 0 WHERE id = ?", (file,))

    def _delete(self, db: sqlite3.Connection, file: int) -> None:
        """Delete the rows of a file, and the traces that have no other rows."""
        touched = db.execute("SELECT DISTINCT trace FROM spans WHERE file = ?", (file,)).fetchall()
        for table in ("spans", "contexts"):
            db.execute(f"DELETE FROM {table} WHERE file = ?", (file,))  # noqa: S608
        db.executemany("UPDATE traces SET stale = 1 WHERE trace = ?", touched)
        _drop(db, [row for row in touched if db.execute("SELECT 1 FROM spans WHERE trace = ?", row).fetchone() is None])

    def _guarded_batch(self, db: sqlite3.Connection, name: str) -> bool:
        path = self._journal / name
        try:
            return self._batch(db, path)
        except journal_files.Unusable as error:
            if error.newer:
                warn_once(f"{path} was written by a newer llmtrace and is left out. Upgrade llmtrace to read it")
            elif not journal_files.is_being_written(path):
                aside = path.rename(path.with_name(path.name + journal_files.CORRUPT))  # not read again, and not lost
                warn_once(f"{path} is not a journal file. It was renamed to {aside.name}")
        except FileNotFoundError:
            pass
        except OSError as error:
            warn_once(f"cannot read {path} ({error.strerror}), so its spans are left out")
        return False

    def _batch(self, db: sqlite3.Connection, path: Path) -> bool:
        """Index some records of one file. Returns True if there may be more."""
        # checked before reading: while the process runs, a record that is incomplete now may be complete soon
        settled = not journal_files.is_being_written(path)
        with transaction(db):
            db.execute("INSERT OR IGNORE INTO files (name, done, words) VALUES (?, 0, 0)", (path.name,))
            file, start = db.execute("SELECT id, done FROM files WHERE name = ?", (path.name,)).fetchone()
            rows = _Rows(db, file)
            done = max(start, journal_files.HEAD.size)
            more = False
            for record in journal_files.iterate(path, start):
                if isinstance(record, journal_files.Gap):
                    if record.tail and not settled:
                        break
                    warn_once(record.describe(path))
                else:
                    rows.add(record)
                done = record.offset + record.length
                if rows.count >= _BATCH or done - start >= _BATCH_BYTES:
                    more = True
                    break
            rows.write()
            db.execute("UPDATE files SET done = ? WHERE id = ?", (done, file))
        return more


def _unseen(db: sqlite3.Connection, limit: int, *, ended: bool, max_spans: int | None) -> list[str]:
    """Return traces that the monitors have not seen completely, in the order in which they are shown to them."""
    statement, values = "SELECT trace FROM traces WHERE unseen", [limit]
    if ended:
        statement += " AND NOT EXISTS (SELECT 1 FROM spans WHERE spans.trace = traces.trace AND end IS NULL)"
    if max_spans is not None:
        statement += " AND NOT EXISTS (SELECT 1 FROM spans WHERE spans.trace = traces.trace LIMIT 1 OFFSET ?)"
        values.insert(0, max_spans)
    return [trace for (trace,) in db.execute(statement + " ORDER BY start, trace LIMIT ?", values)]


def _is_stale(db: sqlite3.Connection, trace_id: str) -> bool:
    statement = "SELECT 1 FROM traces WHERE trace = ? AND (stale OR coalesce(form, 0) < ?)"
    return db.execute(statement, (trace_id, FORM)).fetchone() is not None


def _store_summary(db: sqlite3.Connection, trace_id: str, trace: Trace) -> None:
    """Write the summary of a trace, or remove the trace if it has no spans."""
    if trace.spans:
        trace = Trace(trace.spans) if trace.alive else trace
        _write_summary(db, trace, summarise(trace))
    else:
        _drop(db, [(trace_id,)])


def _write_summary(db: sqlite3.Connection, trace: Trace, summary: TraceSummary) -> None:
    """Write a trace's summary, computed as if none of its programs were still running.

    A trace that is not a run gets the health ``none``, so that lists leave it out.
    """
    is_open = [span.span_id for span in trace.spans if span.end is None]
    # the health to show while the programs with unfinished spans still run, which only a reader can check
    running = Trace(trace.spans, alive=frozenset(is_open)).health if is_open else summary.health
    fields = {name: getattr(summary, name) for name in TraceSummary.__slots__}  # type: ignore[attr-defined]
    columns = {
        "stale": 0,
        "open": len(is_open),
        "form": FORM,
        "health": summary.health if summary.is_run else "none",
        "running": running,
        "spans": summary.spans,
        "findings": len(summary.findings),
        "tokens": summary.tokens if (summary.tokens or 0) < 1 << 63 else None,  # SQLite holds no larger one
        "cost": summary.cost_usd,
        "duration": summary.duration,
        "confidence": None,
        "judged": None,
        "verdict": None,
        "summary": json_text.write(fields).encode(),
    }
    assignments = ", ".join(f"{column} = ?" for column in columns)
    db.execute(f"UPDATE traces SET {assignments} WHERE trace = ?", (*columns.values(), summary.trace_id))  # noqa: S608
    db.execute("DELETE FROM names WHERE trace = ?", (summary.trace_id,))
    names = [(kind, sql_text(name), summary.trace_id) for kind in filters.KINDS for name in filters.names_of(summary, kind)]
    db.executemany("INSERT OR IGNORE INTO names (kind, name, trace) VALUES (?, ?, ?)", names)


def _drop(db: sqlite3.Connection, traces: Iterable[tuple[str]]) -> None:
    for (trace_id,) in traces:
        for table in ("traces", "names"):
            db.execute(f"DELETE FROM {table} WHERE trace = ?", (trace_id,))  # noqa: S608
        monitoring.forget(db, trace_id)


def richness_of(db: sqlite3.Connection, ids: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[bool, int]]:
    """Return `journal_records.richness` of each of these spans that is indexed. ``ids``: pairs of trace id and span id."""
    rows = db.execute(_STORED, (json.dumps(list(ids)),))
    return {(trace, span): (bool(has_ended), size) for trace, span, has_ended, size in rows}


class _Rows:
    """The rows of one batch of records. A span that starts and ends in the batch is one row, not two."""

    def __init__(self, db: sqlite3.Connection, file: int) -> None:
        self._db = db
        self._file = file
        self._contexts = Contexts(db)
        self._spans: dict[tuple[str, str], _Row] = {}
        self.count = 0

    def add(self, record: journal_files.Record) -> None:
        self.count += 1
        if record.kind == journal_files.CONTEXT:
            insert = "INSERT OR REPLACE INTO contexts (file, ref, data) VALUES (?, ?, ?)"
            self._db.execute(insert, (self._file, record.ref, record.payload))
        elif record.kind in (journal_files.START, journal_files.SPAN):
            try:
                raw = journal_records.decode(record.payload, *self._contexts.get(self._file, record.ref))
            except journal_records.NoRecord:
                warn_once(f"the span record at offset {record.offset} of file {self._file} cannot be read and is left out")
                return
            ids, row = (raw.trace_id, raw.span_id), _row(raw, record, self._file)
            before = self._spans.get(ids)
            if before is None or _richness(row) >= _richness(before):
                self._spans[ids] = row

    def write(self) -> None:
        """Write the rows, all with one statement: every statement releases and takes Python's lock."""
        stored = richness_of(self._db, self._spans)
        poorer = {ids for ids, richness in stored.items() if richness > _richness(self._spans[ids])}
        rows = [row for ids, row in self._spans.items() if ids not in poorer]
        self._db.execute(_INSERT, (json.dumps(rows),))  # a replaced row gets a new id
        touched: dict[str, int] = {}
        for trace, _, _, start, *_ in self._spans.values():
            touched[trace] = min(start, touched.get(trace, start))
        self._db.executemany(
            "INSERT INTO traces (trace, start, stale, unseen) VALUES (?, ?, 1, 1)"
            " ON CONFLICT (trace) DO UPDATE SET stale = 1, unseen = 1, start = min(start, excluded.start)",
            touched.items(),
        )


def _row(raw: RawSpan, record: journal_files.Record, file: int) -> _Row:
    return (
        raw.trace_id,
        raw.span_id,
        raw.parent_id,
        _int64(raw.start),
        None if raw.end is None else _int64(raw.end),
        raw.status == "error",
        journal_records.richness(raw)[1],
        file,
        record.ref,
        record.offset,
        record.length,
    )


def _richness(row: _Row) -> tuple[bool, int]:
    """Return `journal_records.richness` of a row's span."""
    return row[4] is not None, row[6]


def _int64(number: int) -> int:
    return max(-_INT64, min(_INT64, number))
