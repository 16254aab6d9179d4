"""When to send again after a failure: later each time, and not before the time that the endpoint asked for."""

from __future__ import annotations

import random
import time

LONGEST = 60.0
CLOSED_LEAST = 30.0
"""The shortest wait after an error that somebody has to fix: a wrong key, a wrong path."""


class Breaker:
    """Stops sending for a while after failures."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """Seconds for which nothing may be sent; 0 if sending is allowed."""
        return max(0.0, self._until - time.monotonic())

    def failed(self, wait: float | None = None, *, closed: bool = False) -> None:
        """Note a failure. ``wait``: seconds that the endpoint asked for. ``closed``: somebody has to fix the cause."""
        self._failures = min(self._failures + 1, 10)
        seconds = min(LONGEST, 0.5 * 2**self._failures) * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all programs retry at once
        if closed:
            seconds = max(seconds, CLOSED_LEAST)
        self._until = time.monotonic() + (seconds if wait is None else wait)

    def worked(self) -> None:
        self._failures, self._until = 0, 0.0
