"""What need not be done on the calling thread: one thread of our own does it, some milliseconds later.

Two things may wait. The start and the end of a span that is one of many (`defer`): where the prompts of a batch all end in one
step of an engine, judging, encoding and journaling them there would hold the program up. Whoever needs the run's state first
does it (`Run.catch_up`), so nothing in the run overtakes it. And what nobody needs at once of a span that has ended
(`do_later`): what quality signals find in it, where no store has to hold it at its end. Whoever reads the span has it done.

Laws: when a span ended, and with what, is taken when it ends; flushing, shutting down and another ``configure()`` wait for what
is deferred, and a fork while something is being done; no more than `MOST_WAITING` ended spans wait. What a program that is
killed had not done yet is lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.run import Ended, Run

PAUSE_SECONDS = 0.02
"""How long our thread leaves the interpreter to the program, which is about to end, or to be given, more of the same."""
SOON_SECONDS = 0.005
"""The same of what is done later. The longer, the more objects wait, and the more often Python collects garbage."""
MOST_WAITING = 64
"""Ended spans of all runs; for each one more, whoever ended it does the oldest of its run itself."""
SETTLE_SECONDS = 5.0
"""How long flushing, and the program's exit, waits for what is deferred."""
FORK_SECONDS = 1.0


class _Worker:
    """One daemon thread, started when first needed, and again after a fork."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[Any] = SimpleQueue()
        """Runs in which something waits; None for `_later`; and events, to be set when all before them is done."""
        self._later: deque[Run] = deque()
        """A run for each of what is to be done later, in their order."""
        self._is_told = False
        """The thread will look at `_later`."""
        self._busy = threading.RLock()

    def take(self, run: Run) -> None:
        self._queue.put(run)
        if self._thread is None and not self._start():
            guard(run.catch_up)

    def take_later(self, run: Run, act: Callable[[Ended], object], ended: Ended) -> None:
        """Have ``act(ended)`` done after what was to be done later in the run before."""
        run.later.append((act, ended))
        if len(self._later) >= MOST_WAITING and run.do_next():
            return
        self._later.append(run)
        if not self._is_told:
            self._is_told = True
            self._queue.put(None)
            if self._thread is None and not self._start():
                self._is_told = False
                self._do_all()

    def _start(self) -> bool:
        """False: no thread can be started any more, since the interpreter goes down."""
        if not self._lock.acquire(blocking=False):
            return True  # it is being started, perhaps by this very thread: the collector may end a span in here
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="llmtrace-ends", daemon=True)
                outside = otel_context.attach(Context())  # the thread is below no span of the program's
                try:
                    thread.start()
                except RuntimeError:
                    return False
                finally:
                    otel_context.detach(outside)
                self._thread = thread
        finally:
            self._lock.release()
        return True

    def _work(self) -> None:
        while True:
            one = self._queue.get()
            try:
                self._do(one)
            except BaseException as error:  # of a signal of the program's own
                report(self._do, error)
                self._queue.put(None)  # the thread goes on with what is left
            del one

    def _do(self, one: Run | threading.Event | None) -> None:
        if isinstance(one, threading.Event):
            try:
                self._do_all()  # also what ended in a run that was caught up with just now
            finally:
                one.set()
        elif one is None:
            # to wait for an event costs the program more: that takes the interpreter's lock several times
            time.sleep(SOON_SECONDS)
            self._is_told = False
            self._do_all()
        elif one.waiting:
            time.sleep(PAUSE_SECONDS)
            with self._busy:
                guard(one.catch_up)

    def _do_all(self) -> None:
        while self._later:
            with self._busy:
                try:
                    run = self._later.popleft()
                except IndexError:
                    return
                run.do_next()

    def settle(self, seconds: float) -> None:
        if self._thread is None or self._thread is threading.current_thread():
            return
        done = threading.Event()
        self._queue.put(done)
        done.wait(seconds)

    def hold(self) -> None:
        """Let the thread finish what it is doing: a child would inherit the locks that it holds, and never get them."""
        self._busy.acquire(timeout=FORK_SECONDS)

    def release(self) -> None:
        if self._busy._is_owned():  # type: ignore[attr-defined]
            self._busy.release()


_worker = _Worker()
do_later = _worker.take_later
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_worker.hold, after_in_parent=_worker.release, after_in_child=_worker.begin)


def defer(run: Run, act: Callable[[], object]) -> None:
    """Have ``act`` done after what is deferred in ``run`` already, and before whatever ends in it from now on."""
    run.waiting.append(act)
    _worker.take(run)


def settle(seconds: float = SETTLE_SECONDS) -> None:
    """Wait until all that is deferred by now is done, so long at most."""
    _worker.settle(seconds)
