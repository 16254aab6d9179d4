"""Forgets traces of a local store: finds which ones, says what would go and what had left the machine, and erases them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmtrace.errors import StoreError
from llmtrace.model.value import value
from llmtrace.store import Query, TraceSummary
from llmtrace.store.local import LocalStore

if TYPE_CHECKING:
    from llmtrace.store.erasure import SentSpans


@value
class Forgotten:
    """What was forgotten, or would be."""

    traces: tuple[str, ...]
    """Ids, the newest first."""
    replays: tuple[str, ...]
    """Ids of traces that were replays of them."""
    running: tuple[str, ...]
    """Ids of traces whose program still runs. They are not forgotten."""
    spans: int
    bytes: int
    """Of the records of spans in the journal."""
    first: int | None
    """When the oldest of them began, in nanoseconds since the Unix epoch; None without a trace."""
    last: int | None
    """When the newest of them began."""
    damaged: int
    """Bytes of the journal that could not be read, whoever wrote them. They are erased, too."""
    sent: tuple[SentSpans, ...]
    """What had left the machine, by endpoint."""


def select(store: LocalStore, trace_ids: Sequence[str] = (), **filters: Any) -> list[TraceSummary]:
    """Return the traces with these ids, or those that pass all filters. ``filters``: fields of `Query`; None does not filter.

    Raises TraceNotFound, UnreadableStore, and ValueError for no ids and no filters, or for both.
    """
    active = {name: wanted for name, wanted in filters.items() if wanted is not None}
    if bool(trace_ids) == bool(active):
        raise ValueError("both ids and filters" if active else "neither ids nor filters")
    if active:
        return store.traces(Query(limit=sys.maxsize, **active))
    return list({summary.trace_id: summary for summary in map(store.summary, trace_ids)}.values())


def find(store: LocalStore, wanted: Iterable[TraceSummary]) -> tuple[Forgotten, frozenset[str], frozenset[str]]:
    """Return what would be forgotten with these traces, and the ids of their runs and of their dead letters.

    Raises StoreError.
    """
    from llmtrace.store import erasure  # late: a program that only reads does not need it

    summaries = list(wanted)
    running = tuple(summary.trace_id for summary in summaries if summary.health == "running")
    ended = [summary for summary in summaries if summary.health != "running"]
    ids = {summary.trace_id for summary in ended}
    replays = [] if store.replays is None else store.replays.traces(Query(limit=sys.maxsize))
    repeated = [summary for summary in replays if summary.replay_of in ids]
    everything = frozenset(ids | {summary.trace_id for summary in repeated})
    letters = frozenset(letter.letter_id for summary in (*ended, *repeated) for letter in summary.letters)
    try:
        survey = erasure.survey(_folder(store), everything)
    except OSError as error:
        raise StoreError(f"cannot read {error.filename}: {error.strerror}") from error
    starts = [summary.start for summary in ended]
    forgotten = Forgotten(
        traces=tuple(summary.trace_id for summary in ended),
        replays=tuple(summary.trace_id for summary in repeated),
        running=running,
        spans=survey.spans,
        bytes=survey.bytes,
        first=min(starts, default=None),
        last=max(starts, default=None),
        damaged=survey.damaged,
        sent=survey.sent,
    )
    return forgotten, survey.runs, letters


def erase(
    store: LocalStore, forgotten: Forgotten, runs: Collection[str], letters: Collection[str], *, keep_verdicts: bool = False
) -> None:
    """Erase what `find` returned. ``keep_verdicts``: see `content.strip.verdicts_only`.

    Raises StoreError; the next reader of the store then goes on.
    """
    from llmtrace.store import erasure

    if not forgotten.traces:
        return
    traces = {*forgotten.traces, *forgotten.replays}
    try:
        erasure.erase(_folder(store), traces, runs, letters, keep_verdicts=keep_verdicts)
    except OSError as error:
        raise StoreError(f"cannot write {error.filename or store.folder}: {error.strerror}") from error


def _folder(store: LocalStore) -> Path:
    if store.folder is None:
        raise StoreError("only traces of a local store can be forgotten")
    return store.folder
