"""What programs that have ended left unsent: read by one process at a time for each destination, which holds a lock."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from llmtrace.exporters._tails import Tail, concerns
from llmtrace.store import journal_files, journal_records, locks
from llmtrace.store.send_positions import UNSENT, Position, Positions

LOCK = "lock"


class Leftovers:
    """``folder``: the destination's; ``positions`` gives those of a folder of journal files."""

    def __init__(self, folder: Path, destination: str, positions: Callable[[Path], Positions]) -> None:
        self._folder = folder
        self._destination = destination
        self._positions = positions
        self._descriptor: int | None = None
        self._tails: dict[tuple[Path, str], Tail] = {}

    @property
    def busy(self) -> bool:
        """Whether some are being read."""
        return bool(self._tails)

    def tails(self, journals: list[Path], *, own: str) -> Iterator[Tail]:
        """One for each dead process that left something. Raises OSError."""
        if not self._take():
            return
        if not self._tails:
            for journal in journals:
                self._find(journal, own)
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

    def _find(self, journal: Path, own: str) -> None:
        positions, running = self._positions(journal), journal_files.RunningWriters(journal)
        found = journal_files.listing(journal)
        wanted: set[str] = set()
        for file in found:
            process, position = journal_files.process_of(file.name), positions.read(file.name)
            if process == own or (position.offset >= file.size and not position.open) or running.is_running(file.name):
                continue
            if position.offset or concerns(journal / file.name, self._destination):
                wanted.add(process)
            else:  # not looked into again
                positions.write(file.name, Position(file.size, 0))
        for process in sorted(wanted):
            self._tails[journal, process] = Tail(journal, process, self._destination, positions, alive=False)
        present = {file.name for file in found}
        positions.forget([name for name in positions.names() if name not in present])
        if only_unsent(journal):
            for file in found:
                if journal_files.process_of(file.name) not in wanted and not running.is_running(file.name):
                    remove_sent(journal / file.name, positions, self._destination)

    def _clear(self, journal: Path, tail: Tail) -> None:
        """Of a folder that keeps only what is to be sent, nothing of this process need stay."""
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
    """Whether a folder of journal files keeps only what is to be sent."""
    return journal.parent.name == UNSENT


def remove_sent(path: Path, positions: Positions, destination: str) -> None:
    """Remove a file whose spans are all for this destination, and are all sent."""
    position = positions.read(path.name)
    with contextlib.suppress(OSError, journal_files.Unusable):
        if position.offset < path.stat().st_size or position.open:
            return
        found = [record.payload for record in journal_files.outline(path) if record.kind == journal_files.CONTEXT]
        if all(journal_records.decode_mark(context).startswith(f"{destination}/") for context in found):
            path.unlink(missing_ok=True)
            positions.forget([path.name])
