"""Reads OTLP protobuf from a file: one message, or many with a length before each, as the Collector's file exporter writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from llmtrace.codec import otlp
from llmtrace.model import RawSpan

_JSON: Final = re.compile(rb"\s*[{\[]\s*[\"{\[\]}]")


def is_protobuf(head: bytes) -> bool:
    """Return True if a file with this beginning is binary. A message begins with a tag, which is a line break.

    The tags of scopes and spans are control characters. Text may have some too: colours in a log, zeros after a crash.
    """
    if _JSON.match(head) or not any(byte < ord(" ") and byte not in b"\t\n\r" for byte in head):
        return False
    size, place = _varint(head, 0)
    has_varint, has_four_bytes = size is not None and head[place : place + 1] == b"\n", head[0] < 4 and head[4:5] == b"\n"
    return head[:1] == b"\n" or has_varint or has_four_bytes


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
