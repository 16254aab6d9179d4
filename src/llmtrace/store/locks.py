"""Advisory locks on open files.

A lock ends with the process that holds it, however that ends. It belongs to the opened file, so a process sees its own locks.
On a platform or file system without locks, callers use the file's age instead.
"""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUPPORTED = fcntl is not None
"""False on a platform without file locks."""
FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
"""Flags to open every file of a store with. A child process must not inherit a lock. A symbolic link is an error, since in a
folder that several users share, one of them may have laid it to have another's file overwritten."""


def take(descriptor: int, *, exclusive: bool) -> bool | None:
    """Take a lock without waiting. False: another process holds a lock that excludes it. None: locks are not supported."""
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
    """Move an open file to a descriptor number of at least ``lowest``, if the process may have one, and close the old one."""
    if fcntl is None:
        return descriptor
    try:
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:
        return descriptor
    os.close(descriptor)
    return int(high)
