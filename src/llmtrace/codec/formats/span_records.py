"""Reads records with one span each: rows of the Collector's ClickHouse tables, exports of products, the SDK's console exporter.

Field names may be ``trace_id`` or ``TraceId``, ``span_attributes`` or ``SpanAttributes`` and so on, and the fields of context,
status and scope may be nested (``ReadableSpan.to_json()``). A document is one record, or has a list of records in ``spans``.
Records may have their children in ``child_spans``. Attributes may all be text. Long texts may be in ``blobs``: then
``{"$blob": id}`` refers to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace.codec import json_members
from llmtrace.codec.formats import _parse
from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope

_CHILDREN: Final = ("childspans", "children")
_NESTED: Final = {
    "context": "",
    "status": "status",
    "instrumentationscope": "scope",
    "instrumentationinfo": "scope",
}
"""Objects in a record, and the prefix of their members' names in a record without such objects."""


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | str] | None:
    if "spans" in document:
        items = document["spans"]
        if items is None:
            return []
        blobs = _parse.mapping(document.get("blobs"))
        records = [_record(item, blobs) for item in _parse.items(items)]
        if not isinstance(items, list) or not all(_is_span(record) for record in records):
            return None
        trace = document.get("trace_id")
        return [span for record in records for span in _spans(record, trace, blobs)]
    record = _record(document, {})
    return list(_spans(record, None, {})) if _is_span(record) else None


def _record(item: Mapping[str, Any], blobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record under one form of their names, without nesting, and with the texts from ``blobs``."""
    record = {name: _with_blobs(value, blobs) for name, value in _parse.fields(item).items()}
    for name, prefix in _NESTED.items():
        if isinstance(record.get(name), Mapping):
            members = _parse.fields(_parse.mapping(record.pop(name)))
            record |= {f"{prefix}{member.removeprefix(prefix)}": value for member, value in members.items()}
    return record


def _with_blobs(value: Any, blobs: Mapping[str, Any]) -> Any:
    if not blobs or not isinstance(value, (dict, list)):
        return value
    if isinstance(value, list):
        return [_with_blobs(item, blobs) for item in value]
    if value.keys() == {"$blob"}:
        return blobs.get(str(value["$blob"]), value)
    return {name: _with_blobs(member, blobs) for name, member in value.items()}


def _is_span(record: dict[str, Any]) -> bool:
    return "spanid" in record and _start(record) is not None


def _start(record: dict[str, Any]) -> int | None:
    return _parse.time_of(json_members.first(record, "timestamp", "starttimeunixnano", "starttime", "starttimens", "start"))


def _spans(record: dict[str, Any], trace: JsonValue, blobs: Mapping[str, Any]) -> Iterator[RawSpan | str]:
    waiting: list[tuple[dict[str, Any], str | None]] = [(record, None)]
    while waiting:
        record, parent = waiting.pop()
        span = _span(record, trace, parent)
        yield span
        children = _parse.items(json_members.first(record, *_CHILDREN))
        above = span.span_id if isinstance(span, RawSpan) else parent
        waiting += [(_record(child, blobs), above) for child in reversed(children)]


def _span(record: dict[str, Any], trace: JsonValue, parent: str | None) -> RawSpan | str:
    trace_id, span_id = _parse.id_of(record.get("traceid") or trace, 32), _parse.id_of(record["spanid"], 16)
    if trace_id is None or span_id is None:
        return "a span without a valid trace id (32 hex digits) and span id (16)"
    start = _start(record) or 0
    end = _end(record, start)
    resource = _parse.mapping(json_members.first(record, "resourceattributes", "resource"))
    resource = _parse.mapping(resource.get("attributes")) or resource
    service = record.get("servicename")
    if isinstance(service, str) and service:
        resource.setdefault("service.name", service)
    return RawSpan(
        trace_id,
        span_id,
        str(json_members.first(record, "spanname", "name", "operationname") or ""),
        start,
        end,
        _parse.id_of(json_members.first(record, "parentspanid", "parentid"), 16) or parent,
        _parse.kind_of(json_members.first(record, "spankind", "kind")),
        _parse.status_of(json_members.first(record, "statuscode", "status")),
        str(json_members.first(record, "statusmessage", "statusdescription") or ""),
        _parse.mapping(json_members.first(record, "spanattributes", "attributes")),
        tuple(_events(record, start if end is None else end)),
        tuple(_links(record)),
        resource,
        Scope(str(record.get("scopename") or ""), str(record.get("scopeversion") or "")),
    )


def _end(record: dict[str, Any], start: int) -> int | None:
    end = _parse.time_of(json_members.first(record, "endtimeunixnano", "endtime", "endtimens", "end"))
    duration = _parse.duration_of(record.get("duration"))
    return end if end is not None or duration is None else start + duration


def _events(record: dict[str, Any], end: int) -> Iterator[Event]:
    for item in _parse.items(record.get("events")):
        fields = _parse.fields(item)
        yield Event(
            str(fields.get("name", "")),
            _parse.time_of(json_members.first(fields, "timestamp", "timeunixnano", "time")) or end,
            _parse.mapping(fields.get("attributes")),
        )
    times, names = record.get("eventstimestamp"), record.get("eventsname")  # ClickHouse's nested columns
    attributes = record.get("eventsattributes")
    if isinstance(times, list) and isinstance(names, list) and isinstance(attributes, list):
        for time, name, members in zip(times, names, attributes, strict=False):
            yield Event(str(name), _parse.time_of(time) or end, _parse.mapping(members))


def _links(record: dict[str, Any]) -> Iterator[Link]:
    for item in _parse.items(record.get("links")):
        link = _record(item, {})
        trace_id, span_id = _parse.id_of(link.get("traceid"), 32), _parse.id_of(link.get("spanid"), 16)
        if trace_id is not None and span_id is not None:
            yield Link(trace_id, span_id, _parse.mapping(link.get("attributes")))
