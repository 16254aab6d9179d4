"""The span of a whole program under ``llmtrace run``: the parent of all spans, in any thread, that have no other.

The first span that needs it opens it, so that a child process that calls no model leaves nothing behind. A program's agents may
work on many tasks, one after the other or side by side. So each agent, workflow or plain span directly below it is a run of its
own, as it is without ``llmtrace run``. Everything else belongs to the program's run. The program's span, when it ends, carries
the worst verdict on the runs below it. SIGTERM, by which a supervisor stops a server, ends it as any other end; a task that is
open then was interrupted.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context

from llmtrace.locks import fork_safe_lock
from llmtrace.model import Span
from llmtrace.recorder import keys
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording

TERM_SECONDS = 1.0
"""Seconds, at most, by which the end of the program's span delays SIGTERM."""

_KEPT = (keys.ATTRIBUTES, keys.WATCHERS)


class Root:
    """The program's span. ``opened()`` is called once and returns its recording or None. ``recording``: if it is open
    already."""

    def __init__(self, opened: Callable[[], Recording | None] | None = None, *, recording: Recording | None = None) -> None:
        self.recording = recording
        self._opened = opened
        self._lock = fork_safe_lock()

    def around(self, context: Context) -> Context:
        """Put ``context`` below the program's span; unchanged if it is in a run, or below another span, already."""
        if keys.RECORDING in context or keys.OUTSIDE in context:
            return context
        if otel_trace.get_current_span(context).get_span_context().is_valid:
            return context
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None:
                self.recording = opened()
        if self.recording is None or not self.recording.run.is_here:
            return context
        inherited = {key: context[key] for key in _KEPT if key in context}
        return Context({**context, **self.recording.context, **inherited})


program: Root | None = None
"""The root of this process, if it has one."""


def end_at_sigterm() -> None:
    """End the program's span before SIGTERM ends the program. Nothing changes if the program handles the signal itself."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    process = os.getpid()

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        recording = None if program is None else program.recording
        if recording is not None and os.getpid() == process:
            # in a thread, because the signal may have come while the main thread holds a lock that is needed
            thread = threading.Thread(target=guard, args=(recording.end,), daemon=True)
            thread.start()
            thread.join(TERM_SECONDS)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    if hasattr(os, "register_at_fork"):
        _leave_to_parent(end)


def _leave_to_parent(end: Callable[[int, object], None]) -> None:
    """Let SIGTERM end a forked child by itself again, as without llmtrace: the span to end is the parent's. A handler in Python
    would also run too late for a signal that comes as the child begins to wait for a lock, as the workers of a pool do."""
    before = threading.local()

    def hold_back() -> None:
        before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def go_on() -> None:
        mask = vars(before).pop("mask", None)  # none if another thread was in a fork as the handler was put in
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def give_back() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        go_on()

    os.register_at_fork(before=hold_back, after_in_parent=go_on, after_in_child=give_back)


def is_program(recording: Recording) -> bool:
    return program is not None and recording is program.recording


def absorb(outermost: Span) -> None:
    """Add the verdict on a run that has ended to that of the program, if the run is directly below the program's span."""
    recording = None if program is None else program.recording
    if recording is not None and recording.span_id == outermost.parent_id and recording.run.is_here:
        recording.run.absorb(outermost)


def set_root(root: Root | None) -> None:
    global program
    program = root
