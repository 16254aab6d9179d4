"""Log records that wait for their span, in a file of the store's folder, so that they survive a restart of the receiver.

Each line is an otherwise empty span with the records as its events. Law: like spans, records are cleaned before they are
written.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmtrace.codec import otlp
from llmtrace.codec.log_records import LogRecord
from llmtrace.content import Content
from llmtrace.model import Custom, RawSpan, Span
from llmtrace.store import locks
from llmtrace.store.local import WAITING_LOGS

MOST_BYTES = 4 << 20
"""Size from which the file is rewritten without the records whose span has arrived."""


class WaitingLogs:
    """The file. If it cannot be written, records wait in memory only. Can be used from any thread."""

    def __init__(self, folder: Path, content: Content) -> None:
        self._path = folder / WAITING_LOGS
        self._content = content
        self._lock = threading.Lock()

    def read(self) -> list[LogRecord]:
        """Return the records in the file. Damaged lines are left out. Raises OSError if the file cannot be read."""
        records: list[LogRecord] = []
        if self._path.exists():
            for line in self._path.read_bytes().splitlines():
                try:
                    spans = otlp.from_json(line)
                except ValueError:  # the program died while it wrote this line
                    continue
                records += [LogRecord(span.trace_id, span.span_id, event) for span in spans for event in span.events]
        return records

    def append(self, records: Sequence[LogRecord], waiting: Callable[[], Sequence[LogRecord]]) -> None:
        """Add records. ``waiting``: returns all records that still wait; they replace the content of a file above
        `MOST_BYTES`."""
        with self._lock, contextlib.suppress(OSError):
            locks.make_folder(self._path.parent)
            locks.write(self._path, self._lines(records), os.O_APPEND)
            if self._path.stat().st_size > MOST_BYTES:
                self._replace(waiting())

    def replace(self, records: Sequence[LogRecord]) -> None:
        """Keep these records only."""
        with self._lock, contextlib.suppress(OSError):
            self._replace(records)

    def _replace(self, records: Sequence[LogRecord]) -> None:
        if not records:
            self._path.unlink(missing_ok=True)
            return
        temporary = self._path.with_name(f"{WAITING_LOGS}.{os.getpid()}")
        locks.write(temporary, self._lines(records))
        temporary.replace(self._path)

    def _lines(self, records: Iterable[LogRecord]) -> bytes:
        lines = []
        for trace_id, span_id, event, _ in records:
            carrier = Span(trace_id, span_id, "", event.time, event.time, operation=Custom(), events=(event,))
            cleaned = self._content.clean(carrier)
            if cleaned.events:
                raw = RawSpan(trace_id, span_id, "", event.time, event.time, events=cleaned.events)
                lines.append(otlp.to_json_line([raw]) + b"\n")
        return b"".join(lines)
