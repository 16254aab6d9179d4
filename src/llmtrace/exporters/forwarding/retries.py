"""Decides when to send again after a failure, and holds the spans that failed when they were sent alone.

Such spans are tried again, one by one, while all others are sent. Law: a span is dropped only if the endpoint rejects it for
its content twice, and accepts other spans in between. An endpoint that rejects everything has another fault, and one that fails
may work later: then the span waits in the journal.
"""

from __future__ import annotations

import random
import time
from collections import deque

from llmtrace.exporters.forwarding.journal_cursor import QueuedSpan
from llmtrace.exporters.forwarding.transport import Answer

LONGEST = 60.0
CLOSED_LEAST = 30.0
"""Shortest wait after an error that somebody has to fix, such as a wrong key or path."""


class Breaker:
    """Stops sending for a while after failures."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """Seconds until sending is allowed again; 0 if it is allowed now."""
        return max(0.0, self._until - time.monotonic())

    def failed(self, wait: float | None = None, *, closed: bool = False) -> None:
        """Note a failure. ``wait``: seconds that the endpoint requested. ``closed``: somebody has to fix the cause."""
        self._failures = min(self._failures + 1, 10)
        seconds = min(LONGEST, 0.5 * 2**self._failures) * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all programs retry at once
        if closed:
            seconds = max(seconds, CLOSED_LEAST)
        self._until = time.monotonic() + (seconds if wait is None else wait)

    def worked(self) -> None:
        self._failures, self._until = 0, 0.0


AGAIN_SECONDS = 60.0


class SetAside:
    def __init__(self) -> None:
        self._entries: deque[tuple[QueuedSpan, int]] = deque()
        """Spans, and how many requests had been accepted when each was set aside."""
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, item: QueuedSpan, accepted: int) -> None:
        """Set a span aside. ``accepted``: number of requests that the endpoint has accepted so far."""
        item.release()
        self._entries.append((item, accepted))
        self._due = time.monotonic() + AGAIN_SECONDS

    def next(self, *, at_once: bool) -> QueuedSpan | None:
        """Return the span to try now, or None. ``at_once``: do not wait for its time."""
        if not self._entries or not (at_once or time.monotonic() >= self._due):
            return None
        return self._entries[0][0]

    def answered(self, answer: Answer, accepted: int) -> bool:
        """Note the answer for the span of `next`. Returns True if the span is settled: accepted, or finally rejected."""
        if answer.kind in ("late", "later", "closed"):
            return False
        item, accepted_before = self._entries.popleft()
        if answer.kind == "taken" or (answer.kind != "failing" and accepted > accepted_before):
            return True
        self.add(item, accepted_before)
        return False
