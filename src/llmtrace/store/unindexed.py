"""Reads the journal without its index: slower, and with the same result."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from llmtrace.model import JsonValue, RawSpan, Scope
from llmtrace.store import journal_files, journal_records
from llmtrace.store.memory import Spans


def read_journal(journal: Path | None, waiting: list[tuple[int, bytes, bytes]]) -> Spans:
    """The spans of all journal files, and the records that wait in this process's memory."""
    spans = Spans()
    if journal is not None:
        running = journal_files.RunningWriters(journal)
        for file in journal_files.listing(journal):
            with contextlib.suppress(OSError, journal_files.Unusable):
                _add_file(spans, journal / file.name, running)
    for _, payload, context in waiting:
        spans.add(journal_records.decode(payload, *journal_records.decode_context(context)), alive=True)
    return spans


def _add_file(spans: Spans, path: Path, running: journal_files.RunningWriters) -> None:
    contexts: dict[int, tuple[Mapping[str, JsonValue], Scope]] = {}
    for record in journal_files.iterate(path):
        if isinstance(record, journal_files.Gap):
            continue
        with contextlib.suppress(journal_records.NoRecord):
            if record.kind == journal_files.CONTEXT:
                contexts[record.ref] = journal_records.decode_context(record.payload)
            elif record.kind in (journal_files.START, journal_files.SPAN):
                raw: RawSpan = journal_records.decode(record.payload, *contexts.get(record.ref, ({}, Scope())))
                spans.add(raw, alive=raw.end is None and running.is_running(path.name))
