"""Indexing in the background: a daemon thread of a program that runs for a while."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("llmtrace")

BACKGROUND_AFTER = 30.0
"""Seconds after its first span from which a program indexes in the background. Shorter programs leave it to the next reader."""
BACKGROUND_EVERY = 5.0
BACKGROUND_SHARE = 0.2
"""Share of its time that the background thread works at most."""


class BackgroundIndexing:
    """Indexes now and then in a daemon thread, once the process has run for a while. `wake` starts it."""

    def __init__(self, work: Callable[[float], None]) -> None:
        self._work = work
        self._pid = 0
        self._due = 0.0
        self._running = False

    def wake(self) -> None:
        """Start the thread if work is due. Called by a thread of the program, at most once a second."""
        if self._pid != os.getpid():  # the first time, or after a fork, which threads do not survive
            self._pid, self._due, self._running = os.getpid(), time.monotonic() + BACKGROUND_AFTER, False
        elif not self._running and time.monotonic() >= self._due:
            threading.Thread(target=self._run, name="llmtrace-index", daemon=True).start()
            self._running = True

    def _run(self) -> None:
        """Work once for a limited time; a later `wake` starts the next run."""
        with contextlib.suppress(OSError, AttributeError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        started = time.monotonic()
        try:
            self._work(BACKGROUND_EVERY * BACKGROUND_SHARE)
        except Exception as error:  # locked, broken, newer: reading reports it
            logger.debug("llmtrace: indexing in the background failed: %s", error)
        took = time.monotonic() - started
        self._due = time.monotonic() + max(BACKGROUND_EVERY, took / BACKGROUND_SHARE)
        self._running = False
