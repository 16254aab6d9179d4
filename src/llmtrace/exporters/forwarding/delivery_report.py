"""Reports the state of sending for ``llmtrace doctor``: sent spans, waiting spans and errors. Read-only."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from llmtrace.exporters.forwarding import counts as counts_file
from llmtrace.exporters.forwarding.forwarder import ABOUT
from llmtrace.exporters.forwarding.journal_cursor import JournalCursor, concerns
from llmtrace.store import journal_files
from llmtrace.store.send_positions import FOLDER, STORE, UNSENT, Positions, removed

_MOST = 100_000


class Report(NamedTuple):
    """The state of one destination."""

    id: str
    about: str
    """Protocol and address."""
    counts: dict[str, int]
    waiting: int
    """Spans in the journal that are not sent yet."""
    why: str
    """The reason why the last request failed; empty if it succeeded."""


def reports(home: Path) -> list[Report]:
    """Return a report for each destination of a store's folder."""
    destinations = []
    with contextlib.suppress(OSError):
        for folder in sorted((home / FOLDER).iterdir()):
            with contextlib.suppress(OSError):
                about = (folder / ABOUT).read_text(encoding="utf-8").strip()
                counts, why = counts_file.read(folder)
                counts["lost"] += removed(folder)
                destinations.append(Report(folder.name, about, counts, _waiting(home, folder), why))
    return destinations


def _waiting(home: Path, folder: Path) -> int:
    number = 0
    for journal, positions in ((home / "journal", STORE), (home / UNSENT / "journal", UNSENT)):
        position_store, processes = Positions(folder / positions), set[str]()
        for file in journal_files.listing(journal):
            position = position_store.read(file.name)
            if (position.offset < file.size or position.open) and concerns(journal / file.name, folder.name):
                processes.add(journal_files.process_of(file.name))
        for process in processes:
            tail = JournalCursor(journal, process, folder.name, position_store, alive=True)
            while (items := tail.read(1 << 20)) and number < _MOST:
                number += len(items)
    return number
