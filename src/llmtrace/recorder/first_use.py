"""What is put in place when the program opens its first span or block: until then there is nothing to carry anywhere."""

from __future__ import annotations

from collections.abc import Callable

from llmtrace.locks import importing
from llmtrace.recorder.guard import guard

waiting: list[Callable[[], None]] = []
"""Steps that run with the first span or block. Running one twice must change nothing."""


def run() -> None:
    """Run the steps that wait. Other threads wait until they are done, since their spans need them, too. Never raises."""
    with importing:
        for step in [*waiting]:
            guard(step)
            if step in waiting:
                waiting.remove(step)
