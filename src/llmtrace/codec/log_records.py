"""Reads log records with the content of model calls from OTLP, and adds them to their spans as events.

Some instrumentations send content as log records (``gen_ai.user.message``, ``gen_ai.choice`` …) with the trace and span id of
the call. A record without both ids or with another event name is skipped, except for records of Claude Code, which may send
nothing else. The body becomes attributes of the event: the members of a map, or ``content`` for a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import claude_code_events, fields, json_members, otlp
from llmtrace.model import Event, JsonValue, RawSpan, replace

_BODY: Final = "log.body"
_NAMES: Final = ("event.name", "event_name")
_NO_TRACE, _NO_SPAN = "f" * 32, "f" * 16
"""Placeholders for absent ids."""
_EXCEPTION: Final = "gen_ai.client.operation.exception"
"""The log record that replaces the span event ``exception`` in today's conventions."""


class LogRecord(NamedTuple):
    """A log record as an event of a span."""

    trace_id: str
    span_id: str
    event: Event
    has_span: bool = True
    """False if no span is sent for it, so that `claude_code_events` creates one."""


def from_json(document: Mapping[str, Any]) -> list[LogRecord]:
    """Read the records of an ExportLogsServiceRequest in JSON. Raises ValueError if it is nested too deeply."""
    spans = [_as_span(record) for record in _records(document)]
    request = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    return list(_read_events(otlp.from_json(request)))


def _records(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in json_members.objects(document, "resourceLogs", "resource_logs"):
        for scope in json_members.objects(resource, "scopeLogs", "scope_logs"):
            yield from json_members.objects(scope, "logRecords", "log_records")


def _as_span(record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a record as a span with one event, so that `otlp` can read it."""

    def member(*names: str) -> Any:
        return next((record[name] for name in names if record.get(name)), None)

    event = {
        "name": member("eventName", "event_name"),
        "timeUnixNano": member("timeUnixNano", "time_unix_nano", "observedTimeUnixNano", "observed_time_unix_nano"),
        "attributes": [*json_members.objects(record, "attributes"), {"key": _BODY, "value": record.get("body")}],
    }
    trace_id, span_id = member("traceId", "trace_id"), member("spanId", "span_id")
    return {"traceId": trace_id or _NO_TRACE, "spanId": span_id or _NO_SPAN, "events": [event]}


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
                trace_id, span_id = record.trace_id or bytes.fromhex(_NO_TRACE), record.span_id or bytes.fromhex(_NO_SPAN)
                span = target.spans.add(trace_id=trace_id, span_id=span_id)
                time = record.time_unix_nano or record.observed_time_unix_nano
                event = span.events.add(name=record.event_name, time_unix_nano=time)
                event.attributes.extend(record.attributes)
                body = event.attributes.add(key=_BODY)
                body.value.CopyFrom(record.body)
    return list(_read_events(otlp.from_protobuf(spans.SerializeToString())))


def _read_events(spans: Iterable[RawSpan]) -> Iterator[LogRecord]:
    for span in spans:
        for event in span.events:
            attributes = dict(event.attributes)
            body = attributes.pop(_BODY, None)
            name = event.name or next((text for key in _NAMES if (text := fields.as_text(attributes.pop(key, None)))), "")
            if isinstance(body, str) and body.startswith(claude_code_events.PREFIX):
                yield from _read_claude_code(span, Event(body, event.time, attributes))
            elif span.trace_id == _NO_TRACE or span.span_id == _NO_SPAN:
                continue
            elif name.startswith("gen_ai.") or name == sc.EXCEPTION_EVENT:
                name = sc.EXCEPTION_EVENT if name == _EXCEPTION else name
                yield LogRecord(span.trace_id, span.span_id, Event(name, event.time, {**attributes, **_body_attributes(body)}))


def _read_claude_code(span: RawSpan, event: Event) -> Iterator[LogRecord]:
    if span.trace_id != _NO_TRACE:
        yield LogRecord(span.trace_id, span.span_id, event)
    elif (turn := claude_code_events.turn_of(event)) is not None:
        yield LogRecord(*turn, event, has_span=False)


def _body_attributes(body: JsonValue) -> dict[str, JsonValue]:
    if body is None or body == "":
        return {}
    return fields.as_object(body) or {"content": body}


def add_events(span: RawSpan, events: Sequence[Event]) -> RawSpan:
    """Return the span with these events, sorted by time, after its own."""
    return replace(span, events=(*span.events, *sorted(events, key=lambda event: event.time)))
