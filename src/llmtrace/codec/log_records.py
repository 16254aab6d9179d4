"""Reads log records with the content of model calls from OTLP, and adds them to their spans as events.

Some instrumentations send content as log records (``gen_ai.user.message``, ``gen_ai.choice`` …) with the trace and span id of
the call. A record without both ids or with another event name is skipped, except for records of Claude Code, which may send
nothing else. The body becomes attributes of the event: the members of a map, or ``content`` for a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import claude_code_events, fields, json_members, otlp, otlp_protobuf
from llmtrace.model import Event, JsonValue, RawSpan, replace

_NAMES: Final = ("event.name", "event_name")
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
    try:
        return list(_from_json(document))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _from_json(document: Mapping[str, Any]) -> Iterator[LogRecord]:
    for resource in json_members.objects(document, "resourceLogs", "resource_logs"):
        for scope in json_members.objects(resource, "scopeLogs", "scope_logs"):
            for record in json_members.objects(scope, "logRecords", "log_records"):
                time = otlp.read_time(record, "timeUnixNano", "time_unix_nano")
                time = time or otlp.read_time(record, "observedTimeUnixNano", "observed_time_unix_nano")
                name = json_members.text(record, "eventName", "event_name") or ""
                ids = otlp.read_id(record, 16, "traceId", "trace_id"), otlp.read_id(record, 8, "spanId", "span_id")
                event = Event(name, time, otlp.read_attributes(record))
                yield from _of_span(*ids, event, otlp.read_value(record.get("body")))


def from_protobuf(data: bytes) -> list[LogRecord]:
    """Read the records of a serialised ExportLogsServiceRequest. Raises ValueError if it is not one."""
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

    try:
        request = LogsData.FromString(data)
    except Exception as error:  # google.protobuf's DecodeError
        raise ValueError(f"not an OTLP request for logs: {error}") from None
    records: list[LogRecord] = []
    for record in [record for group in request.resource_logs for scoped in group.scope_logs for record in scoped.log_records]:
        ids = otlp_protobuf.read_id(record.trace_id, 16), otlp_protobuf.read_id(record.span_id, 8)
        time = record.time_unix_nano or record.observed_time_unix_nano
        event = Event(record.event_name, time, otlp_protobuf.read_attributes(record.attributes))
        records += _of_span(*ids, event, otlp_protobuf.read_value(record.body))
    return records


def _of_span(trace_id: str | None, span_id: str | None, event: Event, body: JsonValue) -> Iterator[LogRecord]:
    """Yield a record as an event of its span, unless it is skipped. ``trace_id``, ``span_id``: None if absent or invalid."""
    attributes = dict(event.attributes)
    name = event.name or next((text for key in _NAMES if (text := fields.as_text(attributes.pop(key, None)))), "")
    has_ids = trace_id is not None and span_id is not None
    if isinstance(body, str) and body.startswith(claude_code_events.PREFIX):
        event = Event(body, event.time, attributes)
        turn = None if has_ids else claude_code_events.turn_of(event)
        if turn is not None:
            yield LogRecord(*turn, event, has_span=False)
    elif name.startswith("gen_ai.") or name == sc.EXCEPTION_EVENT:
        name = sc.EXCEPTION_EVENT if name == _EXCEPTION else name
        event = Event(name, event.time, {**attributes, **_body_attributes(body)})
    else:
        return
    if trace_id is not None and span_id is not None:
        yield LogRecord(trace_id, span_id, event)


def _body_attributes(body: JsonValue) -> dict[str, JsonValue]:
    if body is None or body == "":
        return {}
    return fields.as_object(body) or {"content": body}


def add_events(span: RawSpan, events: Sequence[Event]) -> RawSpan:
    """Return the span with these events, sorted by time, after its own."""
    return replace(span, events=(*span.events, *sorted(events, key=lambda event: event.time)))
