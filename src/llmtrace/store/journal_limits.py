"""Removes old journal files, so that a store stays within its limits of size and age.

Law: files of running processes, and files that cannot be read, are never removed. A clock that jumps ahead removes
nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from llmtrace.store import locks
from llmtrace.store.journal_files import CORRUPT, HEAD, Unusable, age, check_head, is_being_written, listing
from llmtrace.store.send_positions import note_removed
from llmtrace.store.warnings import warn_once

CONFIRM_SECONDS = 86400.0
"""Seconds of traces after which a jump of the clock is believed."""
BOUNDS = ".bounds"
"""A file beside the journal files: the limits (bytes, days) of the program that wrote last."""


def keep_bounds(folder: Path, max_bytes: int, max_days: float, *, now: bool) -> None:
    """Write down the limits and remove old files, at once (``now``) or once an hour.

    Writers call this, so the limits hold even if programs are short and nobody reads the store. Raises OSError if the folder
    is not writable.
    """
    stamp, bounds = folder / BOUNDS, f"{max_bytes} {max_days:g}"
    if now or age(stamp) > 3600 or stamp.read_bytes() != bounds.encode():
        if stamp.is_symlink():  # `locks.write` refuses symbolic links
            stamp.unlink()
        locks.write(stamp, bounds.encode())
        sweep(folder, max_bytes, max_days)


def sweep_as_noted(folder: Path) -> None:
    """Remove old files, once a minute, by the limits that the last writer wrote down.

    Readers call this; their own configuration may have other limits.
    """
    stamp = folder / BOUNDS
    with contextlib.suppress(OSError, ValueError):
        if age(stamp) > 60:
            max_bytes, max_days = stamp.read_text().split()
            os.utime(stamp, follow_symlinks=False)
            sweep(folder, int(max_bytes), float(max_days))


def sweep(folder: Path, max_bytes: int, max_days: float) -> list[str]:
    """Remove journal files, oldest first, until the store is within its limits. Returns their names; never raises.

    ``max_bytes`` limits the journal and the files beside its folder (the index), which count for at most half of it. Files of
    running processes, and files that cannot be read, are not removed. A jump of the clock makes no file old (`_trusted_now`).
    """
    files = sorted(listing(folder), key=lambda file: file.modified)
    room = max_bytes - min(_size_beside(folder), max_bytes // 2)
    now = time.time()
    trusted = _trusted_now([file.modified for file in files], now, jump=max_days * 86400 / 2)
    oldest = trusted - max_days * 86400
    if files and now - trusted > max_days * 86400:
        warn_once(
            f"the clock is {(now - trusted) / 86400:.0f} days ahead of the last trace in {folder.parent}. If it is right, "
            "older traces are removed by age from tomorrow on"
        )
    total = sum(file.size for file in files)
    removed = []
    for file in files:
        if total <= room and file.modified >= oldest:
            continue
        path = folder / file.name
        if is_being_written(path):
            continue
        with contextlib.suppress(OSError, Unusable):
            with path.open("rb") as opened:
                check_head(opened, path)  # a file of a newer llmtrace is not ours to remove
            note_removed(path)
            path.unlink(missing_ok=True)
            total -= file.size
            removed.append(file.name)
    _remove_strays(folder)
    return removed


def _trusted_now(modified: Sequence[float], now: float, *, jump: float) -> float:
    """Return the time from which ages count: ``now``, unless the clock has just jumped ahead by more than ``jump`` seconds.

    A jump is a gap in the times at which files changed, or before ``now``. It is believed when the times after it cover a day:
    until then it may be a clock that is wrong, and ages count from the last time before the gap.
    """
    times = sorted([*(then for then in modified if then <= now), now])
    for before, after in reversed([*pairwise(times)]):
        if after - before > jump:
            return before if now - after < CONFIRM_SECONDS else now
    return now


def _size_beside(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder.parent) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and not entry.name.endswith(CORRUPT):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def _remove_strays(folder: Path) -> None:
    """Remove files without records: their process died before it gave them their name, or never wrote to them."""
    with contextlib.suppress(OSError):
        empty = [folder / file.name for file in listing(folder) if file.size == HEAD.size]
        for path in (*folder.glob(".*.tmp"), *empty):
            if time.time() - path.stat().st_mtime > 3600 and not is_being_written(path):
                path.unlink(missing_ok=True)
