"""Traces unchanged Python programs in the processes that ``llmtrace run`` starts, and in their children.

`environment` puts the folder ``path`` in front of PYTHONPATH. A Python process that starts with it imports the
``sitecustomize`` module there, which calls `program.start`. Its spans join the trace by TRACEPARENT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

BUDGET = "_LLMTRACE_RUN_BUDGET"
"""Variable with the limits of each process, for `llmtrace.guards.budget.read_budget`, and the action when they are exceeded."""

VARIABLE = "_LLMTRACE_REPLAY"
"""Variable with the replay assignment of each process, see `llmtrace.launch.replayed`."""

PATH = str(Path(__file__).resolve().parent / "path")


def environment(headers: Mapping[str, str], budget: str = "") -> dict[str, str]:
    """Return environment variables that trace a process and its children, below the span in ``headers`` (W3C).

    ``budget``: the limits of each process, see `BUDGET`.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != PATH]
    return {
        **({BUDGET: budget} if budget else {}),
        "PYTHONPATH": os.pathsep.join([PATH, *paths]),
        **{name.upper(): value for name, value in headers.items() if name in ("traceparent", "tracestate")},
    }
