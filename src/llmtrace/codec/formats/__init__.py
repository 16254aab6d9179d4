"""Read files of spans. The format is recognised by content, never by file name.

OTLP as JSON or protobuf, what the SDK's console exporter prints, Jaeger's JSON, and records of a span each as tables of spans
hold them; gzip'd or not. A form of JSON is one file here with ``read(document)``, which gives the spans of one JSON object, or
None if it has another format; the folder is the registry. Law: unreadable parts are reported with their place.
"""

from __future__ import annotations

import gzip
import pkgutil
import zlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, cast

from llmtrace.codec.formats import _json_documents, _protobuf_file
from llmtrace.codec.log_records import LogRecord
from llmtrace.model import JsonValue, RawSpan

EXPECTED: Final = "OTLP (JSON, JSON lines or protobuf), the console exporter's output, Jaeger's JSON, or a record for each span"


class Unreadable(NamedTuple):
    """A part of a file that cannot be read as spans."""

    where: str
    """``line 3``, ``message 2``: counted from 1."""
    reason: str


class Form(Protocol):
    def read(self, document: Mapping[str, JsonValue]) -> list[RawSpan | LogRecord | str] | None:
        """The spans and the log records of a JSON object, with a text in place of one that cannot be read. None: it is of
        another form."""
        ...


FORMS: Final[tuple[Form, ...]] = tuple(
    cast("Form", import_module(f"{__name__}.{module.name}"))
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: (module.name == "span_records", module.name))
    if not module.name.startswith("_")
)
"""In the order in which they are asked; `span_records`, which accepts the most, comes last."""


def read(file: BinaryIO) -> Iterator[RawSpan | LogRecord | Unreadable]:
    """Every span of a file and every log record that belongs to a span, in order, and what could not be read.

    The file is read as it goes, not whole where it has lines.
    """
    try:
        file, head = _unpacked(file)
        if _protobuf_file.is_protobuf(head):
            yield from _messages(file.read())
        else:
            yield from _documents_of(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Unreadable("the end", f"the gzip data is cut off or broken ({error})")


def _unpacked(file: BinaryIO) -> tuple[BinaryIO, bytes]:
    """The file without its compression, and how it begins."""
    buffered = _json_documents.Peekable(file)
    if buffered.peek(2) == b"\x1f\x8b":
        buffered = _json_documents.Peekable(cast("BinaryIO", gzip.GzipFile(fileobj=cast("Any", buffered))))
    return cast("BinaryIO", buffered), buffered.peek(_protobuf_file.HEAD)


def _messages(data: bytes) -> Iterator[RawSpan | Unreadable]:
    try:
        yield from _protobuf_file.read(data)
    except ValueError as error:
        yield Unreadable("the file", str(error))


def _documents_of(file: BinaryIO) -> Iterator[RawSpan | LogRecord | Unreadable]:
    for number, document in _json_documents.read(file):
        where = f"line {number}"
        if isinstance(document, ValueError):
            yield Unreadable(where, f"not JSON ({document})")
            continue
        try:
            module = spans_of(document)
        except (ValueError, RecursionError) as error:
            yield Unreadable(where, str(error) or "nested too deeply")
            continue
        if module is None:
            yield Unreadable(where, "JSON, but no spans in a form that is known")
        for item in module or ():
            yield Unreadable(where, item) if isinstance(item, str) else item


def spans_of(document: JsonValue) -> list[RawSpan | LogRecord | str] | None:
    """The spans of a JSON value, and what is wrong with those that cannot be read. None: it is of no form that is known.

    The value is an object, or a list of such. Raises ValueError where it is nested too deeply.
    """
    if isinstance(document, list):
        span_lists = [spans_of(item) if isinstance(item, Mapping) else None for item in document]
        return None if None in span_lists else [item for spans in span_lists for item in spans or ()]
    if not isinstance(document, Mapping):
        return None
    for form in FORMS:
        spans = form.read(document)
        if spans is not None:
            return spans
    return None
