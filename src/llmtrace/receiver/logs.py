"""One OTLP request of log records: those that belong to a span are added to it, all others are dropped.

Law: invalid bytes raise `Refused` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmtrace.codec import json_text, log_records
from llmtrace.codec.log_records import LogRecord
from llmtrace.receiver import limits
from llmtrace.receiver.request import JSON, PROTOBUF, Refused, refuse_other_signals, unpack

TakeLogs = Callable[[list[LogRecord]], None]


def store(body: bytes, encoding: str, content_type: str, take: TakeLogs) -> None:
    """Hand the records of a request to ``take``. Raises Refused."""
    records = _parse(unpack(body, encoding), content_type)
    if records:
        take(records)


def _parse(data: bytes, content_type: str) -> list[LogRecord]:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == PROTOBUF:
            limits.count_protobuf(data)  # log records have the place in their request that spans have in theirs
            return log_records.from_protobuf(data)
        if kind == JSON:
            limits.check_json(data)
            document = json_text.read(data.decode())
            if not isinstance(document, Mapping):
                raise Refused(400, "not an OTLP request: the body is not a JSON object")
            refuse_other_signals(document, "resourceLogs", "resource_logs")
            return log_records.from_json(document)
    except limits.TooMany as excess:
        raise Refused(413, f"the request has {str(excess).replace('spans', 'records')}. Send smaller batches") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, str(error) or "not an OTLP request") from None
    raise Refused(415, f"content-type {kind or 'none'!r} is not OTLP. Send {PROTOBUF} or {JSON}")
