"""Ends spans whose generator or coroutine the garbage collector closes.

The collector may run anywhere, also while a lock is held that the end of a span needs. So the end is queued for a thread of our
own. `gc.callbacks` tells whether the collector is running in this thread.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Literal

from llmtrace.recorder.guard import report
from llmtrace.recorder.own_thread import start_thread

SETTLE_SECONDS = 5.0
"""Seconds that flushing and the program's exit wait for the queued ends."""
_LEAST_SECONDS = 0.05
"""Shortest wait, so that the thread can confirm an empty queue."""
_MOMENT = 0.001


_collecting: int | None = None
"""The thread in which the collector runs, by `threading.get_ident`: one at a time, while the others go on."""
_queue: SimpleQueue[Callable[[], Any]] = SimpleQueue()
_thread: threading.Thread | None = None
_lock = threading.RLock()


def watch() -> None:
    """Prepare for ends by the collector. Call this where a generator, a coroutine or a block is opened."""
    global _thread
    if _thread is not None:
        return
    with _lock:
        if _thread is None:
            if _on_collection not in gc.callbacks:
                gc.callbacks.append(_on_collection)
            with suppress(RuntimeError):  # the interpreter is shutting down: no thread can be started any more
                _thread = start_thread("llmtrace-collected", _work, _queue)


def is_collecting() -> bool:
    """Return True if the garbage collector is at work in this thread."""
    return _collecting == threading.get_ident()


def end_later(end: Callable[[], object]) -> None:
    """Let our thread, which is outside every span, end a span. Safe in a destructor."""
    _queue.put(end)


def settle(seconds: float = SETTLE_SECONDS) -> bool:
    """Wait until all ends queued so far are done, ``seconds`` at most. Returns True if they are.

    A collection that runs in another thread may still queue some: it is waited for, too.
    """
    if _thread is None or _thread is threading.current_thread():
        return True
    until = time.monotonic() + max(seconds, _LEAST_SECONDS)
    while _collecting is not None and not is_collecting() and time.monotonic() < until:
        time.sleep(_MOMENT)  # no event: to set one in the collector could wait for a lock that its own thread holds
    done = threading.Event()
    _queue.put(done.set)
    return done.wait(max(until - time.monotonic(), _LEAST_SECONDS))


def _on_collection(phase: Literal["start", "stop"], _info: dict[str, int]) -> None:
    global _collecting
    _collecting = threading.get_ident() if phase == "start" else None


def _work(queue: SimpleQueue[Callable[[], Any]]) -> None:
    while True:
        end = queue.get()
        try:
            end()
        except BaseException as error:  # of a quality signal of the program's own
            report(_work, error)
        del end


def _after_fork() -> None:
    """Reset in a forked child: it has no thread, and the queued ends belong to the parent."""
    global _queue, _thread, _lock, _collecting
    _queue, _thread, _lock = SimpleQueue(), None, threading.RLock()
    _collecting = _collecting if is_collecting() else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
