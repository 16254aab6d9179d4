"""Threads: work in a thread that was started, or in a pool that got it, inside a span is below that span.

This covers ``threading.Thread`` (subclasses and timers too) and ``concurrent.futures.ThreadPoolExecutor``, which asyncio's
``run_in_executor`` uses; ``asyncio`` tasks carry their context themselves. Only OpenTelemetry's context is passed on, and only
if llmtrace has data in it. The program's other context variables are not touched.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.instrumentation._patches import Patch, before
from llmtrace.recorder import keys
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording

LIBRARY, DISTRIBUTION = "threading", ""

_CARRIED = "_llmtrace_context"
_OWN = "_context"
"""Attribute of a thread since Python 3.14: the context variables with which it runs. None if the program passed none; the
thread then begins with an empty context."""
_OURS = (keys.RECORDING, keys.ATTRIBUTES, keys.WATCHERS, keys.JUDGING, *keys.SUPPRESS)


def _keep(instance: Any, *_: Any) -> None:
    current_context = otel_context.get_current()
    if not any(key in current_context for key in _OURS):
        return
    if getattr(instance, _OWN, current_context) is None and not getattr(sys.flags, "thread_inherit_context", False):
        thread_context = contextvars.Context()
        thread_context.run(otel_context.attach, current_context)
        setattr(instance, _OWN, thread_context)
    else:
        setattr(instance, _CARRIED, current_context)


def _within(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function that does the work in its thread: makes the kept context current."""
    token = guard(_attach, instance)
    try:
        return wrapped(*args, **kwargs)
    finally:
        if token is not None:
            Recording.detach(token)
            instance.__dict__.pop(_CARRIED, None)


def _attach(instance: Any) -> Any:
    """Make the context current that was kept with the work, or an empty one if the work was passed outside a span."""
    carried: Context | None = getattr(instance, _CARRIED, None)
    if carried is not None:
        return otel_context.attach(carried)
    return otel_context.attach(Context()) if keys.RECORDING in otel_context.get_current() else None


PATCHES = (
    Patch("threading", "Thread.start", before(_keep, always=True), is_plain=True),
    Patch("threading", "Thread._bootstrap_inner", _within, is_plain=True),  # and not run(), which subclasses write anew
    Patch("concurrent.futures.thread", "_WorkItem.__init__", before(_keep, always=True), is_plain=True),
    Patch("concurrent.futures.thread", "_WorkItem.run", _within, is_plain=True),
)
