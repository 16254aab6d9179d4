"""Reads an OTLP request: from the bytes on the wire to spans or log records, within limits.

Law: invalid bytes raise `Refused` and nothing else.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llmtrace.codec import json_text, log_records, otlp
from llmtrace.codec.log_records import LogRecord
from llmtrace.model import RawSpan

MAX_BYTES = 64 << 20
"""Maximum size of a request in bytes, both compressed and unpacked."""
MAX_SPANS: Final = 50_000
"""Spans in a request. OpenTelemetry's processor sends 512."""
MAX_FIELDS: Final = 1_000_000
"""Fields of all messages in a protobuf request; objects, lists and members in JSON."""
SMALL_BYTES: Final = 256 << 10
"""A request of at most this size cannot have too many fields."""

_Table = dict[int, Any]
_VALUE: _Table = {}
_PAIR: _Table = {2: _VALUE}
_VALUE.update({5: {1: _VALUE}, 6: {1: _PAIR}})
_SPAN: _Table = {9: _PAIR, 11: {3: _PAIR}, 13: {4: _PAIR}}
_REQUEST: _Table = {1: {1: {1: _PAIR}, 2: {1: {3: _PAIR}, 2: _SPAN}}}
"""The fields of ExportTraceServiceRequest, by number, that contain further messages."""
_FIXED: Final = {1: 8, 5: 4}
"""Size in bytes of a field with a fixed length, by its wire type."""
_ONLY_SPANS: _Table = {1: {2: {2: _SPAN}}}

T = TypeVar("T")
TakeSpans = Callable[[list[RawSpan]], int]
"""Stores spans. Returns the number of stored ones."""
TakeLogs = Callable[[list[LogRecord]], None]
"""Joins log records to their spans."""

_at_a_time = threading.BoundedSemaphore(2)

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Refused(Exception):
    """The request is not accepted. ``status`` is the HTTP status; the message says what is wrong and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def unpack(body: bytes, encoding: str) -> bytes:
    """Decompress a request's body. Raises Refused."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refused(415, f"content-encoding {encoding!r} is not supported. Send gzip, or no encoding")
    unpacker = zlib.decompressobj(wbits=47 if encoding == "gzip" else zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(body, MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise Refused(413, f"the unpacked request is larger than {MAX_BYTES >> 20} MiB. Send smaller batches")
        if not unpacker.eof:
            raise Refused(400, f"the {encoding} data is cut off")
    except zlib.error as error:
        raise Refused(400, f"not {encoding} data: {error}") from None
    return data


def store(body: bytes, encoding: str, content_type: str, take: TakeSpans) -> tuple[int, str]:
    """Store the spans of a request by ``take``. Returns the number of rejected spans, and the reason. Raises Refused.

    At most two requests are parsed at a time, because a parsed request takes many times the memory of its bytes.
    """
    with _at_a_time:
        data = unpack(body, encoding)
        spans, total = read(data, content_type, "spans", lambda total: (otlp.from_protobuf(data), total), _spans_from_json)
        unread = len(spans) - take(spans)
    invalid = max(0, total - len(spans))
    why = [f"{invalid} without a valid trace id and span id"] if invalid else []
    why += [f"{unread} could not be read"] if unread else []
    return invalid + unread, "; ".join(why)


def _spans_from_json(document: Mapping[str, Any]) -> tuple[list[RawSpan], int]:
    """Return the spans with valid ids, and the number of all spans."""
    refuse_other_signals(document, "resourceSpans", "resource_spans")
    total = otlp.count_json(document)
    if total > MAX_SPANS:
        raise TooMany(f"more than {MAX_SPANS:,} spans")
    return otlp.from_json(document), total


def read(
    data: bytes,
    content_type: str,
    name: str,
    from_protobuf: Callable[[int], T],
    from_json: Callable[[Mapping[str, Any]], T],
) -> T:
    """Read a request within the limits. ``name``: of the counted items; ``from_protobuf`` gets their number. Raises Refused."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == PROTOBUF:
            return from_protobuf(count_protobuf(data))
        if kind == JSON:
            check_json(data)
            document = json_text.read(data.decode())
            if isinstance(document, Mapping):
                return from_json(document)
            raise Refused(400, "not an OTLP request: the body is not a JSON object")
    except TooMany as excess:
        raise Refused(413, f"the request has {str(excess).replace('spans', name)}. Send smaller batches") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, str(error) or "not an OTLP request") from None
    raise Refused(415, f"content-type {kind or 'none'!r} is not OTLP. Send {PROTOBUF} or {JSON}")


_SIGNALS = {
    "resourceSpans": "spans, which go to /v1/traces",
    "resourceLogs": "log records, which go to /v1/logs",
    "resourceMetrics": "metrics, which go to /v1/metrics and are not stored",
    "resourceProfiles": "profiles, which are not stored",
}


def refuse_other_signals(document: Mapping[str, Any], *names: str) -> None:
    """Raise Refused if a JSON request contains another signal instead of the expected one."""
    other_signal = next((text for name, text in _SIGNALS.items() if name in document and name not in names), None)
    if other_signal is not None and not any(name in document for name in names):
        raise Refused(400, f"the body holds {other_signal}")


def store_logs(body: bytes, encoding: str, content_type: str, take: TakeLogs) -> None:
    """Pass the log records of a request to ``take``, which adds them to their spans. Raises Refused."""
    data = unpack(body, encoding)
    # the span limit works for log records too: both have the same place in their request
    records = read(data, content_type, "records", lambda _: log_records.from_protobuf(data), _logs_from_json)
    if records:
        take(records)


def _logs_from_json(document: Mapping[str, Any]) -> list[LogRecord]:
    refuse_other_signals(document, "resourceLogs", "resource_logs")
    return log_records.from_json(document)


def success(rejected: int, why: str) -> bytes:
    """Return the protobuf answer to an accepted request, of which ``rejected`` spans were not stored."""
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = why
    data: bytes = response.SerializeToString()
    return data


# -- limits, which are checked before parsing, because few bytes can become large objects


class TooMany(Exception):
    """The request is over a limit; the message says which."""


def count_protobuf(data: bytes) -> int:
    """Return the number of spans in a protobuf request. Stops at bytes that are not protobuf. Raises TooMany."""
    is_small = len(data) <= SMALL_BYTES
    try:
        return _count(data, _ONLY_SPANS if is_small else _REQUEST, into_spans=not is_small)
    except LookupError:  # truncated, or an unknown wire type: the parser will report it
        return 0


def _count(data: bytes, table: _Table, *, into_spans: bool) -> int:
    spans = fields = 0
    messages = [(0, len(data), table)]
    while messages:
        at, end, table = messages.pop()
        while at < end and fields <= MAX_FIELDS and spans <= MAX_SPANS:
            fields += 1
            tag, at = _varint(data, at)
            wire = tag & 7
            if wire == 2:
                size, at = _varint(data, at)
                inner = table.get(tag >> 3)
                if inner is not None:
                    spans += inner is _SPAN
                    if into_spans or inner is not _SPAN:
                        messages.append((at, min(at + size, end), inner))
                at += size
            elif wire == 0:
                _, at = _varint(data, at)
            else:
                at += _FIXED[wire]
        if spans > MAX_SPANS:
            raise TooMany(f"more than {MAX_SPANS:,} spans")
        if fields > MAX_FIELDS:
            raise TooMany(f"more than {MAX_FIELDS:,} fields")
    return spans


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the offset after it. Raises IndexError at the end of the data."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while byte >= 0x80 and shift < 70:
        at += 1
        byte = data[at]
        number |= (byte & 0x7F) << shift
        shift += 7
    return number, at + 1


def check_json(data: bytes) -> None:
    """Raise TooMany for JSON text with too many values. Brackets and commas inside texts count too."""
    if data.count(b"{") + data.count(b"[") + data.count(b",") // 4 > MAX_FIELDS:
        raise TooMany(f"more than {MAX_FIELDS:,} values")
