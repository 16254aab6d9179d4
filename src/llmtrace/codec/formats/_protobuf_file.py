"""Reads OTLP protobuf from a file: one message, or many with a length before each, as the Collector's file exporter writes."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.codec import otlp
from llmtrace.model import RawSpan


def is_protobuf(head: bytes) -> bool:
    """Return True if a file with this beginning is binary. A message begins with a tag, which is a line break, and a length."""
    first, second = head[:1], head[1:2]
    if first == b"\n":
        if second in (b"{", b"["):  # a message of 123 or 91 bytes, or JSON after an empty line
            return head[2:3] == b"\n" and head[3:4] not in (b" ", b"\t", b"\n", b"\r", b'"', b"{", b"[", b"}", b"]")
        return second != b"" and not second.isspace()
    if first == b"" or first in b"{[ \t\r\xef":
        return False
    # before the first message: a length of four bytes (below 64 MiB), or a varint
    size, place = _varint(head, 0)
    return (head[0] < 4 and head[4:5] == b"\n") or (size is not None and head[place : place + 1] == b"\n")


def read(data: bytes) -> Iterator[RawSpan]:
    """Yield the spans. Raises ValueError at the first message that is broken or cut off.

    The length before each message is a varint, or four big-endian bytes.
    """
    if data[:1] == b"\n":
        try:
            yield from otlp.from_protobuf(data)
            return
        except ValueError:
            if _varint(data, 0)[0] is None:
                raise ValueError("neither text nor OTLP as protobuf") from None
    has_four_bytes = int.from_bytes(data[:4], "big") + 4 <= len(data) and data[4:5] == b"\n"
    place = number = 0
    while place < len(data):
        number += 1
        size, start = (int.from_bytes(data[place : place + 4], "big"), place + 4) if has_four_bytes else _varint(data, place)
        if size is None or start + size > len(data):
            raise ValueError(f"OTLP as protobuf, message {number}: the file is cut off there")
        try:
            spans = otlp.from_protobuf(data[start : start + size])
        except ValueError:
            raise ValueError(f"OTLP as protobuf, message {number}: it cannot be read") from None
        yield from spans
        place = start + size


def _varint(data: bytes, place: int) -> tuple[int | None, int]:
    """Read a protobuf varint. Returns the number, or None if it is invalid, and the place after it."""
    size = 0
    for shift in range(0, 35, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return size, place
    return None, place
