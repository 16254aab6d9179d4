"""The send queue of programs without a journal, because the store is off or in memory. When it is full, the oldest spans are
dropped."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from llmtrace.codec import genai
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.journal_cursor import QueuedSpan, queued
from llmtrace.model import RawSpan, Sink, Span

MOST_BYTES = 16 << 20


class MemoryQueue(Sink):
    """A sink that the forwarder empties. ``wanted`` returns "" if spans must not be sent now; ``wake`` is called for each
    span."""

    wants_start_marks = False
    takes_encoded = True

    def __init__(self, wanted: Callable[[], str], whole: bool, wake: Callable[[], None]) -> None:
        self._wanted = wanted
        self._whole = whole
        self._wake = wake
        self.counts = Counts()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._items: deque[QueuedSpan] = deque()
        self._bytes = 0

    def append(self, span: Span) -> None:
        self.append_encoded(genai.encode(span))

    def append_encoded(self, raw: RawSpan) -> None:
        if self._process != os.getpid():  # after a fork the parent sends the waiting spans
            self._begin()
        if raw.end is None or not self._wanted():
            return
        item = queued(raw, whole=self._whole)
        self._items.append(item)
        self._bytes += item.size
        while self._bytes > MOST_BYTES and len(self._items) > 1:
            self._bytes -= self._items.popleft().size
            self.counts.lost += 1
            self.counts.warn(f"too many spans wait in memory, because the store is off: {self.counts.lost} are lost")
        self._wake()

    def read(self, most_bytes: int) -> list[QueuedSpan]:
        batch: list[QueuedSpan] = []
        while self._items and most_bytes > 0:
            item = self._items.popleft()
            self._bytes -= item.size
            most_bytes -= item.size
            batch.append(item)
        return batch
