"""A record for each span, as tables of spans hold them: the Collector's ClickHouse tables row by row, and exports of products.

A record names its fields ``trace_id`` or ``TraceId``, ``span_attributes`` or ``SpanAttributes`` and so on; a document is one
record, or has a list of them in ``spans``, each with its children in ``child_spans`` or without. Attributes may all be text.
Long texts may stand apart, in ``blobs``: then ``{"$blob": id}`` stands for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace.codec import json_members
from llmtrace.codec.formats import _parse
from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope

_CHILDREN: Final = ("childspans", "children")


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | str] | None:
    if "spans" in document:
        items = document["spans"]
        if items is None:
            return []
        blobs = _parse.mapping(document.get("blobs"))
        records = [_fields(item, blobs) for item in _parse.items(items)]
        if not isinstance(items, list) or not all(_is_record(record) for record in records):
            return None
        trace = document.get("trace_id")
        return [span for record in records for span in _spans(record, trace, blobs)]
    record = _fields(document, {})
    return list(_spans(record, None, {})) if _is_record(record) else None


def _fields(item: Mapping[str, Any], blobs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _whole(value, blobs) for name, value in _parse.fields(item).items()}


def _whole(value: Any, blobs: Mapping[str, Any]) -> Any:
    if not blobs or not isinstance(value, (dict, list)):
        return value
    if isinstance(value, list):
        return [_whole(item, blobs) for item in value]
    if value.keys() == {"$blob"}:
        return blobs.get(str(value["$blob"]), value)
    return {name: _whole(member, blobs) for name, member in value.items()}


def _is_record(record: dict[str, Any]) -> bool:
    return "spanid" in record and _start(record) is not None


def _start(record: dict[str, Any]) -> int | None:
    return _parse.time_of(json_members.first(record, "timestamp", "starttimeunixnano", "starttime", "start"))


def _spans(record: dict[str, Any], trace: JsonValue, blobs: Mapping[str, Any]) -> Iterator[RawSpan | str]:
    waiting: list[tuple[dict[str, Any], str | None]] = [(record, None)]
    while waiting:
        record, parent = waiting.pop()
        span = _span(record, trace, parent)
        yield span
        children = _parse.items(json_members.first(record, *_CHILDREN))
        above = span.span_id if isinstance(span, RawSpan) else parent
        waiting += [(_fields(child, blobs), above) for child in reversed(children)]


def _span(record: dict[str, Any], trace: JsonValue, parent: str | None) -> RawSpan | str:
    trace_id, span_id = _parse.id_of(record.get("traceid") or trace, 32), _parse.id_of(record["spanid"], 16)
    if trace_id is None or span_id is None:
        return "a span without a valid trace id (32 hex digits) and span id (16)"
    start = _start(record) or 0
    resource = _parse.mapping(json_members.first(record, "resourceattributes", "resource"))
    service = record.get("servicename")
    if isinstance(service, str) and service:
        resource.setdefault("service.name", service)
    return RawSpan(
        trace_id,
        span_id,
        str(json_members.first(record, "spanname", "name", "operationname") or ""),
        start,
        _end(record, start),
        _parse.id_of(json_members.first(record, "parentspanid", "parentid"), 16) or parent,
        _parse.kind_of(json_members.first(record, "spankind", "kind")),
        _parse.status_of(json_members.first(record, "statuscode", "status")),
        str(record.get("statusmessage") or ""),
        _parse.mapping(json_members.first(record, "spanattributes", "attributes")),
        tuple(_events(record)),
        tuple(_links(record)),
        resource,
        Scope(str(record.get("scopename") or ""), str(record.get("scopeversion") or "")),
    )


def _end(record: dict[str, Any], start: int) -> int | None:
    end = _parse.time_of(json_members.first(record, "endtimeunixnano", "endtime", "end"))
    length = _parse.duration_of(record.get("duration"))
    return end if end is not None or length is None else start + length


def _events(record: dict[str, Any]) -> Iterator[Event]:
    for item in _parse.items(record.get("events")):
        fields = _fields(item, {})
        yield Event(
            str(fields.get("name", "")),
            _parse.time_of(json_members.first(fields, "timestamp", "timeunixnano", "time")) or 0,
            _parse.mapping(fields.get("attributes")),
        )
    times, names = record.get("eventstimestamp"), record.get("eventsname")  # ClickHouse's nested columns
    attributes = record.get("eventsattributes")
    if isinstance(times, list) and isinstance(names, list) and isinstance(attributes, list):
        for time, name, fields in zip(times, names, attributes, strict=False):
            yield Event(str(name), _parse.time_of(time) or 0, _parse.mapping(fields))


def _links(record: dict[str, Any]) -> Iterator[Link]:
    for item in _parse.items(record.get("links")):
        fields = _fields(item, {})
        trace_id, span_id = _parse.id_of(fields.get("traceid"), 32), _parse.id_of(fields.get("spanid"), 16)
        if trace_id is not None and span_id is not None:
            yield Link(trace_id, span_id, _parse.mapping(fields.get("attributes")))
