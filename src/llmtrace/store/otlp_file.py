"""A file of OTLP as JSON lines, as the OpenTelemetry Collector's file exporter and `llmtrace export` write it.

Law: a line is one ``write``. Lines that are not OTLP are left out and reported once. A file without any line of OTLP is
refused (UnreadableStore), and nothing is appended to a file that does not start like a line of OTLP.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path

from llmtrace.codec import otlp
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.model import RawSpan
from llmtrace.store import locks
from llmtrace.store.memory import Spans, SpansStore
from llmtrace.store.warnings import warn_once

SCHEMES = ("otlp-json",)
_MEMBERS = (b"resourceSpans", b"resource_spans")
WAITING_LINES = 10_000
"""Spans that are kept in memory while the file cannot be written."""


class OtlpFileStore(SpansStore):
    """Appends to and reads one file. It opens the file for each call, so forks and deleted files do no harm."""

    def __init__(self, path: Path) -> None:
        super().__init__(Spans())
        self.path: Path = path
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque(maxlen=WAITING_LINES)
        self._torn = False
        self._is_ours = False
        self._begun: set[tuple[str, str]] = set()  # spans of this process that have not ended

    def append_encoded(self, raw: RawSpan) -> None:
        line = otlp.to_json_line([raw])
        with self._lock:
            change = self._begun.add if raw.end is None else self._begun.discard
            change((raw.trace_id, raw.span_id))
            self._waiting.append(line if line.endswith(b"\n") else line + b"\n")
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait in memory. Never raises; errors are logged."""
        try:
            with self._lock:
                if not self._waiting:
                    return
                if not self._is_ours:
                    self._is_ours, self._torn = _may_grow(self.path), _is_torn(self.path)
                is_ours = self._is_ours
                if is_ours:
                    self._write()
            if not is_ours:
                warn_once(
                    f"{self.path} is not a file of OTLP JSON lines, so nothing is written to it. The last {WAITING_LINES} "
                    "spans stay in memory and are lost when the program ends. Choose a folder or another file"
                )
        except OSError as error:
            warn_once(
                f"cannot write to {self.path} ({error.strerror}). The last {WAITING_LINES} spans stay in memory until it "
                "works. Free disk space, give write access, or choose another file"
            )

    def _write(self) -> None:
        locks.make_folder(self.path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o600)
        try:
            while self._waiting:
                line = b"\n" + self._waiting[0] if self._torn else self._waiting[0]
                written = os.write(descriptor, line)
                self._torn = written != len(line)
                if self._torn:  # a partial write means a full disk; the record is written again, on a new line
                    raise OSError(28, "No space left on device")
                self._waiting.popleft()
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self.flush()

    def current(self) -> Spans:
        with self._lock:
            self.flush()
            waiting = list(self._waiting)
            begun = set(self._begun)
        try:
            lines = self.path.read_bytes().splitlines() + waiting
        except OSError as error:
            if not waiting:
                raise UnreadableStore(f"cannot read {self.path}: {error.strerror}") from error
            lines = waiting
        return self._parsed([line for line in lines if line.strip()], begun)

    def _parsed(self, lines: list[bytes], begun: set[tuple[str, str]]) -> Spans:
        spans = Spans()
        bad = 0
        for line in lines:
            try:
                raws = otlp.from_json(line)
            except Exception:  # whatever is wrong with this line, the next may be fine
                bad += 1
                continue
            bad += not raws and not any(member in line for member in _MEMBERS)  # JSON of something else
            for raw in raws:
                spans.add(raw, alive=(raw.trace_id, raw.span_id) in begun)
        if bad and bad == len(lines):
            raise UnreadableStore(
                f"{self.path} contains no OTLP JSON: expected one ExportTraceServiceRequest per line. "
                "Use 'llmtrace import' or 'llmtrace view' for other formats"
            )
        if bad:
            warn_once(f"{self.path}: {bad} of {len(lines)} lines are not OTLP JSON and are left out")
        return spans


def _may_grow(path: Path) -> bool:
    """Return True if OTLP may be appended: the path is new, empty, starts with a JSON object, or is a pipe or a device."""
    if not path.is_file():
        return True
    try:
        with path.open("rb") as file:
            return file.read(4096).lstrip()[:1] in (b"", b"{")
    except PermissionError:  # a write-only file, which another program reads
        return True


def _is_torn(path: Path) -> bool:
    """Return True if the file ends in the middle of a line, because its last writer was killed."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # it is empty or may not be read
        return False


def open(url: str, config: Config) -> OtlpFileStore:  # noqa: A001, ARG001
    path = Path(url.removeprefix("otlp-json:")).expanduser()
    return OtlpFileStore(path.absolute())
