"""Sources of ids and time, which tests replace.

Ids come from the operating system, so that ``random.seed()`` in the program cannot make two runs share them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass


def trace_id() -> str:
    """Return a new trace id: 32 hex digits."""
    return os.urandom(16).hex()


def span_id() -> str:
    """Return a new span id: 16 hex digits."""
    return os.urandom(8).hex()


@dataclass(frozen=True, slots=True)
class Identity:
    """Functions that return ids and the time. ``clock`` returns nanoseconds since the Unix epoch."""

    trace_id: Callable[[], str] = trace_id
    span_id: Callable[[], str] = span_id
    run_id: Callable[[], str] = trace_id
    clock: Callable[[], int] = time.time_ns
