"""One OTLP request of log records: those that belong to a span are added to it, all others are dropped.

Law: invalid bytes raise `Refused` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmtrace.codec import log_records
from llmtrace.codec.log_records import LogRecord
from llmtrace.receiver.request import read, refuse_other_signals, unpack

TakeLogs = Callable[[list[LogRecord]], None]


def store(body: bytes, encoding: str, content_type: str, take: TakeLogs) -> None:
    """Hand the records of a request to ``take``. Raises Refused."""
    data = unpack(body, encoding)
    # they are counted as spans: log records have the place in their request that spans have in theirs
    records = read(data, content_type, "records", lambda _: log_records.from_protobuf(data), _from_json)
    if records:
        take(records)


def _from_json(document: Mapping[str, Any]) -> list[LogRecord]:
    refuse_other_signals(document, "resourceLogs", "resource_logs")
    return log_records.from_json(document)
