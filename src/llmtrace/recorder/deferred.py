"""What may wait when a span starts or ends: where many end at once, as the prompts of a batch do in one step of an engine, then
judging, encoding and journaling them there would hold the program up.

It is done in its order by one thread of our own, `PAUSE_SECONDS` later, or by whoever needs the run's state first
(`Run.catch_up`), so that nothing in the run overtakes it. Laws: when a span ended, and with what, is taken when it ends;
flushing, shutting down and another ``configure()`` wait for what is deferred, and a fork while something is being done. What a
program that is killed had not done yet is lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.run import Run

PAUSE_SECONDS = 0.02
"""How long our thread leaves the interpreter to the program, which is about to add or to be given more of the same."""
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
        """Runs in which something waits; and events, to be set when all before them is done."""
        self._busy = threading.RLock()

    def take(self, run: Run) -> None:
        self._queue.put(run)
        if self._thread is None and not self._start():
            guard(run.catch_up)

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
            except BaseException as error:  # of a quality signal of the program's own
                report(self._do, error)
            del one

    def _do(self, one: Run | threading.Event) -> None:
        if isinstance(one, threading.Event):
            one.set()
        elif one.waiting:
            time.sleep(PAUSE_SECONDS)
            with self._busy:
                guard(one.catch_up)

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
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_worker.hold, after_in_parent=_worker.release, after_in_child=_worker.begin)


def defer(run: Run, act: Callable[[], object]) -> None:
    """Have ``act`` done after what is deferred in ``run`` already, and before whatever ends in it from now on."""
    run.waiting.append(act)
    _worker.take(run)


def settle(seconds: float = SETTLE_SECONDS) -> None:
    """Wait until all that is deferred by now is done, so long at most."""
    _worker.settle(seconds)
