"""Reads the journal without its index: slower, and with the same result."""

from __future__ import annotations

import contextlib
from pathlib import Path

from llmtrace.store import journal_files, journal_records
from llmtrace.store.memory import Spans
from llmtrace.store.tail import read_spans


def read_journal(journal: Path | None, waiting: list[tuple[int, bytes, bytes]]) -> Spans:
    """The spans of all journal files, and the records that wait in this process's memory."""
    spans = Spans()
    if journal is not None:
        running = journal_files.RunningWriters(journal)
        for file in journal_files.listing(journal):
            with contextlib.suppress(OSError, journal_files.Unusable):
                for _, raw in read_spans(journal / file.name, 0, {}):
                    if raw is not None:
                        spans.add(raw, alive=raw.end is None and running.is_running(file.name))
    for _, payload, context in waiting:
        spans.add(journal_records.decode(payload, *journal_records.decode_context(context)), alive=True)
    return spans
