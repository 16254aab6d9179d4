"""Reads Jaeger's JSON from its UI or query API: ``{"data": [{"traceID", "spans", "processes"}]}``, or one of these traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.codec.formats import _parse
from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | str] | None:
    data = document.get("data")
    traces = data if isinstance(data, list) else [document]
    if not traces or not all(isinstance(trace, Mapping) and "spans" in trace and "processes" in trace for trace in traces):
        return None
    return [span for trace in traces for span in _trace(trace)]


def _trace(trace: Mapping[str, Any]) -> list[RawSpan | str]:
    processes = {name: _resource(process) for name, process in _parse.mapping(trace["processes"]).items()}
    return [_span(item, processes, trace.get("traceID")) for item in _parse.items(trace["spans"])]


def _resource(process: Any) -> dict[str, JsonValue]:
    fields = _parse.mapping(process)
    service = {"service.name": fields["serviceName"]} if isinstance(fields.get("serviceName"), str) else {}
    return {**service, **_tags(fields.get("tags"))}


def _span(item: dict[str, Any], processes: dict[str, dict[str, JsonValue]], trace: Any) -> RawSpan | str:
    trace_id, span_id = _parse.id_of(item.get("traceID", trace), 32), _parse.id_of(item.get("spanID"), 16)
    if trace_id is None or span_id is None:
        return "a span without a valid traceID and spanID"
    tags = _tags(item.get("tags"))
    start = _micros(item.get("startTime"))
    kind = _parse.kind_of(tags.pop("span.kind", None))
    error = tags.pop("error", None)
    status = _parse.status_of(tags.pop("otel.status_code", None))
    parent, links = _references(item, trace_id)
    scope = Scope(str(tags.pop("otel.scope.name", tags.pop("otel.library.name", ""))), str(tags.pop("otel.scope.version", "")))
    message = tags.pop("otel.status_description", "")
    return RawSpan(
        trace_id,
        span_id,
        str(item.get("operationName", "")),
        start,
        start + _micros(item.get("duration")),
        parent,
        kind,
        "error" if error in (True, "true") else status,
        message if isinstance(message, str) else "",
        tags,
        tuple([_event(log) for log in _parse.items(item.get("logs"))]),
        links,
        processes.get(str(item.get("processID")), {}),
        scope,
    )


def _micros(value: JsonValue) -> int:
    return round(value * 1000) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _references(item: dict[str, Any], trace_id: str) -> tuple[str | None, tuple[Link, ...]]:
    """Return the parent, which is the first reference within the trace, and the links, which are the other references."""
    parent = _parse.id_of(item.get("parentSpanID"), 16)
    links = []
    for reference in _parse.items(item.get("references")):
        trace, span_id = _parse.id_of(reference.get("traceID"), 32), _parse.id_of(reference.get("spanID"), 16)
        if trace is None or span_id is None:
            continue
        if parent is None and trace == trace_id and reference.get("refType") == "CHILD_OF":
            parent = span_id
        elif (trace, span_id) != (trace_id, parent):
            links.append(Link(trace, span_id))
    return parent, tuple(links)


def _event(log: dict[str, Any]) -> Event:
    fields = _tags(log.get("fields"))
    name = fields.pop("event", "")
    return Event(name if isinstance(name, str) else "", _micros(log.get("timestamp")), fields)


def _tags(tags: Any) -> dict[str, JsonValue]:
    return {str(tag.get("key", "")): _tag(tag) for tag in _parse.items(tags)}


def _tag(tag: dict[str, Any]) -> JsonValue:
    """Read the value of a tag. 64-bit numbers may be text."""
    value, kind = tag.get("value"), tag.get("type")
    if kind in ("int64", "float64") and isinstance(value, str):
        try:
            return int(value) if kind == "int64" else float(value)
        except ValueError:
            return value
    return value
