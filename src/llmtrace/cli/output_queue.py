"""Lines for stdout that may wait: a reader who does not read stops nothing but the lines.

Law: `OutputQueue.write` never waits. Of lines beyond `MOST_LINES`, each is dropped and counted, and the count stands in the
output at the place of the dropped lines.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable

MOST_LINES = 10_000
"""Lines that wait to be read, at most."""


class OutputQueue:
    """A text stream over an open file, written by a thread. ``dropped_line``: writes the line that counts dropped lines."""

    encoding = "utf-8"

    def __init__(self, descriptor: int, dropped_line: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._queue: queue.Queue[str] = queue.Queue(MOST_LINES)
        self._dropped = 0
        self._lock = threading.Lock()
        self._is_closed = False
        # a file object's lock, held by a thread that waits in a write, would stop the interpreter at its end: no file object
        threading.Thread(target=self._run, name="llmtrace output", daemon=True).start()

    def isatty(self) -> bool:
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False

    def write(self, text: str) -> int:
        with self._lock:
            if self._dropped:
                with contextlib.suppress(queue.Full):
                    self._queue.put_nowait(self._dropped_line(self._dropped))
                    self._dropped = 0
            try:
                self._queue.put_nowait(text)
            except queue.Full:
                self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are written as soon as they are read."""

    def drain(self, seconds: float) -> None:
        """Wait until all lines are written, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._queue.unfinished_tasks and not self._is_closed and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self) -> None:
        while True:
            data = memoryview(self._queue.get().encode("utf-8", "backslashreplace"))
            while data and not self._is_closed:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError:  # the reader closed it, or the disk is full: what is judged and sent does not depend on it
                    self._is_closed = True
            self._queue.task_done()
