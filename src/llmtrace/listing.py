"""Lists of traces as `llmtrace ls` and the viewer show them: filtered, each with one word for its health, by conversation.

Law: the health of a trace is the one that `llmtrace why` names, so it never contradicts the suspect beside it. Both come from
`list_verdicts`.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llmtrace.errors import UnreadableStore
from llmtrace.list_verdicts import PENDING, Verdict, Verdicts, cached_verdict, verdict_of
from llmtrace.model import HEALTHS, Health, Trace, replace, run_health
from llmtrace.model.value import value
from llmtrace.store import Query, Store, TraceSummary, filters
from llmtrace.store.local import CLAIMS

MOST_TURNS = 10_000
"""Newest traces whose conversations are found, and traces of one conversation."""
MOST_REMOTE_TURNS = 500
"""The same for a remote store, which is asked for each trace."""
UNMARKED = ("ok", "recovered")
"""The healths that a suspect changes to *suspect*, so that only a verdict can confirm them."""


@value
class Session:
    """The traces of one conversation, the first turn first."""

    conversation: str
    turns: tuple[TraceSummary, ...]
    pending: frozenset[str] = frozenset()
    """The ids of the turns that are still being diagnosed."""

    @property
    def health(self) -> Health:
        """The worst of its turns: failed, suspect, recovered, running, ok."""
        return max((turn.health for turn in self.turns), key=HEALTHS.index)

    def total(self, read: Callable[[TraceSummary], Any]) -> Any:
        """The sum of what is known of its turns; None if nothing is."""
        values = [number for turn in self.turns if (number := read(turn)) is not None]
        return sum(values) if values else None


# -- filters


def needs_verdicts(query: Query) -> bool:
    """Return True if only verdicts tell which traces match ``query``."""
    return query.confidence is not None or query.health in (*UNMARKED, "suspect")


def find(
    store: Store, query: Query, verdicts: Verdicts | None = None, *, seconds: float = float("inf")
) -> tuple[list[TraceSummary], int]:
    """The traces that match ``query``, and how many of those that could match are still being diagnosed after ``seconds``.

    ``verdicts``: those of ``store``. A filter by confidence or by the health *suspect* needs the verdict of every trace that
    could match, a filter by the health *ok* or *recovered* the verdicts of the traces that it returns. A remote store is
    filtered by the health that it stores. Raises UnreadableStore, also where a remote store is to be filtered by confidence.
    """
    if store.is_remote and query.confidence is not None:
        raise UnreadableStore("traces of a remote store cannot be filtered by confidence, since a list does not diagnose them")
    if store.is_remote or not needs_verdicts(query):
        return store.traces(query), 0
    verdicts = verdicts or Verdicts(store)
    if query.confidence is None and query.health in UNMARKED:
        return _find_unmarked(store, query, verdicts, seconds)
    health = None if query.health in (*UNMARKED, "suspect") else query.health
    unfiltered = replace(query, confidence=None, health=health)
    pending = verdicts.complete(unfiltered, seconds=seconds)
    if pending is not None:
        return store.traces(query), pending
    traces = store.traces(replace(unfiltered, limit=sys.maxsize))
    judged = list(zip(traces, verdicts.get(traces, seconds=seconds), strict=True))
    matching = [trace for trace, verdict in judged if _matches(trace, verdict, query)]
    return matching[: query.limit], sum(verdict is PENDING for _, verdict in judged)


def _find_unmarked(store: Store, query: Query, verdicts: Verdicts, seconds: float) -> tuple[list[TraceSummary], int]:
    """Find traces without a mark. Traces are read, and diagnosed, until there are enough."""
    until = time.monotonic() + seconds
    suspected = verdicts.complete(replace(query, health="suspect"), seconds=seconds)  # other code may have marked them
    limit = query.limit
    while True:
        traces = store.traces(replace(query, limit=limit))
        judged = list(zip(traces, verdicts.get(traces, seconds=max(0.0, until - time.monotonic())), strict=True))
        matching = [trace for trace, verdict in judged if _matches(trace, verdict, query)]
        if len(matching) >= query.limit or len(traces) < limit:
            return matching[: query.limit], (suspected or 0) + sum(verdict is PENDING for _, verdict in judged)
        limit *= 2


def _matches(trace: TraceSummary, verdict: Verdict, query: Query) -> bool:
    return query.confidence in (None, verdict.confidence) and query.health in (None, health_of(trace, verdict))


# -- health


def health_of(trace: TraceSummary, verdict: Verdict) -> Health:
    """The one word for a trace of a list: the health of its diagnosis, if there is one, since a suspect may mark it."""
    return verdict.health or trace.health


def with_health(traces: Sequence[TraceSummary], verdicts: Sequence[Verdict]) -> list[TraceSummary]:
    """The traces with the health that their verdicts have."""
    return [replace(trace, health=health_of(trace, verdict)) for trace, verdict in zip(traces, verdicts, strict=True)]


def diagnosed_health(store: Store, trace: Trace) -> Health:
    """The one word for a trace of ``store`` that was read whole: by its kept verdict, else by a new diagnosis."""
    verdict = cached_verdict(store, trace.trace_id) or verdict_of(trace)
    return verdict.health or undiagnosed_health(trace)


def undiagnosed_health(trace: Trace) -> Health:
    """The one word for a trace that cannot be diagnosed."""
    return run_health(trace.health, is_marked=False, has_failed=trace.is_refused)


# -- what waits


def waiting(store: Store) -> frozenset[str]:
    """The ids of the traces that wait for a person's decision."""
    if store.folder is None or not any((store.folder / name).is_file() for name in CLAIMS):
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


def sessions(
    store: Store, query: Query, verdicts: Verdicts | None = None, *, seconds: float = float("inf")
) -> tuple[list[Session], int]:
    """The conversations that have a trace which matches ``query``, with all their traces: the last one to go on comes first.

    Also returns how many traces are still being diagnosed after ``seconds``. ``query.limit`` counts conversations.
    Raises UnreadableStore.
    """
    until, verdicts = time.monotonic() + seconds, verdicts or Verdicts(store)
    most_turns = MOST_REMOTE_TURNS if store.is_remote else MOST_TURNS
    matching, undiagnosed = find(store, replace(query, limit=most_turns, sort="age", reverse=False), verdicts, seconds=seconds)
    by_conversation = _by_conversation(matching)
    chosen = list(by_conversation)[: query.limit]
    if query.text or len(matching) >= most_turns or any(filter_.name != "conversation" for filter_, _ in filters.active(query)):
        whole = {name: store.traces(Query(limit=most_turns, conversation=name)) for name in chosen}
        by_conversation = {name: turns or by_conversation[name] for name, turns in whole.items()}
    traces = list({turn.trace_id: turn for name in chosen for turn in by_conversation[name]}.values())
    judged = verdicts.get(traces, seconds=max(0.0, until - time.monotonic()))
    shown = {turn.trace_id: turn for turn in with_health(traces, judged)}
    pending = {trace.trace_id for trace, verdict in zip(traces, judged, strict=True) if verdict is PENDING}
    conversations = []
    for name in chosen:
        turns = sorted(by_conversation[name], key=lambda turn: turn.start)
        ids = frozenset(turn.trace_id for turn in turns)
        conversations.append(Session(name, tuple(shown[turn.trace_id] for turn in turns), ids & pending))
    return conversations, max(undiagnosed, len(pending))


def _by_conversation(traces: Iterable[TraceSummary]) -> dict[str, list[TraceSummary]]:
    by_conversation: dict[str, list[TraceSummary]] = {}
    for trace in traces:
        for name in trace.conversations:
            by_conversation.setdefault(name, []).append(trace)
    return by_conversation
