"""The journaled spans that a destination has not accepted: those of this process, then those of programs that have ended.

A lock ensures that one process at a time sends the spans of ended programs to a destination.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmtrace.exporters.forwarding.journal_cursor import JournalCursor, UnwrittenSpans
from llmtrace.store import journal_files, locks
from llmtrace.store.journal import Journal
from llmtrace.store.send_positions import FOLDER, STORE, UNSENT, Position, Positions, destinations_of

LOCK = "lock"
RECOVERY_EVERY = 30.0
"""Seconds between two searches for programs that have ended."""


class JournalQueue:
    """``home``: the store's folder. ``destination``: its id. ``journal``: what this process writes."""

    def __init__(self, home: Path, destination: str, journal: Journal) -> None:
        self._destination = destination
        self._journal = journal
        folder = home / FOLDER / destination
        self._lock_file = folder / LOCK
        self._positions = {
            home / "journal": Positions(folder / STORE),
            home / UNSENT / "journal": Positions(folder / UNSENT),  # of programs that only send
        }
        self._cursors: dict[tuple[Path, str], JournalCursor] = {}
        self._searched = 0.0
        self._descriptor: int | None = None

    def unwritten(self) -> UnwrittenSpans:
        """Return the spans that the journal could not write yet."""
        return UnwrittenSpans(self._journal.waiting(), self._destination)

    def cursors(self, *, all_of_it: bool) -> Iterator[JournalCursor]:
        """Yield our own cursor first: the spans of ended programs have waited already and can wait a little more.

        ``all_of_it``: search for ended programs at once. Raises OSError.
        """
        journal, process = self._journal.folder, self._journal.process
        if journal is not None and process and (journal, process) not in self._cursors:
            self._add(journal, process, alive=True)
        yield from [cursor for cursor in self._cursors.values() if cursor.alive]
        is_busy = any(not cursor.alive and not cursor.finished for cursor in self._cursors.values())
        if is_busy or all_of_it or time.monotonic() - self._searched > RECOVERY_EVERY:
            self._searched = time.monotonic()
            if self._take():
                yield from self._recovered(search=not is_busy)

    def _recovered(self, *, search: bool) -> Iterator[JournalCursor]:
        """Yield the cursors of ended programs. ``search``: look for such programs first."""
        for journal in self._positions if search else ():
            self._find(journal)
        for key, cursor in list(self._cursors.items()):
            if cursor.alive:
                continue
            yield cursor
            if cursor.finished and cursor.settled:
                cursor.save()
                del self._cursors[key]
                self._remove_sent(cursor.journal, cursor.names())

    def _take(self) -> bool:
        if self._descriptor is None:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600)
            if locks.take(descriptor, exclusive=True) is False:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def _find(self, journal: Path) -> None:
        positions, running = self._positions[journal], journal_files.RunningWriters(journal)
        files = journal_files.listing(journal)
        for file in files:
            process, position = journal_files.process_of(file.name), positions.read(file.name)
            if (journal, process) in self._cursors or position.covers(file.size) or running.is_running(file.name):
                continue
            if position.offset or self._destination in destinations_of(journal / file.name):
                self._add(journal, process, alive=False)
            else:  # no span for us: mark it as read
                positions.write(file.name, Position(file.size))
        positions.forget_absent({file.name for file in files})
        self._remove_sent(journal, [file.name for file in files])

    def _add(self, journal: Path, process: str, *, alive: bool) -> None:
        positions = self._positions[journal]
        self._cursors[journal, process] = JournalCursor(journal, process, self._destination, positions, alive=alive)

    def _remove_sent(self, journal: Path, names: Iterable[str]) -> None:
        """In the folder of unsent spans, remove those of these files whose spans are all for this destination and were sent."""
        positions = self._positions[journal]
        for name in names if positions.folder.name == UNSENT else ():
            path = journal / name
            with contextlib.suppress(OSError):
                is_sent = positions.read(name).covers(path.stat().st_size) and not journal_files.is_being_written(path)
                if is_sent and destinations_of(path) <= {self._destination}:
                    path.unlink()

    def save(self) -> None:
        """Write the positions up to which all spans are settled. Raises OSError."""
        for cursor in self._cursors.values():
            cursor.save()

    def tidy(self) -> None:
        """Remove the files that were sent. Never raises."""
        for journal in self._positions:
            with contextlib.suppress(OSError):
                self._remove_sent(journal, [file.name for file in journal_files.listing(journal)])

    def close(self) -> None:
        """Release the lock; in a forked child, close the copy of its descriptor."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
