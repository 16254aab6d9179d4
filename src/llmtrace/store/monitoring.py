"""What monitors learned and found, kept in the index: whoever brings it up to date shows them each ended span once.

Law: a span is shown to the monitors once, however many processes index at the same time: the mark that it was, what was
learned from it and what was found change in one transaction. Traces come in order of their start, spans of a trace in order
of their end. Spans of other instrumentations, which arrive in any order and are judged late, wait until their trace is quiet.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmtrace.codec import json_text
from llmtrace.model import Evaluation, Span, Trace, replace
from llmtrace.store.notices import say

if TYPE_CHECKING:  # monitors take a tenth of the time in which a program starts that reads what is indexed already
    from llmtrace.monitors import Monitor, Watch

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
_FIELDS: Final = ("name", "severity", "explanation", "label", "score", "pointer", "derived")

Pins = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Shelf:
    """The states of keys and places, as a transaction sees them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, name: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT state FROM monitors WHERE name = ?", (name,)).fetchone()
        return None if row is None else json_text.read(row[0].decode())

    def put(self, name: str, state: dict[str, Any], used: int) -> None:
        insert = "INSERT OR REPLACE INTO monitors (name, used, state) VALUES (?, ?, ?)"
        self._db.execute(insert, (name, used, json_text.write(state).encode()))


class Monitoring:
    """One for each process and store: it knows which monitors there are."""

    def __init__(self) -> None:
        self._monitors: tuple[Monitor, ...] | None = None

    def begin(self, db: sqlite3.Connection, pins: Pins) -> Watching:
        """For one transaction."""
        from llmtrace.monitors import Watch, load

        if self._monitors is None:
            self._monitors = load()
        return Watching(db, Watch(self._monitors, Shelf(db), pins))


class Watching:
    def __init__(self, db: sqlite3.Connection, watch: Watch) -> None:
        self._db = db
        self._watch = watch
        self._loud = {trace for (trace,) in db.execute("SELECT trace FROM loud")}

    def see(self, trace: Trace) -> bool:
        """Show the monitors what is new in a trace. Returns whether something was found in it; if it was in another one,
        whose summary it changes, that is marked."""
        try:
            return self._see(trace)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # a state that another version wrote: reading traces goes on without it
            say(f"monitors failed on a trace ({type(error).__qualname__}: {error}); what they tell is incomplete")
            return False

    def _see(self, trace: Trace) -> bool:
        end = max((span.end or 0 for span in trace.spans), default=0)
        waits = False
        watched = {span for (span,) in self._db.execute("SELECT span FROM watched WHERE trace = ?", (trace.trace_id,))}
        new: list[tuple[str, str]] = []
        quiet = end < time.time_ns() - QUIET_SECONDS * 1_000_000_000

        def fresh(span: Span) -> bool:
            nonlocal waits
            if span.run_id is None and not quiet:
                waits = True
                return False
            if span.span_id in watched:
                return False
            watched.add(span.span_id)
            new.append((span.trace_id, span.span_id))
            return True

        here = False
        try:
            for (trace_id, span_id), found in self._watch.step(trace, fresh):
                self._keep(trace_id, span_id, found)
                here = here or trace_id == trace.trace_id
                if trace_id != trace.trace_id:
                    self._db.execute("UPDATE traces SET stale = 1 WHERE trace = ?", (trace_id,))
        finally:
            self._db.executemany("INSERT INTO watched VALUES (?, ?)", new)
        if waits:
            self._db.execute("INSERT OR REPLACE INTO loud VALUES (?, ?)", (trace.trace_id, end))
        elif trace.trace_id in self._loud:
            self._db.execute("DELETE FROM loud WHERE trace = ?", (trace.trace_id,))
        return here

    def _keep(self, trace_id: str, span_id: str, found: Evaluation) -> None:
        data = json_text.write({name: getattr(found, name) for name in _FIELDS}).encode()
        label, pointer = ((text or "").encode("utf-8", "replace").decode() for text in (found.label, found.pointer))
        row = (trace_id, span_id, found.name, label, pointer, data)
        self._db.execute("INSERT OR REPLACE INTO drift VALUES (?, ?, ?, ?, ?, ?)", row)

    def end(self) -> None:
        """Write down what was learned, before the transaction ends; the keys that were used least recently go."""
        from llmtrace.monitors import MAX_KEYS

        self._watch.save()
        names = self._db.execute("SELECT count(*) FROM monitors").fetchone()[0]
        most = 2 * MAX_KEYS  # a key and its place
        if names > most:
            oldest = "SELECT name FROM monitors ORDER BY used, name LIMIT ?"
            self._db.execute(f"DELETE FROM monitors WHERE name IN ({oldest})", (names - most,))  # noqa: S608


def quiet_now(db: sqlite3.Connection) -> list[str]:
    """Traces with spans that waited for it to be quiet, and now is."""
    before = time.time_ns() - QUIET_SECONDS * 1_000_000_000
    return [row[0] for row in db.execute("SELECT trace FROM loud WHERE end < ?", (before,))]


def forget(db: sqlite3.Connection, trace_id: str) -> None:
    """A trace is gone. What was learned from it stays."""
    for table in ("watched", "drift", "loud"):
        db.execute(f"DELETE FROM {table} WHERE trace = ?", (trace_id,))  # noqa: S608


def with_found(db: sqlite3.Connection, spans: Iterable[Span], trace_id: str) -> list[Span]:
    """The spans of a trace with what monitors found. Of a span that was stored with a finding, the newer wording counts."""
    found: dict[str, list[Evaluation]] = {}
    for span_id, data in db.execute("SELECT span, data FROM drift WHERE trace = ?", (trace_id,)):
        found.setdefault(span_id, []).append(Evaluation(**json_text.read(data.decode())))
    if not found:
        return list(spans)
    return [_with(span, found[span.span_id]) if span.span_id in found else span for span in spans]


def _with(span: Span, found: list[Evaluation]) -> Span:
    from llmtrace.monitors import PREFIX

    told = {_what(one) for one in found}
    kept = [one for one in span.evaluations if not one.name.startswith(PREFIX) or _what(one) not in told]
    return replace(span, evaluations=(*kept, *found))


def _what(found: Evaluation) -> tuple[str | None, ...]:
    return found.name, found.label, found.pointer


def states(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """The states of all keys, the one that was used last first."""
    rows = db.execute("SELECT state FROM monitors ORDER BY used DESC, name")
    return [state for (data,) in rows if "key" in (state := json_text.read(data.decode()))]


def pin(db: sqlite3.Connection, pins: Pins) -> None:
    """Compare the streams of keys that are known already with these baselines from now on, and no others with any; in a
    transaction."""
    from llmtrace.monitors import pinned

    for name, used, data in db.execute("SELECT name, used, state FROM monitors").fetchall():
        state: Any = json_text.read(data.decode())
        if "key" in state:
            Shelf(db).put(name, pinned(state, pins.get(name, {})), used)


def learn(traces: Iterable[Trace], pins: Pins) -> list[dict[str, Any]]:
    """What monitors know after these traces, oldest first, where no index keeps it."""
    from llmtrace.monitors import Watch, load

    shelf = _Memory()
    watch = Watch(load(), shelf, pins)
    for trace in traces:
        for _ in watch.step(trace, lambda _: True):
            pass
    watch.save()
    return sorted((state for state in shelf.held.values() if "key" in state), key=lambda state: -state["last"])


class _Memory:
    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def get(self, name: str) -> dict[str, Any] | None:
        return self.held.get(name)

    def put(self, name: str, state: dict[str, Any], _: int) -> None:
        self.held[name] = state
