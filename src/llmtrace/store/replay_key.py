"""The secret of a store's folder: a file of 32 random bytes that only its owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from llmtrace.store import locks

NAME = "replay.key"
REPLAYS = "replays"
"""Name of the folder in a store's folder that holds replays of its traces. It has the store's secret."""
_BYTES = 32


def of(folder: Path) -> bytes:
    """Return the secret of a store; the first call, or one after a power cut took its bytes, creates it.

    Raises OSError if the folder cannot be written.
    """
    folder = folder.parent if folder.name == REPLAYS else folder
    path = folder / NAME
    key = _read(path)
    if len(key) != _BYTES or not any(key):
        locks.make_folder(folder)
        temporary = folder / f"{NAME}.{os.getpid()}.{os.urandom(4).hex()}"
        locks.write(temporary, os.urandom(_BYTES), os.O_EXCL)
        try:
            if key:  # a power cut took its bytes
                os.replace(temporary, path)
            else:
                _link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        key = path.read_bytes()
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() or b"\0"
    except FileNotFoundError:
        return b""


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:  # another process was first, so its key is used
        pass
    except OSError:  # a file system without links
        os.replace(temporary, path)
