"""Converts raw spans to OTLP and back: JSON (one request in a line) here, protobuf in `otlp_protobuf`.

Laws: ``from_json(to_json_line([raw])) == [raw]`` and ``from_protobuf(to_protobuf([raw])) == [raw]``. Spans are grouped by
resource and scope; within a group they keep their order. A span that has not ended has the end 0.

What OTLP cannot express: an integer beyond 64 bits is written as bytes (``llmtrace:int:`` and its digits), values nested deeper
than 24 levels as JSON text, and a lone surrogate in protobuf as U+FFFD. What a `RawSpan` cannot express is lost on reading:
trace state, flags, schema URLs, dropped counts and attributes of a scope. Bytes of other writers become base64 text. Spans and
links without a valid id are skipped.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from llmtrace.codec import json_members, json_text, otlp_protobuf
from llmtrace.codec.otlp_protobuf import from_protobuf, to_protobuf
from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope

__all__ = [
    "count_json",
    "from_json",
    "from_protobuf",
    "read_attributes",
    "read_id",
    "read_time",
    "read_value",
    "to_json_line",
    "to_protobuf",
]

Json: TypeAlias = dict[str, Any]


# -- writing JSON


def to_json_line(spans: Sequence[RawSpan]) -> bytes:
    """Write one OTLP/JSON request without line breaks. Ids are hex, 64-bit integers are text."""
    groups = [
        {
            "resource": {"attributes": _attributes(first.resource)},
            "scopeSpans": [
                {"scope": {"name": scope.name, "version": scope.version}, "spans": [_span(span) for span in members]}
                for scope, members in groups
            ],
        }
        for first, groups in otlp_protobuf.group_spans(spans)
    ]
    return json_text.write({"resourceSpans": groups}).encode()


def _span(span: RawSpan) -> Json:
    out: Json = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": otlp_protobuf.KIND_NUMBERS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end or 0),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id is not None:
        out["parentSpanId"] = span.parent_id
    if span.events:
        out["events"] = [
            {"timeUnixNano": str(event.time), "name": event.name, "attributes": _attributes(event.attributes)}
            for event in span.events
        ]
    if span.links:
        out["links"] = [
            {"traceId": link.trace_id, "spanId": link.span_id, "attributes": _attributes(link.attributes)}
            for link in span.links
        ]
    out["status"] = {"code": otlp_protobuf.STATUSES.index(span.status)}
    if span.status_message:
        out["status"]["message"] = span.status_message
    return out


def _attributes(attributes: Mapping[str, JsonValue]) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: JsonValue, depth: int = 0) -> Json:
    if isinstance(value, str):
        return {"stringValue": value}
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        if otlp_protobuf.is_int64(value):
            return {"intValue": str(value)}
        value = otlp_protobuf.bytes_of_int(value)
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if depth >= otlp_protobuf.MAX_DEPTH or not isinstance(value, (Mapping, list, tuple)):
        return {"stringValue": json_text.write(value)}
    if isinstance(value, Mapping):
        members = [{"key": str(key), "value": _value(member, depth + 1)} for key, member in value.items()]
        return {"kvlistValue": {"values": members}}
    return {"arrayValue": {"values": [_value(item, depth + 1) for item in value]}}


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# -- reading JSON


def from_json(data: bytes | str | Mapping[str, Any]) -> list[RawSpan]:
    """Read the spans of one OTLP/JSON request. Ids may be hex or base64, names camelCase or snake_case.

    Members of a wrong type are skipped. Raises ValueError if ``data`` is not a JSON object.
    """
    if not isinstance(data, Mapping):
        data = json_text.read(data.decode() if isinstance(data, bytes) else data)
    if not isinstance(data, Mapping):
        raise ValueError("not an OTLP request: expected a JSON object")
    try:
        return list(_read_request(data))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def count_json(document: Mapping[str, Any]) -> int:
    """Count the spans of a request, including those without valid ids."""
    groups = json_members.objects(document, "resourceSpans", "resource_spans")
    scoped = [scope_spans for group in groups for scope_spans in json_members.objects(group, "scopeSpans", "scope_spans")]
    return sum(len(json_members.items(scope_spans, "spans")) for scope_spans in scoped)


def _read_request(data: Mapping[str, Any]) -> Iterator[RawSpan]:
    for group in json_members.objects(data, "resourceSpans", "resource_spans"):
        resource = read_attributes(json_members.object_(group, "resource"))
        for scoped in json_members.objects(group, "scopeSpans", "scope_spans"):
            scope_fields = json_members.object_(scoped, "scope")
            scope = Scope(json_members.text(scope_fields, "name") or "", json_members.text(scope_fields, "version") or "")
            for item in json_members.objects(scoped, "spans"):
                span = _read_span(item, resource, scope)
                if span is not None:
                    yield span


def _read_span(item: Mapping[str, Any], resource: Json, scope: Scope) -> RawSpan | None:
    trace_id, span_id = read_id(item, 16, "traceId", "trace_id"), read_id(item, 8, "spanId", "span_id")
    if trace_id is None or span_id is None:
        return None
    status = json_members.object_(item, "status")
    return RawSpan(
        trace_id=trace_id,
        span_id=span_id,
        name=json_members.text(item, "name") or "",
        start=read_time(item, "startTimeUnixNano", "start_time_unix_nano"),
        end=read_time(item, "endTimeUnixNano", "end_time_unix_nano") or None,
        parent_id=read_id(item, 8, "parentSpanId", "parent_span_id"),
        kind=otlp_protobuf.KINDS[_number(item.get("kind"), "SPAN_KIND_", ("unspecified", *otlp_protobuf.KIND_NUMBERS))],
        status=otlp_protobuf.STATUSES[_number(status.get("code"), "STATUS_CODE_", otlp_protobuf.STATUSES)],
        status_message=json_members.text(status, "message") or "",
        attributes=read_attributes(item),
        events=tuple(_read_events(item)),
        links=tuple(_read_links(item)),
        resource=resource,
        scope=scope,
    )


def _read_events(item: Mapping[str, Any]) -> Iterator[Event]:
    for event in json_members.objects(item, "events"):
        yield Event(
            json_members.text(event, "name") or "",
            read_time(event, "timeUnixNano", "time_unix_nano"),
            read_attributes(event),
        )


def _read_links(item: Mapping[str, Any]) -> Iterator[Link]:
    for link in json_members.objects(item, "links"):
        trace_id, span_id = read_id(link, 16, "traceId", "trace_id"), read_id(link, 8, "spanId", "span_id")
        if trace_id is not None and span_id is not None:
            yield Link(trace_id, span_id, read_attributes(link))


def read_attributes(item: Mapping[str, Any]) -> Json:
    """Read the attributes of a span, event, link, resource or log record."""
    return _read_pairs(json_members.objects(item, "attributes"))


def _read_pairs(pairs: Iterable[Mapping[str, Any]]) -> Json:
    return {(json_members.text(pair, "key") or ""): read_value(pair.get("value")) for pair in pairs}


_TYPES: Final = {
    f"{name}{suffix}": name
    for name in ("string", "bool", "int", "double", "array", "kvlist", "bytes")
    for suffix in ("Value", "_value")
}
"""Types by the member that has the value: ``intValue``, or ``int_value`` as Python's protobuf writes it."""


_CONVERTERS: Final[dict[str, Callable[[Any], JsonValue]]] = {
    "int": int,
    "double": float,
    "bytes": lambda text: otlp_protobuf.value_of_bytes(base64.b64decode(text)),
}


def read_value(value: Any) -> JsonValue:
    """Read an AnyValue."""
    if not isinstance(value, Mapping):
        return value  # some writers leave out the object that names the type
    for name, inner in value.items():
        kind = _TYPES.get(name)
        if kind is None or inner is None:
            continue
        if kind == "array":
            return [read_value(item) for item in json_members.items(json_members.object_(value, name), "values")]
        if kind == "kvlist":
            return _read_pairs(json_members.objects(json_members.object_(value, name), "values"))
        return _convert(inner, _CONVERTERS[kind]) if kind in _CONVERTERS else inner
    return None


def _convert(value: Any, convert: Callable[[Any], JsonValue]) -> JsonValue:
    """Return the converted value, or the value itself if it does not fit."""
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError):
        return value


def read_time(item: Any, *names: str) -> int:
    """Read nanoseconds since the epoch, or 0. Nothing happens after the year 2262, and SQLite holds no larger number."""
    number = _convert(json_members.first(item, *names), int)
    return number if isinstance(number, int) and 0 <= number < 1 << 63 else 0


def _number(value: Any, prefix: str, names: Sequence[str]) -> int:
    """Read an enumeration value from its number or its name. Anything else is 0."""
    if isinstance(value, str):
        value = value.removeprefix(prefix).lower()
        value = names.index(value) if value in names else _convert(value, int)
    return value if isinstance(value, int) and 0 <= value < len(names) else 0


def read_id(item: Any, size: int, *names: str) -> str | None:
    """Read an id of ``size`` bytes from hex or base64, as hex. Returns None if it is absent, invalid or all zero."""
    text = json_members.text(item, *names) or ""
    try:
        data = bytes.fromhex(text) if len(text) == 2 * size else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return data.hex() if len(data) == size and any(data) else None
