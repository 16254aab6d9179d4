"""Reads spans from the journal, at the places that the index names.

Law: records of a removed file are left out. A record that is not at the place that the index names raises `Misplaced`, since
the file or the index has changed. A reader keeps the last few journal files open. Do not use it after its connection is closed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from llmtrace.codec import genai, message_cache
from llmtrace.model import JsonValue, RawSpan, Scope, Trace
from llmtrace.store import journal_files, journal_records, monitoring

_OPEN: Final = 16
"""Files open at once, at most: a store may have thousands, one or more for each program run."""


class Misplaced(Exception):
    """A journal file does not have a record that the index names. ``name``: the file."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Reader:
    """Reads the spans of traces. Close it after use."""

    def __init__(self, db: sqlite3.Connection, journal: Path) -> None:
        self._db = db
        self._journal = journal
        self._contexts = Contexts(db)
        self._files: dict[str, BinaryIO | None] = {}

    def close(self) -> None:
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()

    def read(self, trace_id: str, *, prompts: bool = True) -> Trace:
        """Read a trace's spans, without those whose file was removed meanwhile. Raises Misplaced.

        ``prompts``: see `Store.spans`.
        """
        running = journal_files.RunningWriters(self._journal)
        spans, alive = [], set()
        with message_cache.together():
            for name, raw in self._raw(trace_id, prompts=prompts):
                spans.append(genai.decode(raw))
                if raw.end is None and running.is_running(name):
                    alive.add(raw.span_id)
        return Trace(monitoring.with_findings(self._db, spans, trace_id), alive=frozenset(alive))

    def _raw(self, trace_id: str, *, prompts: bool) -> Iterator[tuple[str, RawSpan]]:
        rows = self._db.execute(
            "SELECT f.name, s.span, s.file, s.ref, s.offset, s.length FROM spans s JOIN files f ON f.id = s.file"
            " WHERE s.trace = ? ORDER BY s.file, s.offset",
            (trace_id,),
        )
        for name, span_id, *place in rows.fetchall():
            raw = self._span(name, *place, prompts=prompts)
            if raw is not None:
                if (raw.trace_id, raw.span_id) != (trace_id, span_id):
                    raise Misplaced(name)
                yield name, raw

    def raw_spans(self, ids: Iterable[tuple[str, str]]) -> list[RawSpan]:
        """Return those of these spans that are stored, without prompts. ``ids``: pairs of trace id and span id.

        Raises Misplaced.
        """
        rows = self._db.execute(
            "SELECT f.name, s.file, s.ref, s.offset, s.length FROM json_each(?) ids CROSS JOIN spans s"
            " ON s.trace = json_extract(ids.value, '$[0]') AND s.span = json_extract(ids.value, '$[1]')"
            " JOIN files f ON f.id = s.file ORDER BY s.file, s.offset",
            (json.dumps(list(ids)),),
        )
        spans = (self._span(name, *place, prompts=False) for name, *place in rows.fetchall())
        return [raw for raw in spans if raw is not None]

    def placed(self, file: int, start: int, limit: int) -> list[tuple[int, int, RawSpan | None]]:
        """Return up to ``limit`` spans of a file from offset ``start``: row id, offset, and the span (None if the file is
        gone).

        Raises Misplaced.
        """
        statement = "SELECT id, ref, offset, length FROM spans WHERE file = ? AND offset >= ? ORDER BY offset LIMIT ?"
        rows = self._db.execute(statement, (file, start, limit)).fetchall()
        name = self._db.execute("SELECT name FROM files WHERE id = ?", (file,)).fetchone()[0]
        return [(number, place[1], self._span(name, file, *place)) for number, *place in rows]

    def _span(self, name: str, file: int, ref: int, offset: int, length: int, *, prompts: bool = True) -> RawSpan | None:
        journal = self._opened(name)
        if journal is None:
            return None
        record = journal_files.read(journal, offset, length)
        if record is None or record.ref != ref:
            raise Misplaced(name)
        try:
            return journal_records.decode(record.payload, *self._contexts.get(file, ref), prompts=prompts)
        except journal_records.NoRecord:
            raise Misplaced(name) from None

    def _opened(self, name: str) -> BinaryIO | None:
        if name not in self._files:
            if len(self._files) >= _OPEN and (oldest := self._files.pop(next(iter(self._files)))) is not None:
                oldest.close()
            self._files[name] = None
            with contextlib.suppress(FileNotFoundError):  # any other error would make its traces look removed
                self._files[name] = (self._journal / name).open("rb")
        return self._files[name]


class Contexts:
    """Resource and scope by journal file and context number."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._read: dict[tuple[int, int], tuple[Mapping[str, JsonValue], Scope]] = {}

    def get(self, file: int, ref: int) -> tuple[Mapping[str, JsonValue], Scope]:
        """Return the resource and scope; empty ones if their record is damaged."""
        if (file, ref) not in self._read:
            row = self._db.execute("SELECT data FROM contexts WHERE file = ? AND ref = ?", (file, ref)).fetchone()
            self._read[file, ref] = journal_records.decode_context(row[0]) if row else ({}, Scope())
        return self._read[file, ref]
