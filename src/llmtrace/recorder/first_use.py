"""What is put in place when the program opens its first span or block: until then there is nothing to carry anywhere."""

from __future__ import annotations

from collections.abc import Callable

from llmtrace.recorder.guard import guard

waiting: list[Callable[[], None]] = []
"""Steps that run with the first span or block."""


def run() -> None:
    """Run the steps that wait. Never raises."""
    while waiting:
        guard(waiting.pop())
