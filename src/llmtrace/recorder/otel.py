"""Our span as an OpenTelemetry span.

If the program has a TracerProvider (or passed one), each span of ours is also a span of that provider: with the same ids,
started with the attributes that a sampler may read, and filled before it ends. Otherwise a span context with ids from the
operating system is made current, so that headers and other instrumentations see it. The program's provider is never replaced,
and none is set for it, so the program can still set one later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    ProxyTracerProvider,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
)
from opentelemetry.trace.status import Status, StatusCode

from llmtrace import semconv
from llmtrace.codec import fields, findings, recorded
from llmtrace.content import Content, to_json
from llmtrace.content.snapshot import well_formed
from llmtrace.model import Event, Failure, JsonValue, Kind, Link, RawSpan, Scope, Span, replace
from llmtrace.recorder import log_events
from llmtrace.recorder.failures import failure_of
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.identity import Identity

if TYPE_CHECKING:
    from llmtrace.recorder.recording import Recording

_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


_OUR_NAMESPACES = ("gen_ai.", "llmtrace.")
"""Attributes that describe the operation. Libraries that trace themselves set some for a span of their own on the current one,
so they are not copied into our record."""


class LocalSpan(NonRecordingSpan):
    """The current span if the program has no TracerProvider. Attributes and events set on it go into our record."""

    def __init__(
        self, context: SpanContext, attributes: dict[str, JsonValue], events: list[Event], clock: Callable[[], int]
    ) -> None:
        super().__init__(context)
        self._is_open = True
        self._record = attributes
        self._events = events
        self._clock = clock
        self.status = Status()

    def is_recording(self) -> bool:
        return self._is_open

    def end(self, end_time: int | None = None) -> None:  # noqa: ARG002  as in OpenTelemetry's API
        self._is_open = False

    def set_attribute(self, key: str, value: Any) -> None:
        if self._is_open and not key.startswith(_OUR_NAMESPACES):
            self._record[key] = to_json(value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status as the SDK's span does: OK is final, and UNSET changes nothing."""
        status = status if isinstance(status, Status) else Status(status, description)
        if self._is_open and not status.is_unset and self.status.status_code is not StatusCode.OK:
            self.status = status

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        if self._is_open:
            self._events.append(Event(name, timestamp or self._clock(), to_json(dict(attributes or {}))))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        del escaped  # deprecated in OpenTelemetry
        failure = failure_of(exception)
        described = {
            semconv.EXCEPTION_TYPE: failure.type,
            semconv.EXCEPTION_MESSAGE: failure.message,
            semconv.EXCEPTION_STACKTRACE: failure.stacktrace,
        }
        self.add_event(semconv.EXCEPTION_EVENT, {**described, **dict(attributes or {})}, timestamp)


class Started(NamedTuple):
    """A started span with the ids of its trace, itself and its parent."""

    span: trace.Span
    trace_id: str
    span_id: str
    parent_id: str | None


class Tracers:
    """Starts OpenTelemetry spans on the program's provider, if it has one."""

    def __init__(self, provider: trace.TracerProvider | None, scope: Scope) -> None:
        self._given_provider = provider
        self._scope = scope
        self._provider: trace.TracerProvider | None = None
        self._tracer: Tracer | None = None

    def start(
        self,
        context: Context,
        parent: SpanContext,
        name: str,
        kind: Kind,
        start: int,
        identity: Identity,
        start_attributes: Mapping[str, Any],
        links: Sequence[Link],
        attributes: dict[str, JsonValue],
        events: list[Event],
    ) -> Started:
        """``parent``: the span of ``context``. ``start_attributes``: for the sampler. ``attributes`` and ``events``: a
        `LocalSpan` adds to them what the program sets on it."""
        parent_id = f"{parent.span_id:016x}" if parent.is_valid else None
        span: trace.Span | None = None
        try:  # the program's sampler and its processors may raise anything
            tracer = self._current()
            if tracer is not None:
                # a name with half a surrogate pair (models invent tool names) would cost an exporter its whole batch
                name = name if name.isascii() else well_formed(name)
                otel_links = [_link(link) for link in links] if links else None
                span = tracer.start_span(name, context, _KINDS[kind], start_attributes, otel_links, start_time=start)
        except Exception as error:
            report(self.start, error)
        if span is not None:
            span_context = span.get_span_context()
            span_id = f"{span_context.span_id:016x}"
            if span_context.is_valid and span_id != parent_id:
                if not span.is_recording():  # the program's sampler drops it; our record is independent of that
                    span = LocalSpan(span_context, attributes, events, identity.clock)
                return Started(span, f"{span_context.trace_id:032x}", span_id, parent_id)
        trace_id = f"{parent.trace_id:032x}" if parent_id else identity.trace_id()
        span_id = identity.span_id()
        flags = parent.trace_flags if parent_id else TraceFlags(TraceFlags.SAMPLED)
        span_context = SpanContext(int(trace_id, 16), int(span_id, 16), False, flags, parent.trace_state)
        return Started(LocalSpan(span_context, attributes, events, identity.clock), trace_id, span_id, parent_id)

    def _current(self) -> Tracer | None:
        """Return the tracer of the program's provider, or None if it has none."""
        provider = self._given_provider or trace.get_tracer_provider()
        if provider is self._provider:
            return self._tracer
        if isinstance(provider, ProxyTracerProvider):  # the program has not set one (yet)
            return None
        self._provider, self._tracer = provider, provider.get_tracer(self._scope.name, self._scope.version)
        guard(_use_system_ids, self._tracer)
        return self._tracer


def span_context_in(context: Context) -> SpanContext:
    """Return the ids of the span that is current in ``context``."""
    try:
        return trace.get_current_span(context).get_span_context()
    except AttributeError:  # the program stores something else under the span's key
        return trace.INVALID_SPAN_CONTEXT


def _use_system_ids(tracer: Any) -> None:
    """Use ids from the operating system for our spans on the program's provider. The SDK's own generator uses ``random``, so
    ids repeat after ``random.seed``, which vLLM calls with every engine. A generator that the program chose itself stays."""
    if type(getattr(tracer, "id_generator", None)).__qualname__ == "RandomIdGenerator":
        tracer.id_generator = SystemIds()


class SystemIds(IdGenerator):
    """Ids from the operating system: ``random.seed()`` in the program cannot make them repeat."""

    def generate_trace_id(self) -> int:
        return int.from_bytes(os.urandom(16), "big") or 1

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8), "big") or 1

    def is_trace_id_random(self) -> bool:
        return True


def _link(link: Link) -> trace.Link:
    return trace.Link(SpanContext(int(link.trace_id, 16), int(link.span_id, 16), True), link.attributes)


def read_program_changes(recording: Recording, *, has_failed: bool) -> Failure | None:
    """Copy attributes and events that the program set on an SDK's span by OpenTelemetry's API into the recording.

    Returns the failure that the program reported by ``set_status`` (with its ``error.type``), unless the span ``has_failed``
    anyway. Spans of other implementations cannot be read. Never raises.
    """
    span: Any = recording.otel
    try:
        attributes: Any = getattr(span, "attributes", None) or ()
        if len(attributes) != len(recording.otel_attributes):
            for name in attributes:  # not `items`, which is slow here
                if name not in recording.otel_attributes and not name.startswith(_OUR_NAMESPACES):
                    recording.attributes[name] = to_json(attributes[name])
        events: Any = getattr(span, "events", None)
        if events:
            added = [Event(event.name, event.timestamp, to_json(dict(event.attributes or {}))) for event in events]
            recording.events += added
            recording.program_events = frozenset((event.name, event.time) for event in added)
        status = getattr(span, "status", None)
        if has_failed or not isinstance(status, Status) or status.status_code is not StatusCode.ERROR:
            return None
        recording.has_program_failure = True
        error_type = recording.attributes.pop(semconv.ERROR_TYPE, None)
        return findings.failure_from_events(fields.as_text(error_type), status.description or "", recording.events)
    except Exception as error:
        report(read_program_changes, error)
        return None


def finish(recording: Recording, ended: Span, written: RawSpan | None, content: Content, scope: Scope) -> None:
    """Fill the OpenTelemetry span at the allowed content level, and end it in any case. The program's LoggerProvider, if it has
    one, gets the same (`log_events`).

    ``written``: ``ended`` as `Content.write` wrote it, if it did already.
    """
    span = recording.otel
    try:
        exported: RawSpan | None = None
        if not isinstance(span, LocalSpan) and span.is_recording():
            exported = _exported(ended, written, content)
            if exported.name != recording.otel_name:
                span.update_name(well_formed(exported.name))
            attributes = dict(exported.attributes)
            for key, value in recording.otel_attributes.items():  # set already when it started
                if key in attributes and attributes[key] == value:
                    del attributes[key]
            span.set_attributes(attributes)
            for event in _own_events(recording, exported):
                span.add_event(event.name, event.attributes, event.time)
            if exported.status == "error" and not recording.has_program_failure:
                message = exported.status_message or str(exported.attributes.get(semconv.ERROR_TYPE, ""))
                span.set_status(Status(StatusCode.ERROR, message))
        logger = log_events.find_logger(scope)
        if logger is not None:
            exported = exported or _exported(ended, written, content)
            guard(log_events.emit_events, logger, ended, span, _own_events(recording, exported))
            guard(log_events.emit_details, logger, ended, span, exported.attributes)
    except Exception as error:
        report(finish, error)
    try:
        span.end(ended.end)
    except Exception as error:
        report(span.end, error)


def _own_events(recording: Recording, exported: RawSpan) -> Sequence[Event]:
    """Return the events that are not on the OpenTelemetry span yet, because the program did not add them there."""
    present = recording.program_events
    return [event for event in exported.events if (event.name, event.time) not in present] if present else exported.events


def report_evaluations(span: Span, written: RawSpan | None, content: Content, scope: Scope) -> None:
    """Emit the evaluations of another instrumentation's span to the program's LoggerProvider, if it has one."""
    logger = log_events.find_logger(scope) if span.evaluations else None
    if logger is not None:
        log_events.emit_evaluations(logger, span, _exported(span, written, content).events)


def _exported(ended: Span, written: RawSpan | None, content: Content) -> RawSpan:
    """Return the written span at the content level allowed for OpenTelemetry spans."""
    raw = written or content.write(ended)
    if not content.exports_content:
        return content.without_content(raw)
    attributes = recorded.without(raw.attributes)
    return raw if attributes is raw.attributes else replace(raw, attributes=attributes)
