"""Records how far each journal file was sent to each destination: a few bytes per file, written in place.

Law: a position never includes spans that were not handled. If it cannot be read, the file counts as unsent and its spans are
sent again, which their span ids make harmless. Unsent spans of a file that is removed to save space are counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from llmtrace.store import journal_files, journal_records, locks
from llmtrace.store.warnings import warn_once

FOLDER, UNSENT, STORE = "sent", "unsent", "store"
"""``sent/`` in a store's folder has a folder for each destination, ``unsent/`` the journal of programs that only send. In a
destination's folder, ``store/`` has the positions in the store's own journal."""
REMOVED = "removed"
"""File in a destination's folder: in each line, a number of spans that were removed before they were sent."""
ABOUT = "about"
"""File in a destination's folder with its protocol and address."""
SUFFIX = ".position"


class Position(NamedTuple):
    """All spans of a journal file before ``offset`` were handled."""

    offset: int = 0
    open: int = 0
    """Number of spans that started before ``offset`` and had not ended."""

    def covers(self, size: int) -> bool:
        """Return True if all spans of a file of this size were sent."""
        return self.offset >= size and not self.open


class Positions:
    """The positions of one destination in one folder of journal files, kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: dict[str, Position] = {}

    def read(self, name: str) -> Position:
        try:
            offset, open_ = (self.folder / (name + SUFFIX)).read_bytes().split()
            return Position(int(offset), int(open_))
        except (OSError, ValueError):
            return Position()

    def write(self, name: str, position: Position) -> None:
        """Write the position of a journal file. Raises OSError."""
        if self._written.get(name) == position:
            return
        # a fixed length, so that each write replaces the last one completely, within one page
        locks.write(self.folder / (name + SUFFIX), b"%020d %010d\n" % position, flags=0)
        self._written[name] = position

    def forget_absent(self, present: Collection[str]) -> None:
        """Remove the positions of journal files that are not in ``present``."""
        for path in self.folder.glob("*" + SUFFIX):
            if path.name.removesuffix(SUFFIX) not in present:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def note_removed(path: Path) -> None:
    """Count the unsent spans of a journal file that is about to be removed, for each destination. Never raises."""
    try:
        home = path.parent.parent
        home, name = (home.parent, UNSENT) if home.name == UNSENT else (home, STORE)
        for destination, number in unsent(path, home / FOLDER, name).items():
            locks.write(home / FOLDER / destination / REMOVED, b"%d\n" % number, os.O_APPEND)
            warn_once(
                f"{number} spans were removed from {path.parent} before an OTLP endpoint took them, because the store reached "
                "its limit of size or age"
            )
    except (OSError, journal_files.Unusable):
        return


def unsent(path: Path, folder: Path, name: str) -> dict[str, int]:
    """Return the number of unsent spans of a journal file, by destination.

    ``folder``: has the destinations' folders. ``name``: `STORE` or `UNSENT`. Raises OSError, `journal_files.Unusable`.
    """
    size = path.stat().st_size
    offsets = {to.name: Positions(to / name).read(path.name).offset for to in folder.iterdir()}
    offsets = {to: offset for to, offset in offsets.items() if offset < size}
    destinations: dict[int, str] = {}
    counts: dict[str, int] = {}
    for record in journal_files.iterate(path) if offsets else ():
        if isinstance(record, journal_files.Gap):
            continue
        if record.kind == journal_files.CONTEXT:
            destinations[record.ref] = destination_in(record.payload)
        elif record.kind == journal_files.SPAN and record.offset >= offsets.get(to := destinations.get(record.ref, ""), size):
            counts[to] = counts.get(to, 0) + 1
    return counts


def destinations_of(path: Path) -> set[str]:
    """Return the destinations for which a journal file may have spans; "" for spans that are not sent, and for an unusable
    file."""
    destinations: set[str] = set()
    try:
        for record in journal_files.iterate(path):
            if isinstance(record, journal_files.Record) and record.kind == journal_files.CONTEXT:
                destinations.add(destination_in(record.payload))
    except (OSError, journal_files.Unusable):
        return {""}
    return destinations


def destination_in(context: bytes) -> str:
    """Return the destination in a journal's context record; "" if its spans are not sent."""
    return journal_records.decode_mark(context).partition("/")[0]


def removed(folder: Path) -> int:
    """Return the number of spans that were removed before they were sent to the destination of this folder."""
    try:
        return sum(int(line) for line in (folder / REMOVED).read_bytes().split())
    except (OSError, ValueError):
        return 0
