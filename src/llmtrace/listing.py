"""Lists of traces as `llmtrace ls` and the viewer show them: filtered, and grouped by conversation."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from llmtrace.errors import UnreadableStore
from llmtrace.list_verdicts import PENDING, Verdicts
from llmtrace.model import replace
from llmtrace.model.value import value
from llmtrace.store import Query, Store, TraceSummary, filters

MOST_TURNS = 10_000
"""Newest traces whose conversations are found, and traces of one conversation."""
MOST_REMOTE_TURNS = 500
"""The same for a remote store, which is asked for each trace."""


@value
class Session:
    """The traces of one conversation, the first turn first."""

    conversation: str
    turns: tuple[TraceSummary, ...]

    @property
    def health(self) -> str:
        """The worst of its turns: failed, recovered, running, ok."""
        return max((turn.health for turn in self.turns), key=("ok", "running", "recovered", "failed").index)

    def total(self, read: Callable[[TraceSummary], Any]) -> Any:
        """The sum of what is known of its turns; None if nothing is."""
        values = [number for turn in self.turns if (number := read(turn)) is not None]
        return sum(values) if values else None


# -- filters


def find(
    store: Store, query: Query, verdicts: Verdicts | None = None, *, seconds: float = float("inf")
) -> tuple[list[TraceSummary], int]:
    """The traces that match ``query``, and how many are still being diagnosed after ``seconds`` for a filter by confidence.

    ``verdicts``: those of ``store``. Raises UnreadableStore, also where a remote store is to be filtered by confidence.
    """
    if query.confidence is None:
        return store.traces(query), 0
    if store.is_remote:
        raise UnreadableStore("traces of a remote store cannot be filtered by confidence, since a list does not diagnose them")
    verdicts, unfiltered = verdicts or Verdicts(store), replace(query, confidence=None)
    pending = verdicts.complete(unfiltered, seconds=seconds)
    if pending is not None:
        return store.traces(query), pending
    traces = store.traces(replace(unfiltered, limit=sys.maxsize))
    judged = list(zip(traces, verdicts.get(traces, seconds=seconds), strict=True))
    matching = [trace for trace, verdict in judged if verdict.confidence == query.confidence]
    return matching[: query.limit], sum(verdict is PENDING for _, verdict in judged)


# -- what waits


def waiting(store: Store) -> frozenset[str]:
    """The ids of the traces that wait for a person's decision."""
    if store.folder is None or not (store.folder / "reviews.db").is_file():
        return frozenset()
    from llmtrace.store.reviews import Reviews  # takes a tenth of a second

    try:
        records = Reviews(store.folder).list(states=("proposed", "in_doubt"), limit=MOST_TURNS)
    except (OSError, sqlite3.Error):
        return frozenset()
    now = time.time()
    return frozenset(
        record.request.trace_id for record in records if record.state == "in_doubt" or record.request.deadline > now
    )


# -- sessions


def sessions(store: Store, query: Query, verdicts: Verdicts | None = None) -> list[Session]:
    """The conversations that have a trace which matches ``query``, with all their traces: the last one to go on comes first.

    ``query.limit`` counts conversations. Raises UnreadableStore.
    """
    most = MOST_REMOTE_TURNS if store.is_remote else MOST_TURNS
    matching, _ = find(store, replace(query, limit=most, sort="age", reverse=False), verdicts)
    by_conversation = _by_conversation(matching)
    chosen = list(by_conversation)[: query.limit]
    if query.text or len(matching) >= most or any(filter_.name != "conversation" for filter_, _ in filters.active(query)):
        whole = {name: store.traces(Query(limit=most, conversation=name)) for name in chosen}
        by_conversation = {name: turns or by_conversation[name] for name, turns in whole.items()}
    return [Session(name, tuple(sorted(by_conversation[name], key=lambda turn: turn.start))) for name in chosen]


def _by_conversation(traces: Iterable[TraceSummary]) -> dict[str, list[TraceSummary]]:
    by_conversation: dict[str, list[TraceSummary]] = {}
    for trace in traces:
        for name in trace.conversations:
            by_conversation.setdefault(name, []).append(trace)
    return by_conversation
