"""Which recorder is on, and which recording is the innermost. Never configured means: none, and nothing is recorded."""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.recorder import keys
from llmtrace.recorder.recorder import Recorder
from llmtrace.recorder.recording import Recording

_active: Recorder | None = None


def active() -> Recorder | None:
    """The recorder that ``configure()`` set up; None where there is none, or recording is suppressed."""
    if _active is not None:
        context = otel_context.get_current()
        for key in keys.SUPPRESS:  # not any(), which takes three times as long, and every call asks
            if context.get(key):
                return None
    return _active


def configured() -> Recorder | None:
    """The recorder that ``configure()`` set up, also where recording is suppressed."""
    return _active


def is_suppressed(context: Context) -> bool:
    """Return True inside `llmtrace.suppress`, and where OpenTelemetry's or OpenInference's own blocks say the same."""
    return any(map(context.get, keys.SUPPRESS))


def activate(recorder: Recorder | None) -> Recorder | None:
    """Make ``recorder`` the active one; gives the one before."""
    global _active
    before, _active = _active, recorder
    return before


def current() -> Recording | None:
    """The innermost recording that is open here, or None."""
    recording = otel_context.get_current().get(keys.RECORDING)
    return recording if isinstance(recording, Recording) else None
