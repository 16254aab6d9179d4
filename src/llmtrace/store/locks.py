"""Advisory locks on open files. They end with the process that holds them, however it ends, and belong to the opened file,
so that a process can find its own lock. Where a platform or file system has none, callers go by the file's age."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""To open every file with: a program that we start must not inherit a lock."""


def take(descriptor: int, *, exclusive: bool) -> bool | None:
    """Take a lock without waiting. False: another holds one that excludes it. None: there are no locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def moved_up(descriptor: int, lowest: int) -> int:
    """The same open file under a number from ``lowest`` on, where the process may have such; the old number is closed."""
    if fcntl is None:
        return descriptor
    try:
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:
        return descriptor
    os.close(descriptor)
    return int(high)
