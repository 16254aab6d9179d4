"""Finds the unsent spans of programs that have ended. A lock ensures that one process at a time does this for a destination."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from llmtrace.exporters.forwarding.journal_cursor import JournalCursor, concerns
from llmtrace.store import journal_files, journal_records, locks
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
                self._clear(key[0], tail)
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
            if position.offset or concerns(journal / file.name, self._destination):
                wanted.add(process)
            else:  # no span for us: mark it as read
                positions.write(file.name, Position(file.size, 0))
        for process in sorted(wanted):
            if (journal, process) not in self._tails:  # it has a cursor already if one of its spans is set aside
                self._tails[journal, process] = JournalCursor(journal, process, self._destination, positions, alive=False)
        present = {file.name for file in journal_files_present}
        positions.forget([name for name in positions.names() if name not in present])
        if only_unsent(journal):
            for file in journal_files_present:
                if journal_files.process_of(file.name) not in wanted and not running.is_running(file.name):
                    remove_sent(journal / file.name, positions, self._destination)

    def _clear(self, journal: Path, tail: JournalCursor) -> None:
        """Remove the sent files of an ended process from a folder of unsent spans."""
        if only_unsent(journal):
            for name in tail.names():
                remove_sent(journal / name, self._positions(journal), self._destination)

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
    """Remove a file if all its spans are for this destination and were sent."""
    position = positions.read(path.name)
    with contextlib.suppress(OSError, journal_files.Unusable):
        if position.offset < path.stat().st_size or position.open:
            return
        contexts = [record.payload for record in journal_files.outline(path) if record.kind == journal_files.CONTEXT]
        if all(journal_records.decode_mark(context).startswith(f"{destination}/") for context in contexts):
            path.unlink(missing_ok=True)
            positions.forget([path.name])
