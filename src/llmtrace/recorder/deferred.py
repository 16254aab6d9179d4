"""What may wait when a span starts or ends: where many end at once, as the prompts of a batch do in one step of an engine, then
judging, encoding and journaling them there would hold the program up.

It is done in its order by one thread of our own, `PAUSE_SECONDS` later, or by whoever needs the run's state first
(`Run.catch_up`), so that nothing in the run overtakes it. Laws: when a span ended, and with what, is taken when it ends;
flushing, shutting down and another ``configure()`` wait for what is deferred. What a program that is killed had not done yet
is lost.
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

from llmtrace.recorder.guard import guard
from llmtrace.recorder.run import Run

PAUSE_SECONDS = 0.02
"""How long our thread leaves the interpreter to the program, which is about to add or to be given more of the same."""
SETTLE_SECONDS = 5.0
"""How long flushing, and the program's exit, waits for what is deferred."""


class _Worker:
    """One daemon thread, started when first needed, and again after a fork."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[Any] = SimpleQueue()
        """Runs in which something waits; and events, to be set when all before them is done."""

    def take(self, run: Run) -> None:
        if self._process != os.getpid():
            self._begin()
        self._queue.put(run)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=(self._queue,), name="llmtrace-ends", daemon=True)
                outside = otel_context.attach(Context())  # the thread is below no span of the program's
                self._thread.start()
                otel_context.detach(outside)

    @staticmethod
    def _work(queue: SimpleQueue[Any]) -> None:
        while True:
            one = queue.get()
            if isinstance(one, Run):
                if one.waiting:
                    time.sleep(PAUSE_SECONDS)
                    guard(one.catch_up)
            else:
                one.set()
            del one

    def settle(self, seconds: float) -> None:
        if self._thread is None or self._process != os.getpid() or self._thread is threading.current_thread():
            return
        done = threading.Event()
        self._queue.put(done)
        done.wait(seconds)


_worker = _Worker()


def defer(run: Run, act: Callable[[], object]) -> None:
    """Have ``act`` done after what is deferred in ``run`` already, and before whatever ends in it from now on."""
    run.waiting.append(act)
    _worker.take(run)


def settle(seconds: float = SETTLE_SECONDS) -> None:
    """Wait until all that is deferred by now is done, so long at most."""
    _worker.settle(seconds)
