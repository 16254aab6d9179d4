"""Caches the diagnosis of each trace for lists, in the index of a local store, until a span of the trace changes.

The index's column ``health``, which filters and orders lists, then holds the health of the diagnosis.

Law: a cached verdict equals what the same code would return now. A changed span gets a new row id, so a verdict about earlier
spans is not stored. A verdict of other code (``judged``) is not read. A trace whose programs still run has none; a trace with
unfinished spans gets one when they have ended, since a program that has ended cannot go on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from llmtrace.store import Query
from llmtrace.store.transactions import transaction

if TYPE_CHECKING:
    from llmtrace.store.indexing import Indexer
    from llmtrace.store.local import LocalStore

_UNJUDGED = "(stale OR judged IS NOT ?)"
_NEWEST = "(SELECT max(id) FROM spans WHERE spans.trace = traces.trace)"
_KEEP = (
    "UPDATE traces SET judged = ?, confidence = ?, health = iif(health = 'none', health, coalesce(?, health)), verdict = ?"  # noqa: S608
    f" WHERE trace = ? AND NOT stale AND {_NEWEST} = ?"
)


class Unjudged(NamedTuple):
    """A trace without a cached verdict."""

    trace_id: str
    newest: int
    """The highest row id of its spans."""
    spans: int


class KeptVerdicts:
    """The verdicts of one version of the code. Methods raise UnreadableStore."""

    def __init__(self, store: LocalStore, judged: str) -> None:
        """``judged``: identifies the version of the code that diagnoses."""
        self._store = store
        self._judged = judged

    def get(self, trace_ids: Sequence[str]) -> dict[str, str]:
        """Return the cached verdicts of these traces, by trace id."""

        def read(indexer: Indexer, db: sqlite3.Connection) -> dict[str, str]:
            indexer.catch_up(db)
            statement = (
                "SELECT trace, verdict FROM traces WHERE trace IN (SELECT value FROM json_each(?)) AND NOT stale AND judged = ?"
            )
            return dict(db.execute(statement, (json.dumps(trace_ids), self._judged)).fetchall())

        return self._store.with_index(read, {})

    def matching(self, query: Query) -> list[tuple[str, int, str]] | None:
        """Return id, start and cached verdict of the traces that match ``query`` and have a verdict, newest first.

        The query's confidence, text and order are ignored. None if the index cannot be used.
        """

        def read(indexer: Indexer, db: sqlite3.Connection) -> list[tuple[str, int, str]] | None:
            where, values = indexer.index.conditions(db, query)
            statement = f"SELECT trace, start, verdict FROM traces WHERE {where} AND NOT stale AND judged = ? ORDER BY start DESC LIMIT ?"  # noqa: S608, E501
            return db.execute(statement, (*values, self._judged, query.limit)).fetchall()

        return self._store.with_index(read, None)

    def missing(self, query: Query) -> list[Unjudged] | None:
        """Return the ended traces that match ``query``, except for its confidence, and have no verdict. Newest first.

        None if the index cannot be used.
        """

        def read(indexer: Indexer, db: sqlite3.Connection) -> list[Unjudged] | None:
            indexer.ready(db, query)
            where, values = indexer.index.conditions(db, query)
            statement = f"SELECT trace, {_NEWEST}, spans, open FROM traces WHERE {where} AND {_UNJUDGED} ORDER BY start DESC"  # noqa: S608
            is_running = indexer.index.running_traces(db)
            rows = db.execute(statement, (*values, self._judged)).fetchall()
            return [Unjudged(*row) for *row, is_open in rows if not (is_open and is_running(row[0]))]

        return self._store.with_index(read, None)

    def newest(self, trace_ids: Sequence[str]) -> list[Unjudged]:
        """Return the present state of these traces; pass it to `keep` after the diagnosis."""

        def read(_: Indexer, db: sqlite3.Connection) -> list[Unjudged]:
            statement = f"SELECT trace, {_NEWEST}, coalesce(spans, 0) FROM traces WHERE trace = ?"  # noqa: S608
            return [Unjudged(*row) for trace_id in trace_ids for row in db.execute(statement, (trace_id,))]

        return self._store.with_index(read, [])

    def keep(self, verdicts: Mapping[Unjudged, tuple[str | None, str | None, str]]) -> None:
        """Store confidence, health and verdict of each trace, unless one of its spans has changed since."""

        def write(indexer: Indexer, db: sqlite3.Connection) -> None:
            indexer.catch_up(db)
            indexer.summarise(db, [trace.trace_id for trace in verdicts])
            rows = [(self._judged, *verdict, trace.trace_id, trace.newest) for trace, verdict in verdicts.items()]
            with transaction(db):
                db.executemany(_KEEP, rows)

        if verdicts:
            self._store.with_index(write, None)
