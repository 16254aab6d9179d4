"""Our span as an OpenTelemetry span.

Where the program has a TracerProvider (or handed one over), each span of ours is also a span of it: same ids, started with the
attributes that a sampler may look at, filled before it ends, since nothing can be written to it afterwards. Where it has none,
a span context with ids from the operating system is made current, so that headers and other instrumentations see it. The
program's provider is never replaced, and none is set in its place: whoever sets one later is free to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    ProxyTracerProvider,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
)
from opentelemetry.trace.status import Status, StatusCode

from llmtrace.codec import genai
from llmtrace.content import Content
from llmtrace.content.snapshot import well_formed
from llmtrace.model import Event, Failure, JsonValue, Kind, Link, RawSpan, Scope, Span
from llmtrace.recorder import sdk
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.identity import Identity
from llmtrace.recorder.late_span import LateSpan
from llmtrace.recorder.run import Ended

_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}

(SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())
"""The key of the current span in OpenTelemetry's contexts; it has no public name."""


Started: TypeAlias = "tuple[trace.Span, str, str, str | None]"
"""A span, its trace's id, its own, and its parent's."""


class Tracers:
    """Starts OpenTelemetry spans on the provider that is there."""

    def __init__(self, provider: trace.TracerProvider | None, scope: Scope) -> None:
        self._given = provider
        self._scope = scope
        self._of: trace.TracerProvider | None = None
        self._tracer: Tracer | None = None
        self._starter: sdk.Starter | None = None

    def start(
        self,
        context: Context,
        name: str,
        kind: Kind,
        start: int,
        identity: Identity,
        attributes: Mapping[str, Any],
        links: Sequence[Link] = (),
    ) -> Started:
        current: Any = context.get(SPAN)
        parent, parent_id = INVALID_SPAN_CONTEXT, None
        if current is not None:
            try:
                parent = current.get_span_context()
            except AttributeError:  # somebody keeps something else there
                pass
            if parent.is_valid:
                parent_id = f"{parent.span_id:016x}"
        tracer = self._current()
        if tracer is not None:
            # a name with half a surrogate pair (models make up tool names) would cost an exporter its whole batch
            named = name if name.isascii() else well_formed(name)
            if self._starter is not None and not links:
                try:
                    made = self._starter.start(parent if parent_id else None, named, _KINDS[kind], attributes, start, context)
                except Exception as error:
                    report(self._starter.start, error)
                    made = None
                if made is not None:
                    span, own = made
                    return span, f"{own[0]:032x}", f"{own[1]:016x}", parent_id
            span = tracer.start_span(
                named, context, _KINDS[kind], attributes, _linked(links) if links else None, start_time=start
            )
            own = span.get_span_context()
            span_id = f"{own.span_id:016x}"
            if own.is_valid and span_id != parent_id:
                return span, f"{own.trace_id:032x}", span_id, parent_id
        trace_id = f"{parent.trace_id:032x}" if parent_id else identity.trace_id()
        span_id = identity.span_id()
        flags = parent.trace_flags if parent_id else TraceFlags(TraceFlags.SAMPLED)
        own = SpanContext(int(trace_id, 16), int(span_id, 16), False, flags, parent.trace_state)
        return NonRecordingSpan(own), trace_id, span_id, parent_id

    def _current(self) -> Tracer | None:
        # What `get_tracer_provider` gives, once there is one, in a sixth of the time.
        provider = self._given or getattr(trace, "_TRACER_PROVIDER", None) or trace.get_tracer_provider()
        if provider is self._of:
            return self._tracer
        if isinstance(provider, ProxyTracerProvider):  # nobody has set one (yet)
            return None
        self._of, self._tracer = provider, provider.get_tracer(self._scope.name, self._scope.version)
        guard(_draw_from_the_system, self._tracer)
        self._starter = guard(sdk.Starter, self._tracer)
        return self._tracer


def _draw_from_the_system(tracer: Any) -> None:
    """Ids of our spans on a provider of the program's. The SDK's own generator draws from ``random``: after ``random.seed``,
    which vLLM calls with every engine, its ids repeat. One that the program chose itself stays."""
    if type(getattr(tracer, "id_generator", None)).__qualname__ == "RandomIdGenerator":
        tracer.id_generator = SystemIds()


class SystemIds:
    """An id generator of the SDK's, in all but its base class, which would take long to load."""

    def generate_trace_id(self) -> int:
        return int.from_bytes(os.urandom(16), "big") or 1

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8), "big") or 1

    def is_trace_id_random(self) -> bool:
        return True


def _linked(links: Sequence[Link]) -> list[trace.Link]:
    return [trace.Link(SpanContext(int(each.trace_id, 16), int(each.span_id, 16), True), each.attributes) for each in links]


def finish(span: trace.Span, ended: Span, clean: Span | None, raw: RawSpan | None, content: Content) -> None:
    """Fill the OpenTelemetry span with what may leave by it, and end it; it is ended whatever happens.

    ``clean``, ``raw``: ``ended`` as `Content` cleans it, and the encoded form of that, if they were made already.
    """
    try:
        if span.is_recording():
            _fill(span, ended, _Said(lambda: ended, clean, raw, content))
    except Exception as error:
        report(_fill, error)
    try:
        span.end(ended.end)
    except Exception as error:
        report(span.end, error)


def finish_later(span: trace.Span, ended: Ended, content: Content) -> bool:
    """End the OpenTelemetry span, to be filled with the whole of ``ended`` when somebody reads it, on whatever thread. False:
    nothing was done, since it has to be filled at once."""
    made = ended.span
    try:
        if made.failure is not None or not content.may_wait or not isinstance(span, LateSpan):
            return False
        if not span.is_recording() or not span.fill_later(made, _Said(ended.when_read, None, None, content), sdk.written):
            return False
    except Exception as error:
        report(finish_later, error)
        return False
    try:
        span.end(made.end)
    except Exception as error:
        report(span.end, error)
    return True


@dataclass(slots=True)
class _Said:
    """What may leave by an OpenTelemetry span, written when it is called for."""

    whole: Callable[[], Span]
    clean: Span | None
    raw: RawSpan | None
    content: Content

    def __call__(self) -> tuple[Mapping[str, JsonValue], Sequence[Event], Failure | None]:
        clean = self.content.clean(self.whole()) if self.clean is None else self.clean
        if not self.content.exports_content:
            ours = self.content.bare(clean)
            # Whether calls were valid cannot be told any more without the content; it is no content itself.
            return {**genai.attributes(ours), **genai.search_attributes(clean)}, genai.events(ours), ours.failure
        if self.raw is None:
            return genai.attributes(clean), genai.events(clean), clean.failure
        return self.raw.attributes, self.raw.events, clean.failure


def _fill(span: trace.Span, ended: Span, said: _Said) -> None:
    if ended.failure is None and said.content.may_wait:
        try:
            if sdk.fill_later(span, ended, said):
                return
        except Exception as error:
            report(sdk.fill_later, error)
    attributes, events, failure = said()
    if not guard(sdk.fill, span, attributes, events):
        span.set_attributes(attributes)
        for event in events:
            span.add_event(event.name, event.attributes, event.time)
    if failure is not None:
        span.set_status(Status(StatusCode.ERROR, failure.message or failure.type))
