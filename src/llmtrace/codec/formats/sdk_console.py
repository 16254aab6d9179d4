"""What the SDK's ConsoleSpanExporter prints: ``ReadableSpan.to_json()``, one object after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.codec.formats import _parse
from llmtrace.model import Event, JsonValue, Link, RawSpan, Scope


def read(document: Mapping[str, JsonValue]) -> list[RawSpan | str] | None:
    context = document.get("context")
    if not isinstance(context, Mapping) or "start_time" not in document or "trace_id" not in context:
        return None
    trace_id, span_id = _ids(context)
    if trace_id is None or span_id is None:
        return ["a span without a valid trace_id and span_id"]
    status = _parse.mapping(document.get("status"))
    scope = _parse.mapping(document.get("instrumentation_scope") or document.get("instrumentation_info"))
    return [
        RawSpan(
            trace_id,
            span_id,
            str(document.get("name", "")),
            _parse.time_of(document.get("start_time")) or 0,
            _parse.time_of(document.get("end_time")),
            _parse.id_of(document.get("parent_id"), 16),
            _parse.kind_of(document.get("kind")),
            _parse.status_of(status.get("status_code")),
            str(status.get("description") or ""),
            _parse.mapping(document.get("attributes")),
            tuple([_event(item) for item in _parse.items(document.get("events"))]),
            tuple([link for item in _parse.items(document.get("links")) for link in _link(item)]),
            _parse.mapping(_parse.mapping(document.get("resource")).get("attributes")),
            Scope(str(scope.get("name") or ""), str(scope.get("version") or "")),
        )
    ]


def _ids(context: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return _parse.id_of(context.get("trace_id"), 32), _parse.id_of(context.get("span_id"), 16)


def _event(item: dict[str, Any]) -> Event:
    return Event(str(item.get("name", "")), _parse.time_of(item.get("timestamp")) or 0, _parse.mapping(item.get("attributes")))


def _link(item: dict[str, Any]) -> list[Link]:
    trace_id, span_id = _ids(_parse.mapping(item.get("context")))
    return [Link(trace_id, span_id, _parse.mapping(item.get("attributes")))] if trace_id and span_id else []
