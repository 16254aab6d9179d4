"""The active recorder and the innermost open recording. A program that never configured llmtrace has neither."""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.recorder import keys
from llmtrace.recorder.recorder import Recorder
from llmtrace.recorder.recording import Recording

_active: Recorder | None = None


def active() -> Recorder | None:
    """Return the recorder that ``configure()`` set up; None without one, or while recording is suppressed."""
    if _active is not None:
        context = otel_context.get_current()
        for key in keys.SUPPRESS:  # every call runs this, and any() takes three times as long
            if context.get(key):
                return None
    return _active


def configured() -> Recorder | None:
    """Return the recorder that ``configure()`` set up, even while recording is suppressed."""
    return _active


def is_suppressed(context: Context) -> bool:
    """Return True inside `llmtrace.suppress`, and inside OpenTelemetry's and OpenInference's own suppressing blocks."""
    return any(map(context.get, keys.SUPPRESS))


def activate(recorder: Recorder | None) -> Recorder | None:
    """Make ``recorder`` the active one. Returns the previous one."""
    global _active
    before, _active = _active, recorder
    return before


def current() -> Recording | None:
    """Return the innermost recording that is open here, or None."""
    recording = otel_context.get_current().get(keys.RECORDING)
    return recording if isinstance(recording, Recording) else None
