"""Slow quality signals, such as an LLM judge, run on a few threads of our own.

An ended span waits in a bounded queue until a thread judges it; the result is attached to it in the store (see
`store.late_evaluations`). Laws: the calling thread only puts the span into the queue. What a judge calls is a trace of its own,
marked with the signal's name, and is not judged in the background. The program's exit waits `EXIT_SECONDS` at most.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace import semconv
from llmtrace.errors import LlmtraceError
from llmtrace.laws import load_background
from llmtrace.laws.user_signals import UserSignal
from llmtrace.locks import background_importing
from llmtrace.model import Evaluation, Sink, Span
from llmtrace.recorder import keys
from llmtrace.recorder.guard import report
from llmtrace.recorder.own_thread import start_thread
from llmtrace.recorder.recorder import Recorder
from llmtrace.recorder.recording import Recording
from llmtrace.store.late_evaluations import Unfinished, attach

logger = logging.getLogger("llmtrace")

THREADS = 2
MOST_WAITING = 256
"""Spans that wait to be judged, at most. When the queue is full, new spans are not judged, and one line says so."""
EXIT_SECONDS = 5.0
"""Seconds that flushing and the program's exit wait for spans that are still to be judged."""


class _Job(NamedTuple):
    signal: UserSignal
    span: Span
    done: Callable[[Span, tuple[Evaluation, ...]], None]


class Background(Sink):
    """A sink that queues spans for the slow signals. ``names``: of the enabled signals, see `llmtrace.laws.load`."""

    wants_start_marks = False

    def __init__(self, recorder: Recorder, names: tuple[str, ...] | None) -> None:
        self._recorder = recorder
        self._names = names

    def append(self, span: Span) -> None:
        if span.end is None or semconv.SIGNAL in span.attributes:
            return
        for signal in load_background(self._names):
            if not signal.looks_at or type(span.operation) in signal.looks_at:
                _pool.take(_Job(signal, span, self._attach))

    def _attach(self, span: Span, evaluations: tuple[Evaluation, ...]) -> None:
        store = self._recorder.store
        if store is None:
            logger.debug("llmtrace: there is no store to keep what was judged in the background")
            return
        try:
            attach(store, span.trace_id, evaluations, span_id=span.span_id, clean=self._recorder.content.clean)
        except (LlmtraceError, Unfinished, KeyError) as error:  # removed from the store meanwhile
            logger.debug("llmtrace: what was judged of span %s could not be kept: %s", span.span_id, error)


def join(recorder: Recorder) -> None:
    """Let the background signals, if there are any, judge the spans of ``recorder``."""
    if load_background(recorder.config.signals) and not any(isinstance(sink, Background) for sink in recorder.sinks):
        recorder.add_sink(Background(recorder, recorder.config.signals))


class _Pool:
    """A few daemon threads, started when first needed, and again after a fork."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        self._jobs: deque[_Job] = deque()
        self._busy = 0
        self._threads = 0
        self._lost = False

    def take(self, job: _Job) -> None:
        if self._process != os.getpid():
            self._begin()
        with self._changed:
            if len(self._jobs) >= MOST_WAITING:
                if not self._lost:
                    self._lost = True
                    logger.warning(
                        "llmtrace: quality signal %s cannot keep up: %d spans wait, and what comes now is not judged",
                        job.signal.name,
                        MOST_WAITING,
                    )
                return
            self._jobs.append(job)
            if self._threads < THREADS and self._busy + len(self._jobs) > self._threads:
                start_thread("llmtrace-signals", self._work)
                self._threads += 1
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                job = self._jobs.popleft()
                self._busy += 1
            try:
                _judge(job)
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Wait until nothing is left to judge. Returns False if ``seconds`` was not enough."""
        deadline = time.monotonic() + seconds
        if self._process != os.getpid():
            return True
        with self._changed:
            while self._jobs or self._busy:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._changed.wait(remaining):
                    return not (self._jobs or self._busy)
        return True


_pool = _Pool()


def drain(seconds: float = EXIT_SECONDS) -> bool:
    """Wait until all signals in the background are done, ``seconds`` at most. Returns True if they are."""
    return _pool.drain(seconds)


def drain_at_exit(seconds: float = EXIT_SECONDS) -> None:
    """Wait for the signals in the background when the program ends; logs one line if some are not done."""
    if not _pool.drain(seconds):
        logger.warning("llmtrace: quality signals in the background were not done after %g seconds; the rest is lost", seconds)


def _judge(job: _Job) -> None:
    """Run one signal outside any run: its own calls do not belong to the program's run, and carry the signal's name."""
    token = otel_context.attach(Context({keys.OUTSIDE: True, keys.ATTRIBUTES: {semconv.SIGNAL: job.signal.name}}))
    try:
        evaluations = tuple(job.signal.evaluations(_verdict_of(job.signal.code(job.span))))
        if evaluations:
            job.done(job.span, evaluations)
    except BaseException as error:
        report(job.signal.code, error)
    finally:
        Recording.detach(token)


def _verdict_of(verdict: Any) -> Any:
    if not inspect.isawaitable(verdict):
        return verdict
    with background_importing:
        import asyncio

    return asyncio.run(_awaited(verdict))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
