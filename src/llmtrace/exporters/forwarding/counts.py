"""Counts sent and dropped spans: one file for each destination, to which every program of the user adds. See `reports`.

Law: a span counts as sent when the endpoint has confirmed it. Every span that is dropped, for whatever reason, is counted, and
a log line says so, at most once a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from llmtrace.log_once import warn_once
from llmtrace.store import journal_files, locks
from llmtrace.store.send_positions import ABOUT, FOLDER, STORE, UNSENT, removed, unsent

QUIET_SECONDS = 60.0
FILE = "counts.json"


@dataclass
class Counts:
    """Counts of one process and destination."""

    sent: int = 0
    """Spans that the endpoint accepted."""
    bytes: int = 0
    batches: int = 0
    split: int = 0
    """Requests that were too large and were sent in halves."""
    shrunk: int = 0
    """Times that the texts of a span were cut because even that span alone was too large."""
    refused: int = 0
    """Spans that the endpoint rejected; they are dropped."""
    lost: int = 0
    """Spans that were removed before they were sent: by the journal's limits, or without a disk and with too little memory."""
    sampled_out: int = 0
    """Spans of healthy traces that sampling dropped."""
    traces_kept: int = 0
    """Traces that sampling kept, for any reason."""
    traces_left: int = 0
    """Traces that sampling dropped."""
    traces_late: int = 0
    """Traces that sampling had dropped and that failed later: their spans in the journal were sent after all."""
    interrupted: int = 0
    """Open spans of programs that died, sent as interrupted."""
    failures: int = 0
    """Requests that failed and will be tried again."""
    why: str = field(default="", repr=False)
    """The reason why the last request failed; empty if it succeeded."""

    def refuse(self, number: int, why: str) -> None:
        self.refused += number
        self.warn(f"the endpoint rejected spans ({why}): {self.refused} so far, which are dropped")

    def warn(self, line: str) -> None:
        """Log a line, unless one of its kind was logged in the last minute: the text before a colon that ends a word."""
        warn_once(f"OTLP: {line}", quiet_seconds=QUIET_SECONDS, kind=f"OTLP: {line.partition(': ')[0]}")

    def numbers(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(counter.name for counter in fields(Counts) if counter.type == "int")


class CountsFile:
    """The sums of all processes: ``counts.json`` in a destination's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._written = Counts().numbers()

    def add(self, counts: Counts) -> None:
        """Add the growth of ``counts`` since the last call to the file. Never raises.

        It waits briefly for another process that is adding. If that takes too long, the next call adds more.
        """
        numbers = counts.numbers()
        new = {name: number - self._written[name] for name, number in numbers.items()}
        if not any(new.values()):
            return
        with contextlib.suppress(OSError), locks.locked(self._path.with_suffix(".lock"), exclusive=True, seconds=0.1):
            total: dict[str, int | str] = {name: number + new[name] for name, number in read(self._path.parent)[0].items()}
            total["why"] = counts.why
            draft = self._path.with_name(f".{FILE}.{os.getpid()}")
            locks.write(draft, json.dumps(total).encode())
            draft.replace(self._path)
            self._written = numbers


def read(folder: Path) -> tuple[dict[str, int], str]:
    """Return the sums (zeros without a readable file), and why the last request failed (empty if it succeeded, or unknown)."""
    try:
        totals = json.loads((folder / FILE).read_bytes())
        return {name: int(totals.get(name, 0)) for name in NAMES}, str(totals.get("why") or "")
    except (OSError, ValueError, AttributeError, TypeError):
        return dict.fromkeys(NAMES, 0), ""


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
                counts, why = read(folder)
                counts["lost"] += removed(folder)
                destinations.append(Report(folder.name, about, counts, _waiting(home, folder), why))
    return destinations


def _waiting(home: Path, folder: Path) -> int:
    number = 0
    for journal, name in ((home / "journal", STORE), (home / UNSENT / "journal", UNSENT)):
        for file in journal_files.listing(journal):
            with contextlib.suppress(OSError, journal_files.Unusable):
                number += unsent(journal / file.name, folder.parent, name).get(folder.name, 0)
    return number
