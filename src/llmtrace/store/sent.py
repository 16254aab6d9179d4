"""How far each journal file was sent to each destination: a few bytes a file, written in place.

Law: a position only ever says what was dealt with. Where it cannot be read the file counts as unsent: what went before goes
again, and span ids make that harmless. A file that the store's bounds remove before all of it was sent is counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from llmtrace.store import files, locks, records
from llmtrace.store.notices import say

FOLDER, UNSENT, STORE = "sent", "unsent", "store"
"""In a store's folder: what is known of destinations; the journal of programs that only send. In a destination's: positions
of the store's own journal."""
REMOVED = "removed"
"""In a destination's folder: a number a line, of spans that were removed before they could be sent."""
SUFFIX = ".position"


class Position(NamedTuple):
    offset: int = 0
    open: int = 0
    """Spans that had begun before it and not ended."""


class Positions:
    """In ``folder``: that of one destination, for one folder of journal files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Position] = {}

    def read(self, name: str) -> Position:
        try:
            offset, open_ = (self.folder / (name + SUFFIX)).read_bytes().split()
            return Position(int(offset), int(open_))
        except (OSError, ValueError):
            return Position()

    def write(self, name: str, position: Position) -> None:
        """Raises OSError."""
        if self._known.get(name) == position:
            return
        flags = os.O_WRONLY | os.O_CREAT | locks.FLAGS
        descriptor = os.open(self.folder / (name + SUFFIX), flags, 0o600)
        try:
            os.write(descriptor, b"%020d %010d\n" % position)  # always as long, and in one page
        finally:
            os.close(descriptor)
        self._known[name] = position

    def forget(self, names: Collection[str]) -> None:
        for name in names:
            self._known.pop(name, None)
            with contextlib.suppress(OSError):
                (self.folder / (name + SUFFIX)).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The journal files that there are positions of."""
        with contextlib.suppress(OSError):
            return sorted(path.name.removesuffix(SUFFIX) for path in self.folder.glob("*" + SUFFIX))
        return []


def home_of(journal: Path) -> tuple[Path, str]:
    """The store's folder that a folder of journal files belongs to, and under which name its positions go."""
    return (journal.parent.parent, UNSENT) if journal.parent.name == UNSENT else (journal.parent, STORE)


def note_removed(path: Path) -> None:
    """Count, for each destination, the spans of a journal file that is about to go and that were not sent. Never raises."""
    try:
        home, name = home_of(path.parent)
        for destination, number in _unsent(path, home / FOLDER, name).items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | locks.FLAGS
            descriptor = os.open(home / FOLDER / destination / REMOVED, flags, 0o600)
            os.write(descriptor, b"%d\n" % number)
            os.close(descriptor)
            say(f"{path.parent} is full or too old: {number} spans were removed from it that no OTLP endpoint has taken")
    except (OSError, files.Unusable):
        return


def _unsent(path: Path, folder: Path, name: str) -> dict[str, int]:
    marks: dict[int, str] = {}
    offsets: dict[str, int] = {}
    found: dict[str, int] = {}
    for record in files.outline(path):
        if record.kind == files.CONTEXT:
            destination = records.decode_mark(record.payload).partition("/")[0]
            if destination and (folder / destination).is_dir():
                marks[record.ref] = destination
                offsets[destination] = Positions(folder / destination / name).read(path.name).offset
        elif record.kind == files.SPAN and (to := marks.get(record.ref)) and record.offset >= offsets[to]:
            found[to] = found.get(to, 0) + 1
    return found


def removed(folder: Path) -> int:
    """Spans that were removed before they could be sent to the destination of this folder."""
    try:
        return sum(int(line) for line in (folder / REMOVED).read_bytes().split())
    except (OSError, ValueError):
        return 0
