"""Finds the unsent spans of programs that have ended. A lock ensures that one process at a time does this for a destination."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from llmtrace.exporters.forwarding.journal_cursor import JournalCursor, destinations_of
from llmtrace.store import journal_files, locks
from llmtrace.store.send_positions import UNSENT, Position, Positions

LOCK = "lock"


class UnsentRecovery:
    """Reads the unsent spans of ended processes.

    ``folder``: the destination's folder; ``positions`` returns the positions for a folder of journal files.
    """

    def __init__(self, folder: Path, destination: str, positions: Callable[[Path], Positions]) -> None:
        self._folder = folder
        self._destination = destination
        self._positions = positions
        self._descriptor: int | None = None
        self._tails: dict[tuple[Path, str], JournalCursor] = {}

    @property
    def busy(self) -> bool:
        """True if files of an ended process are being read."""
        return any(not tail.finished for tail in self._tails.values())

    def tails(self, journals: list[Path], *, own_process: str) -> Iterator[JournalCursor]:
        """Yield a cursor for each ended process with unsent spans. Raises OSError."""
        if not self._take():
            return
        if not self.busy:
            for journal in journals:
                self._find(journal, own_process)
        for key, tail in list(self._tails.items()):
            yield tail
            if tail.finished and tail.settled:
                tail.save()
                for name in tail.names():
                    remove_sent(tail.journal / name, self._positions(tail.journal), self._destination)
                del self._tails[key]

    def _take(self) -> bool:
        if self._descriptor is None:
            descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600)
            if locks.take(descriptor, exclusive=True) is False:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def _find(self, journal: Path, own_process: str) -> None:
        positions, running = self._positions(journal), journal_files.RunningWriters(journal)
        journal_files_present = journal_files.listing(journal)
        wanted: set[str] = set()
        for file in journal_files_present:
            process, position = journal_files.process_of(file.name), positions.read(file.name)
            if process == own_process or (position.offset >= file.size and not position.open) or running.is_running(file.name):
                continue
            if position.offset or self._destination in destinations_of(journal / file.name):
                wanted.add(process)
            else:  # no span for us: mark it as read
                positions.write(file.name, Position(file.size, 0))
        for process in sorted(wanted):
            if (journal, process) not in self._tails:  # it has a cursor already if one of its spans is set aside
                self._tails[journal, process] = JournalCursor(journal, process, self._destination, positions, alive=False)
        present = {file.name for file in journal_files_present}
        positions.forget([name for name in positions.names() if name not in present])
        for file in journal_files_present if only_unsent(journal) else ():
            if journal_files.process_of(file.name) not in wanted and not running.is_running(file.name):
                remove_sent(journal / file.name, positions, self._destination)

    def save(self) -> None:
        for tail in self._tails.values():
            tail.save()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def only_unsent(journal: Path) -> bool:
    """Return True for a folder of journal files that contains only unsent spans."""
    return journal.parent.name == UNSENT


def remove_sent(path: Path, positions: Positions, destination: str) -> None:
    """Remove a file from a folder of unsent spans, if all its spans are for this destination and were sent."""
    if not only_unsent(path.parent):
        return
    position = positions.read(path.name)
    with contextlib.suppress(OSError):
        is_sent = position.offset >= path.stat().st_size and not position.open
        if is_sent and destinations_of(path) <= {destination}:
            path.unlink(missing_ok=True)
            positions.forget([path.name])
