"""Limits of a request's content. It is counted before parsing, because few bytes can become large objects."""

from __future__ import annotations

from typing import Any, Final

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
