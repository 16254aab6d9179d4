"""Tracing programs that know nothing of llmtrace: in the processes that ``llmtrace run`` starts, and in their children.

How it gets there: `environment` puts the folder ``path`` in front of PYTHONPATH; a Python that starts with it imports the
``sitecustomize`` found there, which calls `program.start`. What is recorded joins the trace by TRACEPARENT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

BUDGET = "_LLMTRACE_RUN_BUDGET"
"""Variable with the ceilings of each process, as `llmtrace.guards.budget.read_budget` takes them, and what happens then."""

PATH = str(Path(__file__).resolve().parent / "path")


def environment(headers: Mapping[str, str], budget: str = "") -> dict[str, str]:
    """Variables for a process whose Python programs are to be traced, below the span that ``headers`` (W3C) name.

    ``budget``: what each of them may spend, see `BUDGET`.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != PATH]
    return {
        **({BUDGET: budget} if budget else {}),
        "PYTHONPATH": os.pathsep.join([PATH, *paths]),
        **{name.upper(): value for name, value in headers.items() if name in ("traceparent", "tracestate")},
    }
