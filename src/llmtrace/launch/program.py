"""Starts recording in a Python process that ``llmtrace run`` started. The program is one run.

Law: if llmtrace fails, the program goes on as if it had been started without llmtrace.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextvars import Context
from pathlib import Path
from types import TracebackType

from llmtrace.guards.budget import read_budget, track
from llmtrace.launch import BUDGET, VARIABLE
from llmtrace.model import Workflow
from llmtrace.recorder import Recorder, Recording, active
from llmtrace.recorder.context import extract
from llmtrace.recorder.guard import guard
from llmtrace.recorder.root import Root, end_at_sigterm, set_root
from llmtrace.runtime import configure
from llmtrace.semconv import PROGRAM


def start() -> None:
    """Start recording, or a replay. The first recorded call opens the program's span."""
    if VARIABLE in os.environ:
        from llmtrace.launch import replayed

        replayed.start()
    configure()
    guard(set_root, Root(_open))
    guard(end_at_sigterm)


def _open() -> Recording | None:
    recorder = active()
    if recorder is None:
        return None
    recording = Context().run(_start, recorder)  # in an empty context: the context of the first call belongs to that call only
    hook = sys.excepthook

    def died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        recording.end(exception=error)
        hook(kind, error, trace)

    sys.excepthook = died
    atexit.register(recording.end)
    return recording


def _start(recorder: Recorder) -> Recording:
    limits, _, on_exceed = os.environ.get(BUDGET, "").partition(";")  # from llmtrace run --budget
    budgets = [read_budget(limits, "record" if on_exceed == "record" else "raise")] if limits else []
    with extract(os.environ), track(budgets):
        return recorder.start(Workflow(_name()), attributes={PROGRAM: True})


def _name() -> str:
    """Return the name of the program's script or module."""
    called = sys.argv[0] if getattr(sys, "argv", None) else ""  # an embedded interpreter may have no argv
    path = Path(called)
    return path.parent.name if path.name == "__main__.py" else path.name if called not in ("", "-c", "-") else "python"
