"""The lock file beside the index. Its content tells whether another program changed the index since llmtrace used it last.

Its content, the seal, is the size and the time of the last change of ``index.db``, and the version of the index. The last user
of the index writes it when it is done. If the store was copied, repaired or damaged on disk, the seal no longer matches. A
program of ours that was killed leaves SQLite's ``-wal`` file, which SQLite itself recovers.
"""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path

from llmtrace.store import locks

_SEAL_SECONDS = 0.01
_AGAIN_SECONDS = 0.05
"""Pause before a wrong seal is read again, since another process may be about to write it."""


def locked(path: Path, *, exclusive: bool, seconds: float) -> AbstractContextManager[int]:
    """Hold the index's lock: shared to use the index, exclusive to rename it. Raises OSError if that takes too long."""
    return locks.locked(path.with_suffix(".lock"), exclusive=exclusive, seconds=seconds)


def is_changed(path: Path, version: int) -> bool:
    """Return True if another program changed the index. False while the index is in use, since that cannot be found out then.

    ``version``: the index version of this llmtrace. An index that a newer llmtrace used last counts as unchanged. Raises
    OSError.
    """
    if not locks.SUPPORTED:
        return False
    for pause in (_AGAIN_SECONDS, 0.0):
        try:
            with locked(path, exclusive=True, seconds=0.0) as descriptor:
                used_as, _, used_version = os.pread(descriptor, 100, 0).rpartition(b" ")
                stamp = _stamp(path)
        except BlockingIOError:  # the index is in use
            return False
        if not used_as or not stamp or used_as == stamp or used_version > b"%06d" % version:
            return False
        time.sleep(pause)
    return True


def seal(path: Path, version: int) -> None:
    """Write the seal, unless another process uses the index, which will write it. Never raises."""
    if not locks.SUPPORTED:
        return
    with contextlib.suppress(OSError), locked(path, exclusive=True, seconds=_SEAL_SECONDS) as descriptor:
        stamp = _stamp(path)
        content = b"%s %06d" % (stamp, version)
        if stamp and os.pread(descriptor, 100, 0) != content:
            os.pwrite(descriptor, content, 0)


def _stamp(path: Path) -> bytes:
    """Return size and time of the last change, with a fixed length; empty without an index, or if SQLite must recover it."""
    try:
        if path.with_name(path.name + "-wal").exists():
            return b""
        status = path.stat()
    except OSError:
        return b""
    return b"%020d %020d" % (status.st_size, status.st_mtime_ns)
