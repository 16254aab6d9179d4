"""Waits for Ctrl-C or SIGTERM, which end a command that serves others.

Law: no signal is missed. A handler runs between two steps of the main thread. It takes no lock, which that thread may hold; and
the wait looks again by itself, because a signal that comes just before an endless wait does not end it.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final

LOOK_SECONDS: Final = 0.1
"""Seconds between two looks."""


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[float], bool]]:
    """Yield a function that waits for a signal, for at most so many seconds. It returns True if one has come.

    After the block, a signal does what it did before, so that a second Ctrl-C ends the program at once.
    """
    arrived: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: arrived.append(number)) for number in numbers]

    def wait(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not arrived and (remaining := deadline - time.monotonic()) > 0:
            time.sleep(min(remaining, LOOK_SECONDS))
        return bool(arrived)

    try:
        yield wait
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
