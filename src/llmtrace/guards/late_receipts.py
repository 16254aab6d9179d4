"""Looks again at changes that may take effect later, and completes the verdict on their run.

A change that is not there yet is looked at again in growing pauses, until it is confirmed or its time is up. The last receipt
then replaces the pending one: in the run while that goes on, else in its stored spans, with the marks that it deserves. When
the program ends first, the receipt is *unknown*, with the status of the last look.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import threading
import time
from typing import NamedTuple

from llmtrace import semconv
from llmtrace.errors import LlmtraceError
from llmtrace.guards.reader_threads import Busy, Read, reader_threads
from llmtrace.guards.receipt_reader import Change
from llmtrace.laws.base import AnyLaw
from llmtrace.laws.judging import judge
from llmtrace.laws.unconfirmed_change import SIGNAL, facts_of
from llmtrace.locks import importing
from llmtrace.model import Receipt, Span, ToolExecution, Trace, outermost_of, replace
from llmtrace.recorder.guard import guard
from llmtrace.recorder.own_thread import start_thread
from llmtrace.recorder.recorder import Recorder
from llmtrace.recorder.recording import Recording
from llmtrace.recorder.run import Run
from llmtrace.store import Store, locks

logger = logging.getLogger("llmtrace")

MOST_PENDING = 1000
"""Changes that are looked at again, at most. A further one is *unknown* at once."""
PATIENCE = 2.0
"""Seconds to wait for another process that changes the store, and for a span that is being written."""
_SHORTEST_PAUSE, _FIRST_SHARE, _GROWTH = 0.05, 0.01, 1.5


class _Pending:
    """A change whose receipt is pending."""

    def __init__(self, change: Change, recording: Recording) -> None:
        within = change.reader.within or 0.0
        self.change = change
        self.recorder: Recorder = recording.recorder
        self.run: Run = recording.run
        self.trace_id, self.span_id = recording.trace_id, recording.span_id
        self.pause = max(_SHORTEST_PAUSE, within * _FIRST_SHARE)
        self.deadline = time.monotonic() + within
        self.last = Receipt("unknown")
        """What the last look saw."""
        self.read: Read | None = None
        """The look that is under way."""
        self.began = 0.0


class _Due(NamedTuple):
    at: float
    number: int
    pending: _Pending


class LateReceipts:
    """All pending changes of this process, and the thread that looks after them."""

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._due: list[_Due] = []
        self._all: set[_Pending] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, change: Change, recording: Recording, receipt: Receipt) -> None:
        """Look at a change again, from now on. ``recording``: of its execution, which has ended. ``receipt``: the pending
        one."""
        pending = _Pending(change, recording)
        pending.last = receipt
        with self._changed:
            if len(self._all) < MOST_PENDING:
                self._all.add(pending)
                self._plan(pending, time.monotonic() + pending.pause)
                return
        _settle(pending, Receipt("unknown", error="busy"))

    def settle_all(self, recorder: Recorder | None = None) -> None:
        """Give every pending change the receipt *unknown*, with what the last look saw. Call it when recording ends.

        ``recorder``: only the changes that it recorded.
        """
        with self._changed:
            waiting = [pending for pending in self._all if recorder is None or pending.recorder is recorder]
            self._all.difference_update(waiting)
            self._due = [due for due in self._due if due.pending in self._all]
            heapq.heapify(self._due)
        for pending in waiting:
            last = pending.last
            guard(_settle, pending, Receipt("unknown", error="ended", seen=last.seen, record=last.record))

    @property
    def count(self) -> int:
        """Number of pending changes."""
        return len(self._all)

    def _plan(self, pending: _Pending, at: float) -> None:
        heapq.heappush(self._due, _Due(at, next(self._numbers), pending))
        if self._thread is None:
            self._thread = start_thread("llmtrace-late-receipts", self._work)
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._due or (wait := self._due[0].at - time.monotonic()) > 0:
                    self._changed.wait(wait if self._due else None)
                pending = heapq.heappop(self._due).pending
                if pending not in self._all:
                    continue
            receipt = guard(self._step, pending)
            if receipt is not None:
                with self._changed:
                    is_ours = pending in self._all
                    self._all.discard(pending)
                if is_ours:
                    guard(_settle, pending, receipt)

    def _step(self, pending: _Pending) -> Receipt | None:
        """Begin a look, or take what it found. Returns the final receipt once it is known."""
        now, read = time.monotonic(), pending.read
        if read is None:
            if not pending.run.may_read(pending.recorder.config.receipt_reads):
                return Receipt("unknown", error="not_allowed", seen=pending.last.seen)
            pending.began = now
            try:
                pending.read = read = reader_threads.submit(pending.change.reader.key(pending.change), pending.change.read)
            except Busy:
                return self._took(pending, Receipt("unknown", error="busy"))
            read.add_done_callback(lambda _: self._wake(pending))
            self._later(pending, now + pending.change.reader.timeout)
            return None
        if read.done():
            found: Receipt = read.result()
        elif now - pending.began < pending.change.reader.timeout:
            return None
        else:
            read.cancel()
            found = Receipt("unknown", error="timeout")
        return self._took(pending, found)

    def _took(self, pending: _Pending, found: Receipt) -> Receipt | None:
        """Note what a look found, and plan the next one. Returns the final receipt, if this is it."""
        now = time.monotonic()
        found = pending.change.receipt(found, pending.began)
        pending.read = None
        seen = pending.last.seen if found.status == "unknown" else found.status
        pending.last = replace(found, seen=seen)
        if found.status == "confirmed":
            return found
        if now >= pending.deadline:
            return replace(found, status="unknown", seen="pending") if found.status == "pending" else found
        pending.pause *= _GROWTH
        self._later(pending, min(now + pending.pause, max(pending.deadline, now + _SHORTEST_PAUSE)))
        return None

    def _later(self, pending: _Pending, at: float) -> None:
        with self._changed:
            self._plan(pending, at)

    def _wake(self, pending: _Pending) -> None:
        """Take the result of a look now."""
        with self._changed:
            if pending in self._all:
                self._plan(pending, time.monotonic())


late_receipts = LateReceipts()


def _settle(pending: _Pending, receipt: Receipt) -> None:
    """Give a change its final receipt: in its run, and in the store."""
    change = pending.change
    receipt = replace(receipt, looks=max(1, change.looks), seconds=round(change.seconds, 6))
    cleaned = pending.recorder.clean(ToolExecution("", receipt=receipt))
    is_over = pending.run.settle_receipt(pending.span_id, receipt)
    store = pending.recorder.store
    if store is None or not isinstance(cleaned, ToolExecution) or cleaned.receipt is None:
        logger.debug("llmtrace: there is no store to keep a late receipt")
        return
    evaluator = pending.run.evaluator
    law = None if evaluator is None else next((law for law in evaluator.laws if law.name == SIGNAL.name), None)
    try:
        complete(store, pending.trace_id, pending.span_id, cleaned.receipt, law, is_over=is_over)
    except (LlmtraceError, KeyError) as error:  # removed from the store meanwhile
        logger.debug("llmtrace: the receipt of span %s could not be kept: %s", pending.span_id, error)


_lock = threading.Lock()


def complete(store: Store, trace_id: str, span_id: str, receipt: Receipt, law: AnyLaw | None, *, is_over: bool) -> None:
    """Give a stored execution its final receipt, and its run the marks that follow.

    ``law``: the one that judges receipts; None if it is switched off. ``is_over``: the verdict on the run was made before.
    Raises TraceNotFound, UnreadableStore, KeyError (the trace has no such span).
    """
    with _lock, contextlib.ExitStack() as stack:
        if store.folder is not None:
            with contextlib.suppress(OSError):  # in use for too long; or a read-only store, which reading reports
                stack.enter_context(locks.locked(store.folder / "attach.lock", exclusive=True, seconds=PATIENCE))
        trace, span, outermost = _ended(store, trace_id, span_id, with_outermost=is_over)
        operation = span.operation
        if not isinstance(operation, ToolExecution):
            raise KeyError(span_id)
        facts = () if law is None else facts_of(operation, receipt)
        evaluations = (*(fact for fact in span.evaluations if fact.name != SIGNAL.name), *facts)
        span = _next_round(replace(span, operation=replace(operation, receipt=receipt), evaluations=evaluations))
        store.append(span)
        if is_over and law is not None and outermost is not None:
            spans = [span if one.span_id == span_id else one for one in trace.spans if one.run_id == span.run_id]
            marked = _with_marks(spans, outermost, law)
            if marked is not None:
                store.append(_next_round(marked))


def _ended(store: Store, trace_id: str, span_id: str, *, with_outermost: bool) -> tuple[Trace, Span, Span | None]:
    """Return a stored trace, one of its spans, and the outermost span of that one's run, as soon as both have ended."""
    until = time.monotonic() + PATIENCE
    while True:
        trace = store.trace(trace_id)
        span = trace.span(span_id)
        outermost = outermost_of(one for one in trace.spans if one.run_id == span.run_id)
        has_ended = span.end is not None and (not with_outermost or (outermost is not None and outermost.end is not None))
        if has_ended or time.monotonic() > until:
            return trace, span, outermost
        time.sleep(0.02)  # its thread is about to write it


def _with_marks(spans: list[Span], outermost: Span, law: AnyLaw) -> Span | None:
    """Return the outermost span of a run with the marks of its receipts; None if it has them already."""
    with importing:
        from llmtrace.reading.read import read_run
        from llmtrace.run_verdict import with_late_findings

    found = judge(read_run(spans, Trace(spans)), (law,)).findings
    known = {(mark.name, mark.label, mark.sources) for mark in outermost.evaluations}
    new = [finding for finding in found if finding.is_marked and finding.law == law.name]
    marks = [finding.as_evaluation() for finding in new]
    new = [finding for finding, mark in zip(new, marks, strict=True) if (mark.name, mark.label, mark.sources) not in known]
    return with_late_findings(outermost, new) if new else None


def _next_round(span: Span) -> Span:
    """Number a new version of a stored span, so that the store keeps it even if it is shorter."""
    before = span.attributes.get(semconv.EVALUATION_ROUND)
    number = before + 1 if isinstance(before, int) else 2
    return replace(span, attributes={**span.attributes, semconv.EVALUATION_ROUND: number})
