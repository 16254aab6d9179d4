"""Reads and writes AWS's event streams (``application/vnd.amazon.eventstream``), whose messages have headers, a payload,
lengths and checksums.

Source: "Amazon Transcribe: Event stream encoding"; Amazon Bedrock streams its answers in the same encoding.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

MEDIA_TYPE = "application/vnd.amazon.eventstream"
_LENGTHS = struct.Struct("!II")
_CHECKSUM = struct.Struct("!I")
_PRELUDE = _LENGTHS.size + _CHECKSUM.size


class Message(NamedTuple):
    headers: bytes
    payload: bytes

    def encoded(self) -> bytes:
        size = _PRELUDE + len(self.headers) + len(self.payload) + _CHECKSUM.size
        lengths = _LENGTHS.pack(size, len(self.headers))
        message = lengths + _CHECKSUM.pack(zlib.crc32(lengths)) + self.headers + self.payload
        return message + _CHECKSUM.pack(zlib.crc32(message))


def messages(body: bytes) -> tuple[list[Message], bytes]:
    """Return the complete messages of a body, and the bytes after them: a stream may have been cut."""
    whole: list[Message] = []
    while len(body) >= _PRELUDE + _CHECKSUM.size:
        size, headers = _LENGTHS.unpack_from(body)
        if not _PRELUDE + headers + _CHECKSUM.size <= size <= len(body):
            break
        whole.append(Message(body[_PRELUDE : _PRELUDE + headers], body[_PRELUDE + headers : size - _CHECKSUM.size]))
        body = body[size:]
    return whole, body
