"""Lists of traces as `llmtrace ls` and the viewer show them: filtered, with the first suspect of each, grouped by conversation.

Law: the suspect of a trace is the one that `llmtrace why` names first. A trace is diagnosed once; its verdict is kept in the
index of a local store until one of its spans or this code changes (see `store.kept_verdicts`).
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from llmtrace.codec import json_text
from llmtrace.errors import DiagnosisFailed, TraceNotFound, UnreadableStore
from llmtrace.model import HEALTHS, Health, Trace, replace, run_health
from llmtrace.model.value import value
from llmtrace.store import Query, Store, TraceSummary, filters
from llmtrace.store.kept_verdicts import KeptVerdicts, Unjudged
from llmtrace.store.local import LocalStore
from llmtrace.version import __version__

MOST_DIAGNOSED = 100
"""Traces of one list that are diagnosed: a screenful, each in milliseconds."""
LONGEST_DIAGNOSED = 300
"""Spans of the longest trace that is diagnosed for a list."""
MOST_TURNS = 10_000
"""Newest traces whose conversations are found, and traces of one conversation."""
MOST_REMOTE_TURNS = 500
"""The same for a remote store, which is asked for each trace."""
_KEPT_AT_ONCE = 50
_DIAGNOSED_HEALTHS = ("ok", "recovered", "suspect")
"""A suspect that only the diagnosis finds changes the first two to the last."""
_ROOMS = ("diagnosis", "laws", "model", "reading", "text", "validation")
"""Folders whose code decides what a diagnosis says."""


@value
class Verdict:
    """The diagnosis of one trace as a list shows it. All fields are empty if nothing is suspected."""

    title: str = ""
    """The first suspect."""
    confidence: str | None = None
    """certain or likely."""
    check: str = ""
    span_id: str = ""
    probability: float | None = None
    count: int = 1
    health: Health | None = None
    """The health of the diagnosis; None if the trace was not diagnosed."""
    report: str = ""
    """The failure that was reported for a run without a suspect."""
    undiagnosed: str = ""
    """Why the trace was not diagnosed."""
    hint: str = ""
    """A short form of ``undiagnosed``, if the reason is about this trace alone."""
    fault: str = ""
    """The error in llmtrace that prevented the diagnosis."""


NOTHING = Verdict()
"""The verdict on a trace that was not diagnosed because it is not complete, or no longer stored."""
_REMOTE = Verdict(undiagnosed="traces of a remote store are not diagnosed in a list")


@value
class Session:
    """The traces of one conversation, the first turn first."""

    conversation: str
    turns: tuple[TraceSummary, ...]

    @property
    def health(self) -> Health:
        """The worst of its turns: failed, suspect, recovered, running, ok."""
        return max((turn.health for turn in self.turns), key=HEALTHS.index)

    def total(self, read: Callable[[TraceSummary], Any]) -> Any:
        """The sum of what is known of its turns; None if nothing is."""
        values = [number for turn in self.turns if (number := read(turn)) is not None]
        return sum(values) if values else None


# -- filters


def find(store: Store, query: Query, *, seconds: float = float("inf")) -> tuple[list[TraceSummary], int]:
    """The traces that match ``query``, and how many could not be diagnosed within ``seconds`` for a filter by confidence, or
    by the health *suspect*, which for some traces only a diagnosis shows.

    Raises UnreadableStore, also where a remote store is to be filtered by confidence.
    """
    if query.confidence is None:
        if query.health not in _DIAGNOSED_HEALTHS or store.is_remote:
            return store.traces(query), 0
        return _find_by_health(store, query, seconds)
    if store.is_remote:
        raise UnreadableStore("traces of a remote store cannot be filtered by confidence, since a list does not diagnose them")
    unfiltered = replace(query, confidence=None)
    if not isinstance(store, LocalStore):
        newest = store.traces(replace(unfiltered, limit=sys.maxsize))
        return [trace for trace in newest if _suits(store, trace, query)][: query.limit], 0
    undiagnosed = _diagnose_missing(store, unfiltered, seconds)
    traces = store.traces(replace(query, limit=query.limit + MOST_DIAGNOSED))
    # a trace with an unfinished span has no kept verdict
    return [trace for trace in traces if trace.end is not None or _suits(store, trace, query)][: query.limit], undiagnosed


def _suits(store: Store, trace: TraceSummary, query: Query) -> bool:
    verdict = next(verdicts(store, [trace]))
    return query.confidence in (None, verdict.confidence) and query.health in (None, health_of(trace, verdict))


def _find_by_health(store: Store, query: Query, seconds: float) -> tuple[list[TraceSummary], int]:
    """The traces whose health, as a list shows it, is the one of ``query``."""
    undiagnosed = 0
    if query.health == "suspect":
        unfiltered = replace(query, health=None)
        if not isinstance(store, LocalStore):
            newest = store.traces(replace(unfiltered, limit=sys.maxsize))
            return [trace for trace in newest if _suits(store, trace, query)][: query.limit], 0
        undiagnosed = _diagnose_missing(store, unfiltered, seconds)
    traces = store.traces(replace(query, limit=query.limit + MOST_DIAGNOSED))
    suited = [
        trace for trace, verdict in zip(traces, verdicts(store, traces), strict=True)
        if health_of(trace, verdict) == query.health
    ]  # fmt: skip
    return suited[: query.limit], undiagnosed


def _diagnose_missing(store: LocalStore, query: Query, seconds: float) -> int:
    """Diagnose the traces that match ``query``. Returns how many are left after ``seconds``."""
    deadline = time.monotonic() + seconds
    verdict_store = KeptVerdicts(store, code_version())
    missing = verdict_store.missing(query, max_spans=LONGEST_DIAGNOSED)
    for at in range(0, len(missing), _KEPT_AT_ONCE):
        judged: dict[Unjudged, Verdict] = {}
        for trace in missing[at : at + _KEPT_AT_ONCE]:
            judged[trace] = _diagnose(store, trace.trace_id)
            if time.monotonic() > deadline:
                break
        _keep(verdict_store, judged)
        if time.monotonic() > deadline:
            return len(missing) - at - len(judged)
    return 0


# -- suspects


def with_health(store: Store, traces: Sequence[TraceSummary]) -> list[TraceSummary]:
    """The traces with the health that their diagnosis has."""
    pairs = zip(traces, verdicts(store, traces), strict=True)
    return [replace(trace, health=health_of(trace, verdict)) for trace, verdict in pairs]


def health_of(trace: TraceSummary, verdict: Verdict) -> Health:
    """The one word for a trace of a list: the health of its diagnosis, if there is one, since a suspect may mark it."""
    return verdict.health or trace.health


def diagnosed_health(trace: Trace) -> Health:
    """The one word for a trace that was read whole. A trace of more than `LONGEST_DIAGNOSED` spans is not diagnosed for it."""
    from llmtrace.diagnosis import diagnose, wrap_errors

    if len(trace) <= LONGEST_DIAGNOSED:
        with contextlib.suppress(DiagnosisFailed), wrap_errors(trace.trace_id):
            return diagnose(trace).health
    return run_health(trace.health, is_marked=False, has_failed=trace.is_refused)


def verdicts(store: Store, traces: Sequence[TraceSummary]) -> Iterator[Verdict]:
    """The verdict of each trace, computed when it is asked for."""
    verdict_store = KeptVerdicts(store, code_version()) if isinstance(store, LocalStore) else None
    stored = verdict_store.get([trace.trace_id for trace in traces]) if verdict_store is not None else {}
    judged: dict[Unjudged, Verdict] = {}
    try:
        for number, trace in enumerate(traces):
            if trace.trace_id in stored:
                yield Verdict(**json_text.read(stored[trace.trace_id]))
            elif (reason := _not_diagnosed(store, trace, number)) is not None:
                yield reason
            else:
                unjudged = [] if verdict_store is None or trace.end is None else verdict_store.newest([trace.trace_id])
                verdict = _diagnose(store, trace.trace_id)
                judged.update(dict.fromkeys(unjudged, verdict))
                yield verdict
    finally:
        if verdict_store is not None:
            _keep(verdict_store, judged)


def _not_diagnosed(store: Store, trace: TraceSummary, number: int) -> Verdict | None:
    """Why a trace is not diagnosed for a list; None if it is."""
    if trace.health == "running":
        return NOTHING
    if store.is_remote:
        return _REMOTE
    if trace.spans > LONGEST_DIAGNOSED:
        reason = f"traces of more than {LONGEST_DIAGNOSED} spans are not diagnosed in a list"
        return Verdict(undiagnosed=reason, hint="too long to diagnose here")
    if number >= MOST_DIAGNOSED:
        return Verdict(undiagnosed=f"only the first {MOST_DIAGNOSED} traces of a list are diagnosed")
    return None


def _diagnose(store: Store, trace_id: str) -> Verdict:
    from llmtrace.diagnosis import diagnose, wrap_errors  # takes a third of a second; kept verdicts need none of it

    try:
        with wrap_errors(trace_id):
            diagnosis = diagnose(store.trace(trace_id))
    except TraceNotFound:  # it was removed meanwhile
        return NOTHING
    except DiagnosisFailed as failed:
        return Verdict(fault=failed.fault)
    prime, health = diagnosis.prime, diagnosis.health
    if prime is not None:
        return Verdict(prime.title, prime.confidence, prime.check, prime.span_id, prime.probability, prime.count, health)
    if not diagnosis.is_judged and not diagnosis.is_wrong:
        reason = "nothing could be judged"
        return Verdict(health=health, undiagnosed=reason, hint=reason)
    return Verdict(health=health, report=next(iter(diagnosis.reports), "") if diagnosis.failed else "")


def _keep(verdict_store: KeptVerdicts, judged: dict[Unjudged, Verdict]) -> None:
    names = Verdict.__slots__  # type: ignore[attr-defined]
    rows = {
        trace: (verdict.confidence, verdict.health, json_text.write({name: getattr(verdict, name) for name in names}))
        for trace, verdict in judged.items()
    }
    verdict_store.keep(rows)


@functools.cache
def code_version() -> str:
    """A text that changes with the code that diagnoses: the version, and when its newest file was written."""
    package = Path(__file__).parent
    times = [file.stat().st_mtime_ns for room in _ROOMS for file in (package / room).rglob("*.py")]
    return f"{__version__} {max(times, default=0)}"


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


def sessions(store: Store, query: Query) -> list[Session]:
    """The conversations that have a trace which matches ``query``, with all their traces: the last one to go on comes first.

    ``query.limit`` counts conversations. Raises UnreadableStore.
    """
    most = MOST_REMOTE_TURNS if store.is_remote else MOST_TURNS
    matching, _ = find(store, replace(query, limit=most, sort="age", reverse=False))
    by_conversation = _by_conversation(matching)
    chosen = list(by_conversation)[: query.limit]
    if query.text or len(matching) >= most or any(filter_.name != "conversation" for filter_, _ in filters.active(query)):
        whole = {name: store.traces(Query(limit=most, conversation=name)) for name in chosen}
        by_conversation = {name: turns or by_conversation[name] for name, turns in whole.items()}
    turns = {name: sorted(by_conversation[name], key=lambda turn: turn.start) for name in chosen}
    diagnosed = iter(with_health(store, [turn for name in chosen for turn in turns[name]]))
    return [Session(name, tuple(islice(diagnosed, len(turns[name])))) for name in chosen]


def _by_conversation(traces: Iterable[TraceSummary]) -> dict[str, list[TraceSummary]]:
    by_conversation: dict[str, list[TraceSummary]] = {}
    for trace in traces:
        for name in trace.conversations:
            by_conversation.setdefault(name, []).append(trace)
    return by_conversation
