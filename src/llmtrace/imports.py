"""The lock for imports at first use. A fork in another thread waits until such an import is done.

Without it the child would inherit Python's lock on the half-imported module from a thread that does not exist in the child, and
wait for it for ever.
"""

from __future__ import annotations

import os
import threading
from typing import Final

FORK_SECONDS: Final = 2.0
"""How long a fork waits."""

importing = threading.RLock()
"""Hold it around an ``import`` statement that runs when a function is first called, on whatever thread."""

_is_held_for_fork = False


def _before_fork() -> None:
    global _is_held_for_fork
    _is_held_for_fork = importing.acquire(timeout=FORK_SECONDS)


def _after_fork_in_parent() -> None:
    if _is_held_for_fork:
        importing.release()


def _after_fork_in_child() -> None:
    if _is_held_for_fork:
        importing.release()
    else:
        importing._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
