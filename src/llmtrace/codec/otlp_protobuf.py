"""OTLP's protobuf encoding of raw spans. `otlp` has the laws of both encodings.

``opentelemetry.proto`` is imported by the first call: it takes longer to load than all of llmtrace, and most programs send
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmtrace.codec import json_text, otlp_values
from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope


def to_protobuf(spans: Sequence[RawSpan]) -> bytes:
    """Write one serialised ExportTraceServiceRequest. Raises ValueError if an id is not hex."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    data = TracesData()  # on the wire the same as ExportTraceServiceRequest
    for first, groups in otlp_values.group_spans(spans):
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
    out.name, out.kind = _utf8(span.name), otlp_values.KIND_NUMBERS[span.kind]
    out.start_time_unix_nano, out.end_time_unix_nano = span.start, span.end or 0
    out.status.code, out.status.message = otlp_values.STATUSES.index(span.status), _utf8(span.status_message)
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
        if otlp_values.is_int64(value):
            out.int_value = value
        else:
            out.bytes_value = otlp_values.bytes_of_int(value)
    elif isinstance(value, float):
        out.double_value = value
    else:
        _set_nested(out, value, depth)


def _set_nested(out: Any, value: JsonValue, depth: int) -> None:
    if isinstance(value, bytes):
        out.bytes_value = value
    elif depth >= otlp_values.MAX_DEPTH or not isinstance(value, (Mapping, list, tuple)):
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
        start=item.start_time_unix_nano,
        end=item.end_time_unix_nano or None,
        parent_id=read_id(item.parent_span_id, 8),
        kind=otlp_values.KINDS[item.kind] if item.kind < len(otlp_values.KINDS) else "internal",
        status=otlp_values.STATUSES[item.status.code] if item.status.code < len(otlp_values.STATUSES) else "unset",
        status_message=item.status.message,
        attributes=read_attributes(item.attributes),
        events=tuple([Event(event.name, event.time_unix_nano, read_attributes(event.attributes)) for event in item.events]),
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
    return otlp_values.value_of_bytes(content) if kind == "bytes_value" else content
