"""Advisory locks on open files.

A lock ends with the process that holds it, however that ends. It belongs to the opened file, so a process sees its own locks.
On a platform or file system without locks, callers use the file's age instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUPPORTED = fcntl is not None
"""False on a platform without file locks."""
FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
"""Flags to open every file of a store with. A child process must not inherit a lock. Symbolic links are refused: in a shared
folder, another user could place one so that we overwrite a file elsewhere."""


def write(path: Path, data: bytes, flags: int = os.O_TRUNC) -> None:
    """Write to a file, which is created if it does not exist, readable by its user only. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | FLAGS | flags, 0o600), "wb") as file:
        file.write(data)  # unlike `os.write`, it raises if the disk takes only a part


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, all for their user only, whatever the umask is. Raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool, seconds: float) -> Iterator[int]:
    """Hold the lock of a lock file, which is created if it does not exist. Raises OSError, also after waiting ``seconds``."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while take(descriptor, exclusive=exclusive) is False:
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, "it is in use by another process")
            time.sleep(min(0.01, max(seconds, 0.001)))
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Return True if a process holds the lock of a file, or if the file may not be opened. None: locks are not supported."""
    try:
        descriptor = os.open(path, os.O_RDONLY | FLAGS)
    except OSError as error:
        return error.errno != errno.ENOENT
    try:
        is_free = take(descriptor, exclusive=False)
        return None if is_free is None else not is_free
    finally:
        os.close(descriptor)


def take(descriptor: int, *, exclusive: bool) -> bool | None:
    """Take a lock without waiting. Returns False if another process's lock excludes it, None if locks are not supported."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
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
