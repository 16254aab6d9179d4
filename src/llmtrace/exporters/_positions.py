"""How far each journal file was sent to one destination: a few bytes a file, written in place.

Law: a position only ever says what was dealt with. Where it cannot be read the file counts as unsent: what went before goes
again, and span ids make that harmless.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from llmtrace.store import locks

FOLDER = "sent"
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
