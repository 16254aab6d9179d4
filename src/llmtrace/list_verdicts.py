"""The verdicts that lists show: health and first suspect of each trace, diagnosed in a background thread.

Laws: health and suspect of a trace are those that `llmtrace why` names first. A trace of any length is diagnosed, and only
once: the index of a local store caches its verdict until one of its spans or this code changes (see `store.kept_verdicts`).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmtrace.codec import json_text
from llmtrace.errors import DiagnosisFailed, TraceNotFound
from llmtrace.model import Health, Trace
from llmtrace.model.issues import Occurrence, Version
from llmtrace.model.value import value
from llmtrace.store import Query, Store, TraceSummary
from llmtrace.store.kept_verdicts import KeptVerdicts, Unjudged
from llmtrace.store.local import LocalStore
from llmtrace.version import __version__

if TYPE_CHECKING:
    from llmtrace.diagnosis import Diagnosis

_SHORT = 300
"""Spans up to which traces are diagnosed in the order of the list. Longer ones come last, the shortest of them first."""
_AT_ONCE, _SECONDS = 50, 0.25
"""Traces and seconds after which new verdicts are cached, at most."""
_FOLDERS = ("codec", "diagnosis", "laws", "model", "reading", "text", "validation")
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
    issues: tuple[Occurrence, ...] = ()
    """The issues that the run shows."""
    version: Version = field(default_factory=dict[str, tuple[str, ...]])
    """The versions of the program, its prompts and models that the run was made with."""


class JudgedRun(NamedTuple):
    """An ended run with its verdict."""

    trace_id: str
    start: int
    """Nanoseconds since the Unix epoch."""
    verdict: Verdict


NOTHING = Verdict()
"""The verdict of a trace that was not diagnosed because it is not complete, or no longer stored."""
PENDING = Verdict(undiagnosed="still being judged", hint="still being judged")
"""The verdict of a trace that the background thread has not diagnosed yet."""
_REMOTE = Verdict(undiagnosed="traces of a remote store are not diagnosed in a list")
_NOT_JUDGED = "nothing could be judged"


class Verdicts:
    """The verdicts of a store's traces. Its methods may be called from several threads, and raise StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache = KeptVerdicts(store, code_version()) if isinstance(store, LocalStore) else None
        self._changed = threading.Condition()
        self._queue: dict[str, TraceSummary | Unjudged] = {}
        """The traces that the thread has yet to diagnose, by id."""
        self._uncached: dict[str, tuple[TraceSummary, Verdict]] = {}
        """Verdicts that no index caches, with the summary that the trace had."""
        self._tried: set[tuple[str, int]] = set()
        """The states of traces, as `Unjudged` has them, that were diagnosed."""
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def get(self, traces: Sequence[TraceSummary], *, seconds: float = float("inf")) -> list[Verdict]:
        """Return the verdict of each trace; `PENDING` for one that is not diagnosed within ``seconds``, but will be."""
        verdicts = self._present(traces)
        missing = {trace.trace_id: trace for trace in traces if trace.trace_id not in verdicts}
        if missing:
            self._diagnose(missing, seconds)
            verdicts |= self._present(list(missing.values()))
        return [verdicts.get(trace.trace_id, PENDING) for trace in traces]

    def complete(self, query: Query, *, seconds: float = float("inf")) -> int | None:
        """Have the index cache the verdicts of all traces that match ``query``, which takes at most ``seconds``.

        Returns the number of traces that are still being diagnosed then; None without an index.
        """
        missing = None if self._cache is None else self._cache.missing(query)
        if missing is None:
            return None
        return self._diagnose({trace.trace_id: trace for trace in missing if trace[:2] not in self._tried}, seconds)

    def judged(self, query: Query) -> list[JudgedRun] | None:
        """Return the runs that match ``query`` and have a cached verdict, newest first; see `complete`. None without an
        index."""
        rows = None if self._cache is None else self._cache.matching(query)
        return None if rows is None else [JudgedRun(trace_id, start, _read(text)) for trace_id, start, text in rows]

    def _present(self, traces: Sequence[TraceSummary]) -> dict[str, Verdict]:
        """Return the verdicts that need no diagnosis, by trace id."""
        if self._store.is_remote:
            return dict.fromkeys([trace.trace_id for trace in traces], _REMOTE)
        verdicts = {trace.trace_id: NOTHING for trace in traces if trace.health == "running"}
        if self._cache is not None:
            cached = self._cache.get([trace.trace_id for trace in traces if trace.trace_id not in verdicts])
            verdicts |= {trace_id: _read(text) for trace_id, text in cached.items()}
        for trace in traces:
            summary, verdict = self._uncached.get(trace.trace_id, (None, NOTHING))
            if summary == trace:
                verdicts.setdefault(trace.trace_id, verdict)
        return verdicts

    # -- the thread

    def _diagnose(self, traces: Mapping[str, TraceSummary | Unjudged], seconds: float) -> int:
        """Have these traces diagnosed. Returns the number of those that are not after ``seconds``."""
        with self._changed:
            for trace_id, trace in traces.items():
                if isinstance(trace, TraceSummary) or trace_id not in self._queue:
                    self._queue[trace_id] = trace
            if self._queue and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="llmtrace verdicts", daemon=True)
                self._thread.start()
            is_over = lambda: self._error is not None or not traces.keys() & self._queue.keys()  # noqa: E731
            self._changed.wait_for(is_over, None if seconds == float("inf") else seconds)
            error, self._error = self._error, None
            if error is not None:
                raise error
            return len(traces.keys() & self._queue.keys())

    def _work(self) -> None:
        """Diagnose the traces of the queue until it is empty."""
        try:
            while batch := self._next():
                self._diagnose_some(batch)
        except Exception as error:  # a waiting thread raises it
            with self._changed:
                self._error, self._thread = error, None
                self._queue.clear()
                self._changed.notify_all()

    def _next(self) -> list[str]:
        """Return some short traces or one long trace: others do not wait for a long one."""
        with self._changed:
            if not self._queue:
                self._thread = None
            sizes = {trace_id: trace.spans for trace_id, trace in self._queue.items()}
        short = [trace_id for trace_id, size in sizes.items() if size <= _SHORT]
        return short[:_AT_ONCE] or sorted(sizes, key=lambda trace_id: sizes[trace_id])[:1]

    def _diagnose_some(self, trace_ids: Sequence[str]) -> None:
        """Diagnose these traces, for about `_SECONDS`, and cache the verdicts."""
        until = time.monotonic() + _SECONDS
        states = {} if self._cache is None else {state.trace_id: state for state in self._cache.newest(trace_ids)}
        verdicts: dict[str, Verdict] = {}
        for trace_id in trace_ids:
            verdicts[trace_id], has_ended = _diagnose(self._store, trace_id)
            if not has_ended:  # its programs may write more, so no index caches this verdict
                states.pop(trace_id, None)
            if time.monotonic() > until:
                break
        cached: Collection[str] = ()
        if self._cache is not None:
            new = {states[trace_id]: verdict for trace_id, verdict in verdicts.items() if trace_id in states}
            self._cache.keep({state: (verdict.confidence, verdict.health, _text(verdict)) for state, verdict in new.items()})
            self._tried.update(state[:2] for state in new)
            cached = self._cache.get(list(verdicts))
        with self._changed:
            for trace_id, verdict in verdicts.items():
                summary = self._queue.pop(trace_id, None)
                self._uncached.pop(trace_id, None)
                if isinstance(summary, TraceSummary) and trace_id not in cached:
                    self._uncached[trace_id] = summary, verdict
            self._changed.notify_all()


def _diagnose(store: Store, trace_id: str) -> tuple[Verdict, bool]:
    """Return the verdict of a trace, and True if all its programs have ended."""
    try:
        trace = store.trace(trace_id)
    except TraceNotFound:  # it was removed meanwhile
        return NOTHING, False
    return verdict_of(trace), not trace.alive


def cached_verdict(store: Store, trace_id: str) -> Verdict | None:
    """Return the verdict that the index of a local store caches; None if it has none. Raises UnreadableStore."""
    if not isinstance(store, LocalStore):
        return None
    text = KeptVerdicts(store, code_version()).get([trace_id]).get(trace_id)
    return None if text is None else _read(text)


def verdict_of(trace: Trace) -> Verdict:
    """Diagnose a trace, and return the verdict."""
    from llmtrace.diagnosis import diagnose, wrap_errors  # takes a third of a second; cached verdicts do not need it

    try:
        with wrap_errors(trace.trace_id):
            return verdict_from(trace, diagnose(trace))
    except DiagnosisFailed as failed:
        return Verdict(fault=failed.fault)


def verdict_from(trace: Trace, diagnosis: Diagnosis) -> Verdict:
    """Return the verdict of a trace that was diagnosed."""
    from llmtrace.diagnosis.occurrences import occurrences_of, version_of  # see `verdict_of`

    prime, health = diagnosis.prime, diagnosis.health
    issues, version = occurrences_of(trace, diagnosis), version_of(trace)
    if prime is not None:
        found = (prime.title, prime.confidence, prime.check, prime.span_id, prime.probability, prime.count)
        return Verdict(*found, health, issues=issues, version=version)
    if not diagnosis.is_judged and not diagnosis.is_wrong:
        return Verdict(health=health, undiagnosed=_NOT_JUDGED, hint=_NOT_JUDGED, version=version)
    report = next(iter(diagnosis.reports), "") if diagnosis.failed else ""
    return Verdict(health=health, report=report, issues=issues, version=version)


def _text(verdict: Verdict) -> str:
    content = {name: getattr(verdict, name) for name in Verdict.__slots__}  # type: ignore[attr-defined]
    issues = [{name: getattr(issue, name) for name in type(issue).__slots__} for issue in verdict.issues]  # type: ignore[attr-defined]
    return json_text.write({**content, "issues": issues})


def _read(text: str) -> Verdict:
    """Return the verdict that `_text` wrote."""
    content = json_text.read(text)
    content["issues"] = tuple([Occurrence(**issue) for issue in content["issues"]])
    content["version"] = {kind: tuple(values) for kind, values in content["version"].items()}
    return Verdict(**content)


@functools.cache
def code_version() -> str:
    """Return a text that changes with the code that diagnoses: the version, and the time when its newest file was written."""
    package = Path(__file__).parent
    files = [Path(__file__), *(file for folder in _FOLDERS for file in (package / folder).rglob("*.py"))]
    times = [file.stat().st_mtime_ns for file in files]
    return f"{__version__} {max(times, default=0)}"
