"""Log records that hold what a span's model call said: read from OTLP, and added to their span as events.

Some instrumentations send content as log records (``gen_ai.user.message``, ``gen_ai.choice`` …) with the trace and span id of
the call. A record without both ids, or with another event name, is not content of a span and is left out. The record's body is
merged into the event's attributes: a map by its members, a text as ``content``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_members, otlp
from llmtrace.model import Event, JsonValue, RawSpan, replace

_BODY: Final = "log.body"
_NAMES: Final = ("event.name", "event_name")
_EXCEPTIONS: Final = ("gen_ai.client.operation.exception",)
"""Events of today's conventions that are the span event ``exception`` of before."""


class LogRecord(NamedTuple):
    """A log record that belongs to a span."""

    trace_id: str
    span_id: str
    event: Event


def from_json(document: Mapping[str, Any]) -> list[LogRecord]:
    """Read the records of an ExportLogsServiceRequest in JSON. Odd members are left out. Raises ValueError if it is nested
    too deeply."""
    spans = [_as_span(record) for record in _records(document)]
    request = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    return list(_of_spans(otlp.from_json(request)))


def _records(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in json_members.objects(document, "resourceLogs", "resource_logs"):
        for scope in json_members.objects(resource, "scopeLogs", "scope_logs"):
            yield from json_members.objects(scope, "logRecords", "log_records")


def _as_span(record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a record as a span with one event, so that one reader serves both."""

    def member(*names: str) -> Any:
        return next((record[name] for name in names if record.get(name)), None)

    event = {
        "name": member("eventName", "event_name"),
        "timeUnixNano": member("timeUnixNano", "time_unix_nano", "observedTimeUnixNano", "observed_time_unix_nano"),
        "attributes": [*json_members.objects(record, "attributes"), {"key": _BODY, "value": record.get("body")}],
    }
    return {"traceId": member("traceId", "trace_id"), "spanId": member("spanId", "span_id"), "events": [event]}


def from_protobuf(data: bytes) -> list[LogRecord]:
    """Read the records of a serialised ExportLogsServiceRequest. Raises ValueError if it is not one."""
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    try:
        request = LogsData.FromString(data)
    except Exception as error:  # google.protobuf's DecodeError
        raise ValueError(f"not an OTLP request for logs: {error}") from None
    spans = TracesData()
    target = spans.resource_spans.add().scope_spans.add()
    for group in request.resource_logs:
        for scoped in group.scope_logs:
            for record in scoped.log_records:
                span = target.spans.add(trace_id=record.trace_id, span_id=record.span_id)
                time = record.time_unix_nano or record.observed_time_unix_nano
                event = span.events.add(name=record.event_name, time_unix_nano=time)
                event.attributes.extend(record.attributes)
                body = event.attributes.add(key=_BODY)
                body.value.CopyFrom(record.body)
    return list(_of_spans(otlp.from_protobuf(spans.SerializeToString())))


def _of_spans(spans: Iterable[RawSpan]) -> Iterator[LogRecord]:
    for span in spans:
        for event in span.events:
            attributes = dict(event.attributes)
            body = attributes.pop(_BODY, None)
            name = event.name or next((text for key in _NAMES if (text := fields.as_text(attributes.pop(key, None)))), "")
            if name.startswith("gen_ai.") or name == sc.EXCEPTION_EVENT:
                name = sc.EXCEPTION_EVENT if name in _EXCEPTIONS else name
                yield LogRecord(span.trace_id, span.span_id, Event(name, event.time, {**attributes, **_members(body)}))


def _members(body: JsonValue) -> dict[str, JsonValue]:
    if body is None or body == "":
        return {}
    return fields.as_object(body) or {"content": body}


def add_events(span: RawSpan, events: Sequence[Event]) -> RawSpan:
    """Return the span with these events after its own, those first that happened first."""
    return replace(span, events=(*span.events, *sorted(events, key=lambda event: event.time)))
