"""One OTLP request: from the bytes on the wire to spans, within limits. Law: what is no request raises `Refused`, only that."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from llmtrace.codec import json_text, otlp
from llmtrace.model import RawSpan

MAX_BYTES = 64 << 20
"""The largest request, in bytes, as it is sent and again when it is unpacked."""

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Refused(Exception):
    """``status`` is the HTTP status; the message says what is wrong and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(NamedTuple):
    spans: list[RawSpan]
    total: int
    """Spans in the request, those included that have no valid id."""


def unpack(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding. Raises Refused."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Refused(415, f"content-encoding {encoding!r} is not known; send gzip or none")
    unpacker = zlib.decompressobj(wbits=47 if encoding == "gzip" else zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(body, MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise Refused(413, f"the request unpacks to more than {MAX_BYTES >> 20} MiB; send smaller batches")
        if not unpacker.eof:
            raise Refused(400, f"the {encoding} data is cut off")
    except zlib.error as error:
        raise Refused(400, f"not {encoding} data: {error}") from None
    return data


def parse(data: bytes, content_type: str) -> Request:
    """The spans of a request. Raises Refused."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == PROTOBUF:
            return Request(otlp.from_protobuf(data), _count_protobuf(data))
        if kind == JSON:
            said = json_text.read(data.decode())
            if not isinstance(said, Mapping):
                raise Refused(400, "not an OTLP request: no JSON object")
            return Request(otlp.from_json(said), _count_json(said))
    except (ValueError, RecursionError) as error:
        raise Refused(400, str(error) or "not an OTLP request") from None
    raise Refused(415, f"content-type {kind or 'none'!r} is not OTLP; send {PROTOBUF} or {JSON}")


def _count_protobuf(data: bytes) -> int:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    return sum(len(scoped.spans) for group in TracesData.FromString(data).resource_spans for scoped in group.scope_spans)


def _count_json(said: Mapping[str, Any]) -> int:
    groups = _lists(said, "resourceSpans", "resource_spans")
    scoped = [one for group in groups for one in _lists(group, "scopeSpans", "scope_spans")]
    return sum(len(_lists(one, "spans")) for one in scoped)


def _lists(held: Any, *names: str) -> list[Any]:
    found: Any = next((held[name] for name in names if name in held), []) if isinstance(held, Mapping) else []
    return found if isinstance(found, list) else []


def partial(request: Request, stored: int) -> tuple[int, str]:
    """How many spans of a request were refused, and why; (0, "") where none was."""
    invalid = request.total - len(request.spans)
    unread = len(request.spans) - stored
    why = [f"{invalid} without a valid trace id and span id"] if invalid > 0 else []
    why += [f"{unread} could not be read"] if unread > 0 else []
    return max(0, invalid) + max(0, unread), "; ".join(why)
