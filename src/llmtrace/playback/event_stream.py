"""AWS's event streams (``application/vnd.amazon.eventstream``): messages of headers and a payload, with lengths and checksums.

Source: the encoding that "Amazon Transcribe: Event stream encoding" describes; Amazon Bedrock streams its answers in it.
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
    """The whole messages of a body, and what is left behind them: a stream may have been cut."""
    whole: list[Message] = []
    while len(body) >= _PRELUDE + _CHECKSUM.size:
        size, headers = _LENGTHS.unpack_from(body)
        if not _PRELUDE + headers + _CHECKSUM.size <= size <= len(body):
            break
        whole.append(Message(body[_PRELUDE : _PRELUDE + headers], body[_PRELUDE + headers : size - _CHECKSUM.size]))
        body = body[size:]
    return whole, body
