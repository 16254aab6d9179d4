"""OTLP's protobuf encoding of raw spans, and what JSON shares with it. `otlp` has the laws of both encodings.

``opentelemetry.proto`` is imported by the first call: it takes longer to load than all of llmtrace, and most programs send
nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from llmtrace.codec import json_text
from llmtrace.model import Event, JsonValue, Kind, Link, RawSpan, Scope

KINDS: Final[tuple[Kind, ...]] = ("internal", "internal", "server", "client", "producer", "consumer")
"""Span kinds by OTLP number. 0 is "unspecified", which is read as internal."""
KIND_NUMBERS: Final[dict[Kind, int]] = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
STATUSES: Final[tuple[Literal["unset", "ok", "error"], ...]] = ("unset", "ok", "error")
"""Status codes by OTLP number."""
MAX_DEPTH: Final = 24
"""Lists and dicts nested deeper are written as JSON text. Protobuf readers stop at 100 nested messages; a level needs three."""

_BIG: Final = b"llmtrace:int:"


class Group(NamedTuple):
    """Spans of one resource and one scope."""

    scope: Scope
    spans: list[RawSpan]


def group_spans(spans: Iterable[RawSpan]) -> list[tuple[RawSpan, list[Group]]]:
    """Group spans by resource, then by scope, in order of first appearance. The first span of each resource is returned too."""
    resources: dict[str, tuple[RawSpan, dict[tuple[str, str], Group]]] = {}
    texts: dict[int, str] = {}  # spans of one process share one resource object, so that its text is written once
    for span in spans:
        text = texts.get(id(span.resource))
        if text is None:  # compare texts, since in Python 1 == True == 1.0
            text = texts[id(span.resource)] = json_text.write(span.resource)
        _, groups = resources.setdefault(text, (span, {}))
        scope = (span.scope.name, span.scope.version)
        groups.setdefault(scope, Group(span.scope, [])).spans.append(span)
    return [(first, list(groups.values())) for first, groups in resources.values()]


def is_int64(value: int) -> bool:
    return -(1 << 63) <= value < 1 << 63


def bytes_of_int(value: int) -> bytes:
    """Encode an integer beyond 64 bits."""
    return _BIG + str(value).encode()


def value_of_bytes(data: bytes) -> JsonValue:
    """Decode an integer that `bytes_of_int` encoded. Other bytes become base64 text, since JSON has no bytes."""
    if data.startswith(_BIG):
        try:
            return int(data[len(_BIG) :])
        except ValueError:
            pass
    return base64.b64encode(data).decode()


# -- writing


def to_protobuf(spans: Sequence[RawSpan]) -> bytes:
    """Write one serialised ExportTraceServiceRequest. Raises ValueError if an id is not hex."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    data = TracesData()  # on the wire the same as ExportTraceServiceRequest
    for first, groups in group_spans(spans):
        resource_spans = data.resource_spans.add()
        _set_attributes(resource_spans.resource.attributes, first.resource)
        for scope, members in groups:
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.scope.name, scope_spans.scope.version = _utf8(scope.name), _utf8(scope.version)
            for span in members:
                _set_span(scope_spans.spans.add(), span)
    serialised: bytes = data.SerializeToString()
    return serialised


def _set_span(out: Any, span: RawSpan) -> None:
    out.trace_id, out.span_id = bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id)
    if span.parent_id is not None:
        out.parent_span_id = bytes.fromhex(span.parent_id)
    out.name, out.kind = _utf8(span.name), KIND_NUMBERS[span.kind]
    out.start_time_unix_nano, out.end_time_unix_nano = span.start, span.end or 0
    out.status.code, out.status.message = STATUSES.index(span.status), _utf8(span.status_message)
    _set_attributes(out.attributes, span.attributes)
    for event in span.events:
        target = out.events.add()
        target.name, target.time_unix_nano = _utf8(event.name), event.time
        _set_attributes(target.attributes, event.attributes)
    for link in span.links:
        target = out.links.add()
        target.trace_id, target.span_id = bytes.fromhex(link.trace_id), bytes.fromhex(link.span_id)
        _set_attributes(target.attributes, link.attributes)


def _set_attributes(out: Any, attributes: Mapping[str, JsonValue], depth: int = 0) -> None:
    for key, value in attributes.items():
        pair = out.add()
        pair.key = _utf8(str(key))
        _set_value(pair.value, value, depth)


def _set_value(out: Any, value: JsonValue, depth: int) -> None:
    if isinstance(value, str):
        out.string_value = _utf8(value)
    elif value is None:
        out.SetInParent()
    elif isinstance(value, bool):
        out.bool_value = value
    elif isinstance(value, int):
        if is_int64(value):
            out.int_value = value
        else:
            out.bytes_value = bytes_of_int(value)
    elif isinstance(value, float):
        out.double_value = value
    else:
        _set_nested(out, value, depth)


def _set_nested(out: Any, value: JsonValue, depth: int) -> None:
    if isinstance(value, bytes):
        out.bytes_value = value
    elif depth >= MAX_DEPTH or not isinstance(value, (Mapping, list, tuple)):
        out.string_value = json_text.write(value)
    elif isinstance(value, Mapping):
        out.kvlist_value.SetInParent()
        _set_attributes(out.kvlist_value.values, value, depth + 1)
    else:
        out.array_value.SetInParent()
        for item in value:
            _set_value(out.array_value.values.add(), item, depth + 1)


def _utf8(text: str) -> str:
    """Replace lone surrogates by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# -- reading


def from_protobuf(data: bytes) -> list[RawSpan]:
    """Read the spans of one serialised ExportTraceServiceRequest. Raises ValueError if it is not one."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    try:
        request = TracesData.FromString(data)
    except Exception as error:  # google.protobuf's DecodeError
        raise ValueError(f"not an OTLP request: {error}") from None
    spans = []
    for group in request.resource_spans:
        resource = read_attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            scope = Scope(scoped.scope.name, scoped.scope.version)
            spans += [_span(item, resource, scope) for item in scoped.spans if _has_valid_ids(item)]
    return spans


def _has_valid_ids(item: Any) -> bool:
    return read_id(item.trace_id, 16) is not None and read_id(item.span_id, 8) is not None


def read_id(data: bytes, size: int) -> str | None:
    """Read an id of ``size`` bytes as hex. Returns None if it is absent, invalid or all zero."""
    return data.hex() if len(data) == size and any(data) else None


def _span(item: Any, resource: dict[str, JsonValue], scope: Scope) -> RawSpan:
    return RawSpan(
        trace_id=item.trace_id.hex(),
        span_id=item.span_id.hex(),
        name=item.name,
        start=_time(item.start_time_unix_nano),
        end=_time(item.end_time_unix_nano) or None,
        parent_id=read_id(item.parent_span_id, 8),
        kind=KINDS[item.kind] if item.kind < len(KINDS) else "internal",
        status=STATUSES[item.status.code] if item.status.code < len(STATUSES) else "unset",
        status_message=item.status.message,
        attributes=read_attributes(item.attributes),
        events=tuple(
            [Event(event.name, _time(event.time_unix_nano), read_attributes(event.attributes)) for event in item.events]
        ),
        links=tuple(
            [
                Link(link.trace_id.hex(), link.span_id.hex(), read_attributes(link.attributes))
                for link in item.links
                if _has_valid_ids(link)
            ]
        ),
        resource=resource,
        scope=scope,
    )


def read_attributes(pairs: Iterable[Any]) -> dict[str, JsonValue]:
    return {pair.key: read_value(pair.value) for pair in pairs}


def read_value(value: Any) -> JsonValue:
    """Read an AnyValue."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind == "array_value":
        return [read_value(item) for item in content.values]
    if kind == "kvlist_value":
        return read_attributes(content.values)
    return value_of_bytes(content) if kind == "bytes_value" else content


def _time(number: int) -> int:
    """Return a time, or 0 for one after the year 2262, which SQLite does not hold; as `otlp.read_time` does."""
    return number if number < 1 << 63 else 0
