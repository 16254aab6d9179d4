"""Follows a local store as programs write to it, span by span, like `tail -f`.

Law: no span is returned twice, and spans come in the order in which their process wrote them. A record that is still being
written is returned when it is complete.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from llmtrace.codec import genai
from llmtrace.model import JsonValue, RawSpan, Scope, Span
from llmtrace.store import journal_files, journal_records
from llmtrace.store.memory import Spans
from llmtrace.store.warnings import warn_once

Context = tuple[Mapping[str, JsonValue], Scope]


class Written(NamedTuple):
    """A span that was written to a journal file."""

    span: Span
    """A span that has started (``end`` None) or ended."""
    file: str
    """Name of the journal file; see `journal_files.RunningWriters`."""


class Tail:
    """Follows the journal of a local store."""

    def __init__(self, journal: Path, *, whole: bool = False) -> None:
        """``journal``: the folder ``journal/`` of the store. ``whole``: start with the records that exist already."""
        self.journal = journal
        self._contexts: dict[str, dict[int, Context]] = {}
        self._done = {} if whole else {file.name: file.size for file in journal_files.listing(journal)}

    def poll(self) -> Iterator[Written]:
        """Yield the spans that were written since the last call."""
        for file in journal_files.listing(self.journal):
            if file.size > self._done.get(file.name, 0):
                with contextlib.suppress(OSError, journal_files.Unusable):
                    yield from self._new(file.name)

    def _new(self, name: str) -> Iterator[Written]:
        done = self._done.get(name, 0)
        start = done if name in self._contexts else 0  # the first time, the contexts of earlier records are read
        for end, raw in read_spans(self.journal / name, start, self._contexts.setdefault(name, {})):
            if end > done:
                self._done[name] = end
                if raw is not None:
                    yield Written(genai.decode(raw), name)


def read_spans(path: Path, start: int, contexts: dict[int, Context]) -> Iterator[tuple[int, RawSpan | None]]:
    """Yield the end offset of each record from offset ``start`` on, and its span.

    The span is None if the record is damaged or of another kind. ``contexts``: the contexts before ``start``; new ones are
    added. An incomplete record at the end of the file is left out. Raises `journal_files.Unusable`, OSError.
    """
    for record in journal_files.iterate(path, start):
        raw = None
        if isinstance(record, journal_files.Gap):
            if record.tail:
                return
        else:
            with contextlib.suppress(journal_records.NoRecord):
                if record.kind == journal_files.CONTEXT:
                    contexts[record.ref] = journal_records.decode_context(record.payload)
                elif record.kind in (journal_files.START, journal_files.SPAN):
                    raw = journal_records.decode(record.payload, *contexts.get(record.ref, ({}, Scope())))
        yield record.offset + record.length, raw


def read_journal(journal: Path | None, waiting: list[tuple[int, bytes, bytes]]) -> Spans:
    """Read the spans of all journal files, and the records that wait in this process's memory.

    A file that cannot be read is left out with a warning. Raises OSError if the folder cannot be read.
    """
    spans = Spans()
    if journal is not None:
        running = journal_files.RunningWriters(journal)
        for file in journal_files.listing(journal):
            try:
                for _, raw in read_spans(journal / file.name, 0, {}):
                    if raw is not None:
                        spans.add(raw, alive=raw.end is None and running.is_running(file.name))
            except (FileNotFoundError, journal_files.Unusable):
                continue
            except OSError as error:
                warn_once(f"cannot read {journal / file.name} ({error.strerror}), so its spans are left out")
    for _, payload, context in waiting:
        spans.add(journal_records.decode(payload, *journal_records.decode_context(context)), alive=True)
    return spans
