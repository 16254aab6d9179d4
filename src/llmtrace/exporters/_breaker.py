"""When to try again: later after each failure, and not before the other side says. By the monotonic clock."""

from __future__ import annotations

import random
import time

LONGEST = 60.0
CLOSED_LEAST = 30.0
"""The shortest wait where nothing will be taken until somebody changes something: a wrong key, a wrong path."""


class Breaker:
    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """How long nothing may be sent; 0 where something may."""
        return max(0.0, self._until - time.monotonic())

    def failed(self, wait: float | None = None, *, closed: bool = False) -> None:
        """``wait``: the seconds that the other side asks for."""
        self._failures = min(self._failures + 1, 10)
        seconds = min(LONGEST, 0.5 * 2**self._failures) * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all come at once
        if closed:
            seconds = max(seconds, CLOSED_LEAST)
        self._until = time.monotonic() + (seconds if wait is None else wait)

    def worked(self) -> None:
        self._failures, self._until = 0, 0.0
