"""Runs readers on a few daemon threads of our own, never two at once for one key.

Laws: the calling thread waits only as long as it says. A reader that hangs keeps its thread and its key, and nothing else: the
next read of the key waits for it, until its own time is up. A child process begins with no threads.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from llmtrace.recorder.own_thread import start_thread

THREADS = 8
MOST_WAITING = 256
"""Reads that wait for a thread or for their key, at most."""


class Busy(Exception):
    """Too many reads wait already."""


class Read(Future[Any]):
    """A read that was handed in. Its result is what the function returned; cancel it to give it up."""

    def __init__(self, key: str, function: Callable[[], Any] | None) -> None:
        super().__init__()
        self.key, self.function = key, function
        self.context = contextvars.copy_context()


class ReaderThreads:
    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[Read] = deque()
        """Reads whose key is theirs, and which wait for a thread."""
        self._waiting: dict[str, deque[Read]] = {}
        """For each key that is being read: the reads that wait for it, in order."""
        self._count = 0
        """Number of reads that wait for their key."""
        self._threads = self._idle = 0

    def submit(self, key: str, function: Callable[[], Any]) -> Read:
        """Run ``function`` on a thread when no other read has this key. It sees the caller's context variables.

        Raises `Busy`.
        """
        return self._hand_in(Read(key, function))

    def claim(self, key: str) -> Read:
        """Return a read that is done as soon as the key is the caller's, who reads without our threads. Call `release` then.

        Raises `Busy`.
        """
        return self._hand_in(Read(key, None))

    def release(self, read: Read) -> None:
        """Give the key of a read to the next one."""
        with self._changed:
            waiting = self._waiting[read.key]
            if waiting:
                self._count -= 1
                self._begin_read(waiting.popleft())
            else:
                del self._waiting[read.key]

    def _hand_in(self, read: Read) -> Read:
        with self._changed:
            if len(self._queue) + self._count >= MOST_WAITING:
                raise Busy
            if read.key in self._waiting:
                self._waiting[read.key].append(read)
                self._count += 1
            else:
                self._waiting[read.key] = deque()
                self._begin_read(read)
        return read

    def _begin_read(self, read: Read) -> None:
        if read.function is None:
            if read.set_running_or_notify_cancel():
                read.set_result(None)
            else:
                self.release(read)
            return
        self._queue.append(read)
        if self._idle < len(self._queue) and self._threads < THREADS:
            start_thread("llmtrace-receipts", self._work)
            self._threads += 1
        self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._queue:
                    self._changed.wait()
                self._idle -= 1
                read = self._queue.popleft()
            if read.set_running_or_notify_cancel() and read.function is not None:
                try:
                    read.set_result(read.context.run(read.function))
                except BaseException as error:  # also SystemExit: a reader does not end our thread
                    read.set_exception(error)
            self.release(read)
            del read  # it holds the program's objects


reader_threads = ReaderThreads()
