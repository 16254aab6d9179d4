"""Results computed from the traces that began in one hour, cached in the index until a span of these traces changes.

Law: a cached result equals what would be computed now. A changed span gets a new row id, and a removed span lowers the number
of spans, so these two numbers show every change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

from llmtrace.model import Span
from llmtrace.model.traces import in_traces
from llmtrace.model.value import value
from llmtrace.store import Query
from llmtrace.store.transactions import transaction

if TYPE_CHECKING:
    from llmtrace.store.indexing import Indexer
    from llmtrace.store.local import LocalStore

HOUR: Final = 3600 * 1_000_000_000
"""Nanoseconds of an hour."""
_SPANS_AT_ONCE: Final = 2_000
"""Spans that are in memory at once, at most, if several hours are read together: most hours have few."""
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
    """The cached result; None without one, or if a span changed since."""

    def within(self, query: Query, last: Hour | None = None) -> Query:
        """Return the same query for the traces of this hour only, or of the hours from this one to ``last``."""
        since, until = self.hour * HOUR, ((last or self).hour + 1) * HOUR
        return Query(
            limit=query.limit,
            since=since if query.since is None else max(since, query.since),
            until=until if query.until is None else min(until, query.until),
        )

    def is_whole(self, query: Query) -> bool:
        """Return True if the query asks for all traces of this hour."""
        return self.within(query) == self.within(Query(query.limit))


def by_hour(
    store: LocalStore, query: Query, name: str, compute: Callable[[Iterable[Span]], tuple[str, bool]]
) -> Iterator[tuple[int, str]]:
    """Yield the start of each hour, and what ``compute`` returns for the spans of its traces, the newest hour first.

    The start is in nanoseconds since the Unix epoch; the spans have no prompts. ``query``: only its time range is used.
    ``compute`` returns a text, and True if the text may be cached; the cached text is used until a span of the hour changes.
    ``name``: identifies the computation and its version. Raises UnreadableStore.
    """

    def find(indexer: Indexer, db: sqlite3.Connection) -> list[Hour] | None:
        indexer.ready(db, query, summaries=False)
        return _hours(db, query, name)

    hours = store.with_index(find, None)
    if hours is None:
        traces = in_traces(store.spans(query, prompts=False))
        for start, together in groupby(traces, lambda trace: trace.spans[0].start // HOUR):
            yield start * HOUR, compute([span for trace in together for span in trace.spans])[0]
        return
    for batch in _batches(hours):
        if batch[0].result is not None:
            yield batch[0].hour * HOUR, batch[0].result
            continue
        spans = store.spans(batch[-1].within(query, batch[0]), prompts=False)
        grouped = _by_start(spans) if len(batch) > 1 else {batch[0].hour: spans}
        results = [(hour, *compute(grouped.get(hour.hour, ()))) for hour in batch]
        rows = [
            (hour.hour, name, hour.spans, hour.newest, result)
            for hour, result, is_lasting in results
            if is_lasting and hour.is_whole(query)
        ]
        if rows:
            store.with_index(partial(_keep, rows=rows), None)
        yield from ((hour.hour * HOUR, result) for hour, result, _ in results)


def _hours(db: sqlite3.Connection, query: Query, name: str) -> list[Hour]:
    """Return the hours with traces in the query's time range, newest first. ``name``: see `by_hour`."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'hourly_results'").fetchone() is None:
        with transaction(db):  # the table is not part of the index's schema
            db.execute(_TABLE)
    statement = "SELECT hour, spans, newest, data FROM hourly_results WHERE name = ?"
    saved = {(hour, spans, newest): data for hour, spans, newest, data in db.execute(statement, (name,))}
    statement = (
        "SELECT traces.start / ? AS hour, count(*), max(spans.id) FROM traces JOIN spans USING (trace)"
        " WHERE traces.start >= ? AND traces.start < ? GROUP BY hour ORDER BY hour DESC"
    )
    until = _LAST if query.until is None else query.until
    rows = db.execute(statement, (HOUR, -_LAST if query.since is None else query.since, until))
    return [Hour(hour, spans, newest, saved.get((hour, spans, newest))) for hour, spans, newest in rows]


def _batches(hours: Iterable[Hour]) -> Iterator[list[Hour]]:
    """Yield each hour with a cached result alone, and the hours between them in groups whose spans can be read together."""
    batch: list[Hour] = []
    for hour in hours:
        if batch and (hour.result is not None or sum(member.spans for member in batch) + hour.spans > _SPANS_AT_ONCE):
            yield batch
            batch = []
        if hour.result is not None:
            yield [hour]
        else:
            batch.append(hour)
    if batch:
        yield batch


def _by_start(spans: Iterable[Span]) -> Mapping[int, Iterable[Span]]:
    """Return the spans by the hour in which their trace began. ``spans``: those of a trace are adjacent."""
    hours: dict[int, list[Span]] = {}
    for trace in in_traces(spans):
        hours.setdefault(trace.spans[0].start // HOUR, []).extend(trace.spans)
    return hours


def _keep(_: Indexer, db: sqlite3.Connection, rows: list[tuple[int, str, int, int, str]]) -> None:
    """Store results, and drop those of hours before the oldest trace."""
    with transaction(db):
        db.executemany("INSERT OR REPLACE INTO hourly_results VALUES (?, ?, ?, ?, ?)", rows)
        db.execute("DELETE FROM hourly_results WHERE hour < (SELECT min(start) / ? FROM traces)", (HOUR,))
