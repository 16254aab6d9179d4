"""Reads tables with a row for each span or trace: CSV and parquet, as products and pandas write them.

A row becomes an object with its cells, without the empty ones. Law: a broken row does not affect the others.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO, Final

from llmtrace.model import JsonValue

PARQUET: Final = b"PAR1"
_DELIMITERS: Final = (",", ";", "\t")
_IDS: Final = frozenset({"id", "trace_id", "traceid", "span_id", "context.span_id", "context.trace_id", "request_id"})
_LONGEST_CELL: Final = (1 << 31) - 1
_ROWS: Final = 64
"""Number of rows of a parquet file in memory at a time."""


def is_csv(head: bytes) -> bool:
    """Return True if the first line of the file has column names, with an id among them."""
    return _delimiter(head) is not None


def _delimiter(head: bytes) -> str | None:
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    if line[:1] in ("{", "["):
        return None
    for delimiter in _DELIMITERS:
        names = [name.strip().strip('"').lower() for name in line.split(delimiter)]
        if len(names) > 2 and not _IDS.isdisjoint(names):
            return delimiter
    return None


def read_csv(file: BinaryIO, head: bytes) -> Iterator[tuple[str, JsonValue | ValueError]]:
    csv.field_size_limit(_LONGEST_CELL)  # the default, 128 KiB, is too short for prompts
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    rows = csv.reader(text, delimiter=_delimiter(head) or ",", strict=True)
    names = next(rows)
    line = rows.line_num + 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {line}", ValueError(f"not CSV ({error}); the file may be cut off")
            return
        if row and len(row) != len(names):
            yield f"line {line}", ValueError(f"{len(row)} cells, but {len(names)} columns; the file may be cut off")
        elif row:
            yield f"line {line}", {name: cell for name, cell in zip(names, row, strict=True) if cell != ""}
        line = rows.line_num + 1


def read_parquet(file: BinaryIO) -> Iterator[tuple[str, JsonValue | ValueError]]:
    """Yield the rows. Parquet is read from its end, so the file is copied to a temporary one first."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        yield "the file", ValueError("parquet needs pyarrow. Run: pip install 'llmtrace-otel[parquet]', or export as JSON")
        return
    number = 0
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        try:
            for batch in ParquetFile(copy).iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", {name: _plain(cell) for name, cell in row.items() if cell is not None}
        except (ArrowException, OSError, ValueError) as error:
            yield f"row {number + 1}", ValueError(f"not parquet ({str(error).splitlines()[0]}); the file may be cut off")


def _plain(value: Any) -> Any:
    """Convert a cell to JSON. Null members of a struct are omitted: the writer did not set them."""
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):  # a map is a list of pairs
        return {str(name): _plain(member) for name, member in value if member is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):  # UTC if it has no time zone
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def rows_of_columns(document: Mapping[str, JsonValue]) -> list[JsonValue] | None:
    """Read the rows of a table by columns: pandas' ``to_json()``. Returns None if the document is not such a table."""
    if len(document) < 2 or not all(isinstance(column, Mapping) for column in document.values()):
        return None
    if _IDS.isdisjoint(name.lower() for name in document):
        return None
    cells = [(name, column) for name, column in document.items() if isinstance(column, Mapping)]
    return [{name: column.get(row) for name, column in cells} for row in cells[0][1]]
