"""Ends that the garbage collector queues are awaited, also those that it has yet to queue."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

from llmtrace.recorder import collected


class Slow:
    """Part of a cycle. Its finalizer lets other threads run before it queues an end."""

    def __init__(self, began: threading.Event, ends: list[str]) -> None:
        self.began, self.ends = began, ends
        self.cycle: Any = self

    def __del__(self) -> None:
        self.began.set()
        time.sleep(0.2)
        collected.end_later(lambda: self.ends.append("ended"))


def test_a_collection_in_another_thread_is_waited_for() -> None:
    """Weak references to what it frees are gone already, so nothing else tells of the ends that it will queue."""
    collected.watch()
    began, ends = threading.Event(), list[str]()
    Slow(began, ends)
    thread = threading.Thread(target=gc.collect)
    thread.start()
    began.wait(5)
    assert collected.settle()
    assert ends == ["ended"]
    thread.join()


def test_the_collector_itself_does_not_wait() -> None:
    class Settles:
        took = 9.0

        def __init__(self) -> None:
            self.cycle: Any = self

        def __del__(self) -> None:
            began = time.monotonic()
            collected.settle(1.0)
            Settles.took = time.monotonic() - began

    collected.watch()
    Settles()
    gc.collect()
    assert Settles.took < 1.0
