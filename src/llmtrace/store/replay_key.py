"""The secret of a store's folder: a file of 32 random bytes that only its owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from llmtrace.store import locks

NAME = "replay.key"
REPLAYS = "replays"
"""The folder within a store's folder that keeps replays of its traces; it has the same secret."""
_BYTES = 32


def of(folder: Path) -> bytes:
    """Return the secret of a store, and make it with the first call. Raises OSError where the folder cannot be written."""
    folder = folder.parent if folder.name == REPLAYS else folder
    path = folder / NAME
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / f"{NAME}.{os.getpid()}.{os.urandom(4).hex()}"
        locks.write(temporary, os.urandom(_BYTES), os.O_EXCL)
        try:
            os.link(temporary, path)
        except FileExistsError:  # another process was first: then its key counts
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path.read_bytes()
