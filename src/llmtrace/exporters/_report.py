"""What stands in the way of sending, and what still waits: for ``llmtrace doctor``. It reads, and changes nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from llmtrace.exporters import _counts
from llmtrace.exporters._forwarder import ABOUT
from llmtrace.exporters._tails import Tail, concerns
from llmtrace.store import journal_files
from llmtrace.store.send_positions import FOLDER, STORE, UNSENT, Positions, removed

_MOST = 100_000


class Report(NamedTuple):
    id: str
    about: str
    """Protocol and address."""
    counts: dict[str, int]
    waiting: int
    """Spans in the journal that are not sent yet."""
    why: str
    """Why the last request came to nothing, where it did."""


def reports(home: Path) -> list[Report]:
    """One for each destination that anything was sent to, or was to be, from a store's folder."""
    found = []
    with contextlib.suppress(OSError):
        for folder in sorted((home / FOLDER).iterdir()):
            with contextlib.suppress(OSError):
                about = (folder / ABOUT).read_text(encoding="utf-8").strip()
                counts = _counts.read(folder)
                counts["lost"] += removed(folder)
                found.append(Report(folder.name, about, counts, _waiting(home, folder), _counts.why(folder)))
    return found


def _waiting(home: Path, folder: Path) -> int:
    number = 0
    for journal, positions in ((home / "journal", STORE), (home / UNSENT / "journal", UNSENT)):
        known, processes = Positions(folder / positions), set[str]()
        for file in journal_files.listing(journal):
            position = known.read(file.name)
            if (position.offset < file.size or position.open) and concerns(journal / file.name, folder.name):
                processes.add(journal_files.process_of(file.name))
        for process in processes:
            tail = Tail(journal, process, folder.name, known, alive=True)
            while (items := tail.read(1 << 20)) and number < _MOST:
                number += len(items)
    return number
