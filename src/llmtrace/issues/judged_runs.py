"""Reads the ended runs of a store, each with its verdict: from the index of a local store, else by diagnosing each run."""

from __future__ import annotations

import sys
from collections.abc import Callable

from llmtrace.list_verdicts import JudgedRun, Verdicts, verdict_of
from llmtrace.model import replace
from llmtrace.model.traces import in_traces
from llmtrace.model.value import value
from llmtrace.store import Query, Store

MOST_RUNS = 1000
"""Newest runs that are read from a store without an index, unless the query has a limit."""
_STEP = 0.25
"""Seconds between two reports of progress."""


@value
class Runs:
    judged: tuple[JudgedRun, ...]
    """The runs that were diagnosed, newest first."""
    faults: tuple[JudgedRun, ...] = ()
    """The runs that could not be diagnosed because of a fault of llmtrace."""
    has_more: bool = False
    """True if older runs match the query and were not read."""
    pending: int = 0
    """Number of runs that are still being diagnosed, see `runs_judged_so_far`."""


def judged_runs(
    store: Store, query: Query, *, limit: int | None = None, on_progress: Callable[[str], None] = lambda _: None
) -> Runs:
    """Return the ended runs that match ``query``.

    ``limit``: read the newest runs only. Default: all runs of a local store, and the newest `MOST_RUNS` of any other.
    ``on_progress`` gets what is being done, as words. Raises UnreadableStore.
    """
    runs = _of_index(store, query, limit, on_progress) if store.has_index else None
    if runs is None:
        runs = _one_by_one(store, query, limit or MOST_RUNS, on_progress)
    wanted = runs[: limit or (sys.maxsize if store.has_index else MOST_RUNS)]
    return _sorted_out(wanted, has_more=len(wanted) < len(runs))


def runs_judged_so_far(verdicts: Verdicts, query: Query, *, seconds: float) -> Runs:
    """Return the runs of a local store that match ``query`` and are diagnosed within ``seconds``.

    The other runs are diagnosed in the background. ``verdicts``: of the store. Raises UnreadableStore.
    """
    everything = replace(query, limit=sys.maxsize)
    pending = verdicts.complete(everything, seconds=seconds) or 0
    return replace(_sorted_out(verdicts.judged(everything) or [], has_more=False), pending=pending)


def _sorted_out(runs: list[JudgedRun], *, has_more: bool) -> Runs:
    judged, faults = ([run for run in runs if bool(run.verdict.fault) is is_fault] for is_fault in (False, True))
    return Runs(tuple(judged), tuple(faults), has_more)


def _of_index(store: Store, query: Query, limit: int | None, on_progress: Callable[[str], None]) -> list[JudgedRun] | None:
    """Return one run more than ``limit``, if there is one; None if the store's index cannot be used."""
    verdicts, limited = Verdicts(store), replace(query, limit=sys.maxsize if limit is None else limit + 1)
    while pending := verdicts.complete(limited, seconds=_STEP):
        on_progress(f"judging {pending:,} runs")
    return None if pending is None else verdicts.judged(limited)


def _one_by_one(store: Store, query: Query, limit: int, on_progress: Callable[[str], None]) -> list[JudgedRun]:
    """Return one run more than ``limit``, if there is one. That run is not diagnosed."""
    runs: list[JudgedRun] = []
    for trace in in_traces(store.spans(replace(query, limit=limit + 1))):
        runs.append(JudgedRun(trace.trace_id, trace.spans[0].start, verdict_of(trace)))
        on_progress(f"judging run {len(runs):,}")
        if len(runs) > limit:
            break
    return runs
