"""Reads files of spans. The content decides the format, never the file name.

Formats: OTLP as JSON or protobuf, the output of the SDK's console exporter, Jaeger's JSON, exports of Langfuse, LangSmith,
MLflow and Phoenix, sessions of Claude Code and Codex, and tables with a record for each span; as JSON, CSV or parquet, with or
without gzip. Each JSON format is a file in this folder with ``read(document)``. It returns the spans of a JSON object or table
row, or None for another format. The folder is the registry. Law: parts that cannot be read are reported with their place.
"""

from __future__ import annotations

import gzip
import io
import pkgutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import BinaryIO, Final, NamedTuple, Protocol, TypeAlias, cast

from llmtrace.codec.formats import _claude_code_session, _codex_session, _json_documents, _protobuf_file, _tables
from llmtrace.codec.formats._parse import Skipped
from llmtrace.codec.log_records import LogRecord
from llmtrace.model import JsonValue, RawSpan

__all__ = ["EXPECTED", "FORMS", "Form", "Item", "Skipped", "Unreadable", "read", "spans_of"]

EXPECTED: Final = (
    "OTLP (JSON, JSON lines or protobuf), the console exporter's output, Jaeger's JSON, an export of Langfuse, LangSmith, "
    "MLflow or Phoenix (JSON, CSV or parquet), a session of Claude Code or Codex (JSON lines), or a record for each span"
)
_GZIP: Final = b"\x1f\x8b"
_BUFFER: Final = 1 << 16
"""Number of bytes at the beginning of a file by which its format is recognised."""
_MAX_NAMES: Final = 6
"""Maximum number of members that a message about an unknown object names."""

Item: TypeAlias = "RawSpan | LogRecord | Skipped | str"
"""An item that a form reads: a span, a log record that belongs to a span, a record that is not stored, or an error message."""


class Unreadable(NamedTuple):
    """A part of a file that cannot be read as spans."""

    where: str
    """``line 3``, ``message 2``: counted from 1."""
    reason: str


class Form(Protocol):
    def read(self, document: Mapping[str, JsonValue]) -> list[Item] | None:
        """Read a JSON object or a row of a table. Returns None if it has another form."""
        ...


class Session(Protocol):
    """A format of sessions of coding agents, whose lines say something only together."""

    def knows(self, document: Mapping[str, JsonValue]) -> bool: ...

    def read(self, lines: Sequence[Mapping[str, JsonValue]]) -> Iterator[RawSpan]: ...


SESSIONS: Final = cast("tuple[Session, ...]", (_claude_code_session, _codex_session))

FORMS: Final[tuple[Form, ...]] = tuple(
    cast("Form", import_module(f"{__name__}.{module.name}"))
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: (module.name == "span_records", module.name))
    if not module.name.startswith("_")
)
"""The forms in the order in which they are tried. `span_records` comes last, since it accepts the most."""


def read(file: BinaryIO) -> Iterator[RawSpan | LogRecord | Skipped | Unreadable]:
    """Yield every span of a file, every log record that belongs to a span, and what could not be read, in order.

    A file with lines or rows is read step by step, so it may be larger than the memory. The file is closed at the end.
    """
    unpacked = io.BufferedReader(cast("io.RawIOBase", file), _BUFFER)
    try:
        if unpacked.peek()[:2] == _GZIP:
            unpacked = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=unpacked)), _BUFFER)
        head = unpacked.peek()
        if head.startswith(_tables.PARQUET):
            yield from _items(_tables.read_parquet(unpacked))
        elif _tables.is_csv(head):
            yield from _items(_tables.read_csv(unpacked, head))
        elif _protobuf_file.is_protobuf(head):
            yield from _messages(unpacked.read())
        else:
            yield from _items((f"line {number}", document) for number, document in _json_documents.read(unpacked))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Unreadable("the end", f"the gzip data is cut off or broken ({error})")


def _messages(data: bytes) -> Iterator[RawSpan | Unreadable]:
    try:
        yield from _protobuf_file.read(data)
    except ValueError as error:
        yield Unreadable("the file", str(error))


def _items(documents: Iterator[tuple[str, JsonValue | ValueError]]) -> Iterator[RawSpan | LogRecord | Skipped | Unreadable]:
    sessions: dict[Session, list[Mapping[str, JsonValue]]] = {}
    for where, document in documents:
        session = session_of(document) if isinstance(document, Mapping) else None
        if session is not None and isinstance(document, Mapping):
            sessions.setdefault(session, []).append(document)
            continue
        if isinstance(document, ValueError):
            yield Unreadable(where, str(document))
            continue
        try:
            items = spans_of(document)
        except (ValueError, RecursionError) as error:
            yield Unreadable(where, str(error) or "nested too deeply")
            continue
        if items is None:
            yield Unreadable(where, _unknown(document))
        for item in items or ():
            yield Unreadable(where, item) if isinstance(item, str) else item
    for session, lines in sessions.items():
        yield from session.read(lines)


def session_of(document: Mapping[str, JsonValue]) -> Session | None:
    """Return the format of sessions that a line of a file belongs to, or None."""
    return next((session for session in SESSIONS if session.knows(document)), None)


def _unknown(document: JsonValue) -> str:
    first = document[0] if isinstance(document, list) and document else document
    names = list(first)[:_MAX_NAMES] if isinstance(first, Mapping) else []
    return "JSON, but no spans in a known form" + (f" (it has {', '.join(names)})" if names else "")


def spans_of(document: JsonValue) -> list[Item] | None:
    """Read a JSON value: an object, a list of objects, or a table by its columns. Returns None if its form is unknown.

    Raises ValueError if the value is nested too deeply.
    """
    if isinstance(document, list):
        items_of = [spans_of(item) if isinstance(item, Mapping) else None for item in document]
        if all(items is None for items in items_of):
            return None if items_of else []
        pairs = zip(document, items_of, strict=True)
        return [item for value, items in pairs for item in ([_unknown(value)] if items is None else items)]
    if not isinstance(document, Mapping):
        return None
    rows = _tables.rows_of_columns(document)
    if rows is not None:
        return spans_of(rows)
    for form in FORMS:
        spans = form.read(document)
        if spans is not None:
            return spans
    return None
