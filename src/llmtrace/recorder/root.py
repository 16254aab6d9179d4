"""The span that stands for a whole program under ``llmtrace run``: what is in no run yet is below it, in any thread.

It is opened by the first span that needs it, so that a child process that calls no model leaves nothing behind. A program may
have its agents work on many tasks, one after the other or side by side: so each agent, workflow or plain span right below it is
a run of its own, as it is without ``llmtrace run``. What else the program does is the program's run.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context

from llmtrace.locks import fork_safe_lock
from llmtrace.recorder import keys
from llmtrace.recorder.recording import Recording

_KEPT = (keys.ATTRIBUTES, keys.WATCHERS)


class Root:
    """``opened()`` makes the recording, or gives None; it is asked once. ``recording``: it, where it is open already."""

    def __init__(self, opened: Callable[[], Recording | None] | None = None, *, recording: Recording | None = None) -> None:
        self.recording = recording
        self._opened = opened
        self._lock = fork_safe_lock()

    def around(self, context: Context) -> Context:
        """``context`` below the program's span, or as it is where it is in a run or below somebody's span already."""
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


def is_program(recording: Recording) -> bool:
    return program is not None and recording is program.recording


def set_root(root: Root | None) -> None:
    global program
    program = root
