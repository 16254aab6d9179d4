"""Results computed from the traces that began in one hour, kept in the index until a span of these traces changes.

Law: a kept result is what would be computed now. A changed span gets a new row id, and a removed one lowers the number of
spans, so these two show every change.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from llmtrace.model.value import value
from llmtrace.store import Query
from llmtrace.store.transactions import transaction

_HOUR: Final = 3600 * 1_000_000_000
_LAST: Final = (1 << 63) - 1
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS hourly_results (hour INTEGER, name TEXT, spans INTEGER, newest INTEGER, data TEXT,"
    " PRIMARY KEY (hour, name)) WITHOUT ROWID"
)


@value
class Hour:
    """The traces that began in one hour."""

    hour: int
    """Hours since the Unix epoch."""
    spans: int
    newest: int
    """The highest row id of their spans."""
    result: str | None
    """The kept result; None if there is none, or if a span changed since."""

    def within(self, query: Query) -> Query:
        """The same query, for traces of this hour only."""
        since, until = self.hour * _HOUR, (self.hour + 1) * _HOUR
        return Query(
            limit=query.limit,
            since=since if query.since is None else max(since, query.since),
            until=until if query.until is None else min(until, query.until),
        )

    def is_whole(self, query: Query) -> bool:
        """True if the query asks for all traces of this hour."""
        return self.within(query) == self.within(Query(query.limit))


def hours(db: sqlite3.Connection, query: Query, name: str) -> list[Hour]:
    """The hours with traces that match the query's times, the newest first. ``name``: of what was computed."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'hourly_results'").fetchone() is None:
        with transaction(db):
            db.execute(_TABLE)
    statement = "SELECT hour, spans, newest, data FROM hourly_results WHERE name = ?"
    kept = {(hour, spans, newest): data for hour, spans, newest, data in db.execute(statement, (name,))}
    statement = (
        "SELECT traces.start / ? AS hour, count(*), max(spans.id) FROM traces JOIN spans USING (trace)"
        " WHERE traces.start >= ? AND traces.start < ? GROUP BY hour ORDER BY hour DESC"
    )
    until = _LAST if query.until is None else query.until
    rows = db.execute(statement, (_HOUR, -_LAST if query.since is None else query.since, until))
    return [Hour(hour, spans, newest, kept.get((hour, spans, newest))) for hour, spans, newest in rows]


def keep(db: sqlite3.Connection, name: str, hour: Hour, result: str) -> None:
    """Keep the result that was computed of the traces of an hour, and drop those of hours that have no trace any more."""
    with transaction(db):
        db.execute(
            "INSERT OR REPLACE INTO hourly_results VALUES (?, ?, ?, ?, ?)", (hour.hour, name, hour.spans, hour.newest, result)
        )
        db.execute("DELETE FROM hourly_results WHERE hour < (SELECT min(start) / ? FROM traces)", (_HOUR,))
