"""Fills the index from the journal: new records become rows; traces that changed are shown to monitors and get a new summary.

Law: a record is indexed once, however many processes index at the same time: rows and the place up to which a file is done
change in one transaction. Damaged bytes are skipped and named in one log line; a file that is no journal is set aside.
"""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

from llmtrace.codec import genai
from llmtrace.model import RawSpan, Trace
from llmtrace.semconv import OPERATION_NAME, RUN_ID
from llmtrace.store import baselines, files, monitoring, records, search
from llmtrace.store.notices import say
from llmtrace.store.sqlite import Contexts, Index, transaction, word_tables, write_summary
from llmtrace.store.summary import summarise

_BATCH = 2000
"""Records in a transaction; other processes wait that long for the write lock."""
_TRACES = 50
_BATCH_BYTES = 4 << 20
_SEEN = 50_000
_INT64 = (1 << 63) - 1


class Indexer:
    """Brings an index up to date. One per process and store: it knows which texts it has seen."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._journal = index.journal
        self._seen: dict[tuple[str, int], str] = {}
        self._monitoring = monitoring.Monitoring()

    def catch_up(self, db: sqlite3.Connection, *, seconds: float = float("inf")) -> bool:
        """Index what is new in the journal, for ``seconds`` at most. Returns whether nothing is left."""
        deadline = time.monotonic() + seconds
        words = self._index.has_words(db)
        found = files.listing(self._journal)
        self._forget(db, {file.name for file in found}, words)
        done = dict(db.execute("SELECT name, done FROM files").fetchall())
        for file in found:
            more = file.size > done.get(file.name, 0)
            while more:
                if time.monotonic() > deadline:
                    return False
                more = self._guarded_batch(db, file.name, words)
        return True

    def refresh(self, db: sqlite3.Connection, *, ended: bool = False, seconds: float = float("inf")) -> None:
        """Make the summaries of traces that changed; ``ended``: only of those without an unfinished span."""
        deadline = time.monotonic() + seconds
        statement = "SELECT trace FROM traces WHERE stale"
        if ended:
            statement += " AND NOT EXISTS (SELECT 1 FROM spans WHERE spans.trace = traces.trace AND end IS NULL)"
        stale = [row[0] for row in db.execute(statement + " ORDER BY start, trace")]
        stale += sorted(set(monitoring.quiet_now(db)).difference(stale))
        pins = baselines.read(self._journal.parent) if stale else {}
        for at in range(0, len(stale), _TRACES):
            if time.monotonic() > deadline:
                return
            with transaction(db):
                watching = self._monitoring.begin(db, pins)
                for trace_id in stale[at : at + _TRACES]:
                    self._summarise(db, trace_id, watching)
                watching.end()

    def _summarise(self, db: sqlite3.Connection, trace_id: str, watching: monitoring.Watching) -> None:
        trace = self._index.read(db, trace_id)
        if not trace.spans:
            db.execute("DELETE FROM traces WHERE trace = ?", (trace_id,))
            monitoring.forget(db, trace_id)
            return
        if watching.see(trace):
            trace = self._index.read(db, trace_id)
        trace = Trace(trace.spans)
        write_summary(db, trace, summarise(trace))

    def _forget(self, db: sqlite3.Connection, present: set[str], words: bool) -> None:
        """Take out the rows of files that are gone, and of those whose words could not be indexed when they now can."""
        known = db.execute("SELECT id, name, worded FROM files").fetchall()
        gone = [(file, name) for file, name, worded in known if name not in present or (words and not worded)]
        if not gone:
            return
        with transaction(db):
            for file, _ in gone:
                db.execute("UPDATE traces SET stale = 1 WHERE trace IN (SELECT trace FROM spans WHERE file = ?)", (file,))
                for table in ("spans", "contexts"):
                    db.execute(f"DELETE FROM {table} WHERE file = ?", (file,))  # noqa: S608
                db.execute("DELETE FROM files WHERE id = ?", (file,))
            needed = {_word_table(name) for (name,) in db.execute("SELECT name FROM files")}
            for table in word_tables(db):
                if table not in needed:
                    db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA incremental_vacuum").fetchall()

    def _guarded_batch(self, db: sqlite3.Connection, name: str, words: bool) -> bool:
        path = self._journal / name
        try:
            return self._batch(db, path, words)
        except files.Unusable as error:
            if error.newer:
                say(f"{path} was written by a newer llmtrace and is left out: upgrade llmtrace to read it")
            elif not files.held(path):
                say(f"{path} is no journal file: it is now {files.set_aside(path).name}")
        except FileNotFoundError:
            pass
        except OSError as error:
            say(f"cannot read {path} ({error.strerror}): its spans are left out")
        return False

    def _batch(self, db: sqlite3.Connection, path: Path, words: bool) -> bool:
        """Index some records of one file. Returns whether there may be more."""
        settled = not files.held(path)  # asked first: what is torn now, in a file of a process that ran then, may be whole soon
        with transaction(db):
            insert = "INSERT OR IGNORE INTO files (name, done, worded) VALUES (?, 0, ?)"
            db.execute(insert, (path.name, words))
            file, start = db.execute("SELECT id, done FROM files WHERE name = ?", (path.name,)).fetchone()
            rows = _Rows(db, file, _word_table(path.name) if words else None, self._seen)
            done = max(start, files.HEAD.size)
            more = False
            for record in files.iterate(path, start):
                if isinstance(record, files.Gap):
                    if record.tail and not settled:
                        break
                    say(_damage(path, record))
                else:
                    rows.add(record)
                done = record.offset + record.length
                if rows.count >= _BATCH or done - start >= _BATCH_BYTES:
                    more = True
                    break
            rows.add_marks()
            rows.mark_stale()
            db.execute("UPDATE files SET done = ? WHERE id = ?", (done, file))
        return more


class _Rows:
    """The rows of one batch of one file's records."""

    def __init__(self, db: sqlite3.Connection, file: int, table: str | None, seen: dict[tuple[str, int], str]) -> None:
        self._db = db
        self._file = file
        self._table = table
        self._seen = seen
        self._contexts = Contexts(db)
        self._touched: dict[str, int] = {}
        self._marks: dict[tuple[str, str], tuple[RawSpan, files.Record]] = {}
        """Start marks of this batch whose spans have not ended in it: most end soon, and are worth one row, not two."""
        self.count = 0
        if self._table is not None:
            db.execute(
                f"CREATE VIRTUAL TABLE IF NOT EXISTS {self._table} USING fts5"
                " (text, content='', columnsize=0, tokenize='unicode61 remove_diacritics 0')"
            )

    def add(self, record: files.Record) -> None:
        self.count += 1
        if record.kind == files.CONTEXT:
            insert = "INSERT OR REPLACE INTO contexts (file, ref, data) VALUES (?, ?, ?)"
            self._db.execute(insert, (self._file, record.ref, record.payload))
        elif record.kind in (files.START, files.SPAN):
            try:
                raw = records.decode(record.payload, *self._contexts.get(self._file, record.ref))
            except records.NoRecord:
                say(f"a span record at {record.offset} in file {self._file} cannot be read and is left out")
                return
            ids = raw.trace_id, raw.span_id
            if raw.end is None:
                self._marks[ids] = raw, record
            else:
                self._marks.pop(ids, None)
                self._add_span(raw, record)

    def add_marks(self) -> None:
        """Add the spans that only began."""
        for raw, record in self._marks.values():
            self._add_span(raw, record)

    def _add_span(self, raw: RawSpan, record: files.Record) -> None:
        ended, size = records.richness(raw)
        ids = (raw.trace_id, raw.span_id)
        before = self._db.execute("SELECT id, end IS NOT NULL, size FROM spans WHERE trace = ? AND span = ?", ids).fetchone()
        if before is not None:
            if before[1:] > (ended, size):
                return
            self._db.execute("DELETE FROM spans WHERE id = ?", before[:1])
        inserted = self._db.execute(
            "INSERT INTO spans (trace, span, parent, name, operation, run, start, end, failed, size, file, ref, offset, length)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *ids,
                raw.parent_id,
                _printable(raw.name),
                _printable(raw.attributes.get(OPERATION_NAME)),
                _printable(raw.attributes.get(RUN_ID)),
                _int64(raw.start),
                None if raw.end is None else _int64(raw.end),
                raw.status == "error",
                size,
                self._file,
                record.ref,
                record.offset,
                record.length,
            ),
        )
        start = _int64(raw.start)
        self._touched[raw.trace_id] = min(start, self._touched.get(raw.trace_id, start))
        if self._table is not None:
            words = self._new_words(raw)
            self._db.execute(f"INSERT INTO {self._table} (rowid, text) VALUES (?, ?)", (inserted.lastrowid, words))  # noqa: S608

    def _new_words(self, raw: RawSpan) -> str:
        """The words of a span, without texts that another ended span of the trace has brought: a conversation is sent again
        with each call, and a trace is found by any of its spans."""
        if len(self._seen) > _SEEN:
            self._seen.clear()
        return " ".join(
            [
                search.indexed(text)
                for text in search.texts(genai.decode(raw))
                if raw.end is None or self._seen.setdefault((raw.trace_id, hash(text)), raw.span_id) == raw.span_id
            ]
        )

    def mark_stale(self) -> None:
        self._db.executemany(
            "INSERT INTO traces (trace, start, stale) VALUES (?, ?, 1)"
            " ON CONFLICT (trace) DO UPDATE SET stale = 1, start = min(start, excluded.start)",
            self._touched.items(),
        )


def _word_table(name: str) -> str:
    """The table for the words of a journal file: that of the day on which it was begun."""
    return f"words_{name[:8]}" if re.match(r"[0-9]{8}T", name) else "words_00000000"


def _damage(path: Path, gap: files.Gap) -> str:
    if gap.tail:
        return f"{path}: its last {gap.length} bytes are torn (the program was killed as it wrote them) and are left out"
    return f"{path}: {gap.length} bytes at {gap.offset} are damaged and left out"


def _int64(number: int) -> int:
    return max(-_INT64, min(_INT64, number))


def _printable(held: object) -> str | None:
    """A text that SQLite takes: it refuses lone surrogates."""
    return str(held).encode("utf-8", "replace").decode() if held is not None else None
