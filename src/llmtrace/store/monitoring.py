"""The monitors' states and findings, kept in the index. Indexing shows each ended span to the monitors.

Law: monitors see a span once, however many processes index at the same time: the mark that it was seen, the states and the
findings change in one transaction. Traces are shown in order of start, except long ones, which commands leave to
`llmtrace drift`. The spans of a trace are shown in order of end. Spans of other instrumentations arrive in any order and are
evaluated late, so they wait until their trace is quiet.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmtrace.codec import json_text
from llmtrace.model import Evaluation, Span, Trace, replace
from llmtrace.store.warnings import warn_once

if TYPE_CHECKING:  # importing monitors takes a tenth of the start-up time of a program that only reads
    from llmtrace.monitors import Monitor

SCHEMA = (
    "CREATE TABLE watched (trace TEXT, span TEXT, PRIMARY KEY (trace, span)) WITHOUT ROWID",
    "CREATE TABLE monitors (name TEXT PRIMARY KEY, used INTEGER, state BLOB) WITHOUT ROWID",
    (
        "CREATE TABLE drift (trace TEXT, span TEXT, name TEXT, label TEXT, pointer TEXT, data BLOB,"
        " PRIMARY KEY (trace, span, name, label, pointer)) WITHOUT ROWID"
    ),
    "CREATE TABLE loud (trace TEXT PRIMARY KEY, end INTEGER) WITHOUT ROWID",
)

QUIET_SECONDS: Final = 30
"""Seconds after its last span from which a trace counts as quiet."""
_FIELDS: Final = ("name", "severity", "explanation", "label", "score", "pointer", "derived", "confidence")

Pins = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Shelf:
    """The states of keys and places within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, name: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT state FROM monitors WHERE name = ?", (name,)).fetchone()
        return None if row is None else json_text.read(row[0].decode())

    def put(self, name: str, state: dict[str, Any], used: int) -> None:
        insert = "INSERT OR REPLACE INTO monitors (name, used, state) VALUES (?, ?, ?)"
        self._db.execute(insert, (name, used, json_text.write(state).encode()))


class Watching:
    """Shows traces to the monitors within one transaction."""

    def __init__(self, db: sqlite3.Connection, monitors: Sequence[Monitor], pins: Pins) -> None:
        from llmtrace.monitors import Watch

        self._db = db
        self._watch = Watch(monitors, Shelf(db), pins)
        self._loud = {trace for (trace,) in db.execute("SELECT trace FROM loud")}

    def see(self, trace: Trace) -> bool:
        """Show the new spans of a trace to the monitors. Returns True if they found something in this trace.

        If they find something in another trace, that trace is marked, and its summary is made again.
        """
        try:
            return self._see(trace)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # perhaps a state that another version wrote; reading traces must go on
            warn_once(f"the monitors failed on a trace ({type(error).__qualname__}: {error}), so their findings are incomplete")
            return False

    def _see(self, trace: Trace) -> bool:
        end = max((span.end or 0 for span in trace.spans), default=0)
        waits = False
        watched = {span for (span,) in self._db.execute("SELECT span FROM watched WHERE trace = ?", (trace.trace_id,))}
        new: list[tuple[str, str]] = []
        quiet = end < time.time_ns() - QUIET_SECONDS * 1_000_000_000

        def fresh(span: Span) -> bool:
            nonlocal waits
            if span.run_id is None and not quiet:  # of another instrumentation, so it may still change
                waits = True
                return False
            if span.span_id in watched:
                return False
            watched.add(span.span_id)
            new.append((span.trace_id, span.span_id))
            return True

        found_in_trace = False
        try:
            for (trace_id, span_id), evaluation in self._watch.step(trace, fresh):
                self._store(trace_id, span_id, evaluation)
                found_in_trace = found_in_trace or trace_id == trace.trace_id
                if trace_id != trace.trace_id:
                    self._db.execute("UPDATE traces SET stale = 1 WHERE trace = ?", (trace_id,))
        finally:
            self._db.executemany("INSERT INTO watched VALUES (?, ?)", new)
        if waits:
            self._db.execute("INSERT OR REPLACE INTO loud VALUES (?, ?)", (trace.trace_id, end))
        elif trace.trace_id in self._loud:
            self._db.execute("DELETE FROM loud WHERE trace = ?", (trace.trace_id,))
        return found_in_trace

    def _store(self, trace_id: str, span_id: str, evaluation: Evaluation) -> None:
        data = json_text.write({name: getattr(evaluation, name) for name in _FIELDS}).encode()
        # SQLite refuses lone surrogates
        label, pointer = ((text or "").encode("utf-8", "replace").decode() for text in (evaluation.label, evaluation.pointer))
        row = (trace_id, span_id, evaluation.name, label, pointer, data)
        self._db.execute("INSERT OR REPLACE INTO drift VALUES (?, ?, ?, ?, ?, ?)", row)

    def end(self) -> None:
        """Save the states before the transaction ends, and drop the least recently used keys if there are too many."""
        from llmtrace.monitors import MAX_KEYS

        self._watch.save()
        names = self._db.execute("SELECT count(*) FROM monitors").fetchone()[0]
        limit = 2 * MAX_KEYS  # a key and its place
        if names > limit:
            oldest = "SELECT name FROM monitors ORDER BY used, name LIMIT ?"
            self._db.execute(f"DELETE FROM monitors WHERE name IN ({oldest})", (names - limit,))  # noqa: S608


def quiet_now(db: sqlite3.Connection) -> list[str]:
    """Return the traces with waiting spans that are quiet by now."""
    before = time.time_ns() - QUIET_SECONDS * 1_000_000_000
    return [row[0] for row in db.execute("SELECT trace FROM loud WHERE end < ?", (before,))]


def forget(db: sqlite3.Connection, trace_id: str) -> None:
    """Delete the findings of a trace that was removed. The monitors' states stay."""
    for table in ("watched", "drift", "loud"):
        db.execute(f"DELETE FROM {table} WHERE trace = ?", (trace_id,))  # noqa: S608


def with_findings(db: sqlite3.Connection, spans: Iterable[Span], trace_id: str) -> list[Span]:
    """Add the monitors' findings to the spans of a trace. A newer finding replaces one that was stored with the span."""
    findings: dict[str, list[Evaluation]] = {}
    for span_id, data in db.execute("SELECT span, data FROM drift WHERE trace = ?", (trace_id,)):
        findings.setdefault(span_id, []).append(Evaluation(**json_text.read(data.decode())))
    if not findings:
        return list(spans)
    return [_merge(span, findings[span.span_id]) if span.span_id in findings else span for span in spans]


def _merge(span: Span, findings: list[Evaluation]) -> Span:
    from llmtrace.monitors import PREFIX

    identities = {_identity(evaluation) for evaluation in findings}
    remaining = [
        evaluation
        for evaluation in span.evaluations
        if not evaluation.name.startswith(PREFIX) or _identity(evaluation) not in identities
    ]
    return replace(span, evaluations=(*remaining, *findings))


def _identity(evaluation: Evaluation) -> tuple[str | None, ...]:
    return evaluation.name, evaluation.label, evaluation.pointer


def states(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the states of all keys, the most recently used first."""
    rows = db.execute("SELECT state FROM monitors ORDER BY used DESC, name")
    return [state for (data,) in rows if "key" in (state := json_text.read(data.decode()))]


def pin(db: sqlite3.Connection, pins: Pins) -> None:
    """Compare the streams of existing keys with these baselines from now on, and all other streams with none.

    Call it within a transaction.
    """
    from llmtrace.monitors import pinned

    for name, used, data in db.execute("SELECT name, used, state FROM monitors").fetchall():
        state: Any = json_text.read(data.decode())
        if "key" in state:
            Shelf(db).put(name, pinned(state, pins.get(name, {})), used)


def learn(traces: Iterable[Trace], pins: Pins) -> list[dict[str, Any]]:
    """Return the monitors' states after they have seen ``traces``, oldest trace first. For stores without an index."""
    from llmtrace.monitors import Watch, load

    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for statement in SCHEMA:
            db.execute(statement)
        watch = Watch(load(), Shelf(db), pins)
        for trace in traces:
            for _ in watch.step(trace, lambda _: True):
                pass
        watch.save()
        return states(db)
