"""Queues of unsent spans that no store keeps: `SendQueue` on disk, and `MemoryQueue` if the store is off or in memory.

`SendQueue` is the store of a program that only sends: it keeps only unsent spans, without content that must not leave. A
receiver that only forwards needs the content for the evaluation: with ``strips`` False, content is kept until the spans are
sent.

`SendQueue` is used for ``LLMTRACE_STORE=auto`` if OTLP is configured and the program does not run in a terminal. Its journal is
in ``unsent/`` in the store's folder; a file is removed as soon as all its spans were sent.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.journal_cursor import QueuedSpan, queued
from llmtrace.model import RawSpan, Sink, Span
from llmtrace.store import locks
from llmtrace.store.local import LocalStore
from llmtrace.store.send_positions import UNSENT

MOST_BYTES = 16 << 20
"""Bytes of spans that wait in memory, at most. Beyond that, the oldest are dropped."""


class SendQueue(LocalStore):
    """``home``: the folder of the user's store, which gets no spans. `folder` is the same, because budgets are kept in it."""

    def __init__(self, home: Path, config: Config, *, strips: bool = True) -> None:
        super().__init__(home / UNSENT, config=config, may_be_missing=True, background=False)
        self.folder = home
        self.strips = strips
        self._home = home
        self._content = Content(config)
        self._begun = False

    def append_all(self, raws: Iterable[RawSpan], *, sends: bool = True) -> None:
        for raw in raws if sends else ():
            self.append_encoded(raw)

    def append_encoded(self, raw: RawSpan) -> None:
        """Keep an encoded span. A start mark has no content, so it is kept unchanged.

        First create the outer folder, for the user only; the journal creates the inner two.
        """
        if not self.mark():
            return
        if raw.end is not None and self.strips and not self._content.exports_content:
            raw = self._content.without_content(raw)
        if not self._begun:
            self._begun = True
            with contextlib.suppress(OSError):  # the journal will report it
                locks.make_folder(self._home)
        super().append_encoded(raw)


class MemoryQueue(Sink):
    """A sink that the forwarder empties. ``wanted`` returns "" if spans must not be sent now."""

    wants_start_marks = False
    takes_encoded = True

    def __init__(self, wanted: Callable[[], str], whole: bool) -> None:
        self._wanted = wanted
        self._whole = whole
        self.wake: Callable[[], object] = lambda: None
        """Called for each span."""
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
        self.wake()

    def read(self, most_bytes: int) -> list[QueuedSpan]:
        batch: list[QueuedSpan] = []
        while self._items and most_bytes > 0:
            item = self._items.popleft()
            self._bytes -= item.size
            most_bytes -= item.size
            batch.append(item)
        return batch
