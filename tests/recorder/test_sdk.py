from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from llmtrace.model import Event
from llmtrace.recorder import sdk

PLAIN = {"text": "a", "count": 1, "rate": 0.5, "flag": True, "list": ["a", "b"], "none": []}
EVENTS = (Event("one", 5, {"a": "b", "list": [1, 2]}), Event("two", 6))


def spans(limits: SpanLimits | None = None) -> tuple[Any, InMemorySpanExporter]:
    provider, exporter = TracerProvider(span_limits=limits), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter


def shown(span: ReadableSpan) -> Any:
    events = [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events]
    return dict(span.attributes or {}), events, span.dropped_attributes, span.dropped_events


def test_it_is_as_if_filled_the_public_way() -> None:
    """A span that is filled at once is exported as one that is filled value by value, start attributes included."""
    tracer, exporter = spans()
    for at_once in (True, False):
        span = tracer.start_span("s", attributes={"text": "before", "start": 1})
        if at_once:
            assert sdk.fill(span, PLAIN, EVENTS)
        else:
            span.set_attributes(PLAIN)
            for event in EVENTS:
                span.add_event(event.name, event.attributes, event.time)
        span.end()
    one, other = exporter.get_finished_spans()
    assert shown(one) == shown(other)


@pytest.mark.parametrize(
    "attributes", [{"a": {"b": 1}}, {"a": [["nested"]]}, {"": "no name"}, {1: "no text"}, {"a": None}, {"a": b"bytes"}]
)
def test_what_the_sdk_would_change_is_left_to_it(attributes: Any) -> None:
    """Values of which the SDK makes something else are not written, on the span or on an event."""
    span = spans()[0].start_span("s")
    assert not sdk.fill(span, attributes, ())
    assert not sdk.fill(span, {"good": 1}, (Event("e", 1, attributes),))
    assert not span.attributes
    assert not span.events


@pytest.mark.parametrize(
    "limits",
    [
        SpanLimits(max_span_attributes=3),
        SpanLimits(max_event_attributes=1),
        SpanLimits(max_attribute_length=1),
        SpanLimits(max_span_attribute_length=1),
    ],
)
def test_limits_are_left_to_the_sdk(limits: SpanLimits) -> None:
    """Where the program limits attributes, nothing is written past its limits."""
    span = spans(limits)[0].start_span("s")
    assert not sdk.fill(span, PLAIN, EVENTS)
    assert not span.attributes
    assert not span.events


def test_events_beyond_the_limit_are_counted() -> None:
    """The oldest events give way, and the SDK counts them, as ever."""
    tracer, exporter = spans(SpanLimits(max_events=1))
    span = tracer.start_span("s")
    assert sdk.fill(span, {}, EVENTS)
    span.end()
    assert shown(exporter.get_finished_spans()[0])[1:] == ([("two", 6, {})], 0, 1)


def test_other_spans_are_left_alone() -> None:
    """A span that wraps the SDK's (as other libraries do), or a class of one's own, is not reached into."""

    class Wrapping:
        def __init__(self, span: Any) -> None:
            self.span = span

        def __getattr__(self, name: str) -> Any:
            return getattr(self.span, name)

        def set_attributes(self, attributes: Any) -> None:
            self.span.set_attributes(attributes)

    span = Wrapping(spans()[0].start_span("s"))
    assert not sdk.fill(span, PLAIN, EVENTS)
    assert not sdk.fill(object(), PLAIN, EVENTS)


def public(tracer: Any, parent: Any) -> Any:
    return tracer.start_span("s", parent, SpanKind.CLIENT, PLAIN, start_time=5)


def at_once(tracer: Any, parent: Any) -> Any:
    around = trace.get_current_span(parent).get_span_context()
    span = sdk.Starter(tracer).make(around if around.is_valid else None, "s", SpanKind.CLIENT, PLAIN)
    if span is not None:
        span.start(5, parent)
    return span


def insides(span: Any) -> dict[str, Any]:
    """All that a span consists of; its own id and locks left out."""
    own = span.get_span_context()
    held = {name: each for name, each in vars(span).items() if name not in ("_context", "_lock", "_record_end_metrics")}
    attributes = {name: each for name, each in vars(span._attributes).items() if name != "_lock"}
    lists = {name: list(held.pop(name)) for name in ("_events", "_links")}
    return {**held, **lists, "_attributes": attributes, "flags": own.trace_flags, "state": own.trace_state}


def test_it_is_as_if_started_the_public_way() -> None:
    """A span made at once is the one that the tracer would have started, at the root and below another; processors see the
    same when it starts."""
    tracer, _ = spans()
    seen: list[Any] = []
    tracer.span_processor.add_span_processor(_Watching(seen))
    for parent in (Context(), trace.set_span_in_context(tracer.start_span("root"), Context())):
        one, other = at_once(tracer, parent), public(tracer, parent)
        assert insides(one) == insides(other)
        assert type(one) is type(other)
        assert one.parent == other.parent
        assert (one.get_span_context().trace_id == other.get_span_context().trace_id) is bool(one.parent)
        assert seen[-1] == seen[-2] == (PLAIN | {"list": ("a", "b"), "none": ()}, parent)


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": sampling.ALWAYS_OFF},
        {"sampler": sampling.TraceIdRatioBased(0.5)},
        {"sampler": sampling.ParentBased(sampling.TraceIdRatioBased(0.5))},
        {"span_limits": SpanLimits(max_span_attributes=3)},
        {"span_limits": SpanLimits(max_span_attribute_length=1)},
    ],
)
def test_what_a_sampler_decides_is_left_to_it(options: Any) -> None:
    """A sampler that may drop a span, or a limit that would cut one, is asked the public way."""
    assert at_once(TracerProvider(**options).get_tracer("test"), Context()) is None


def test_a_sampler_that_is_set_later_counts() -> None:
    """What the program puts on its tracer after the first span is what decides."""
    tracer, _ = spans()
    starter = sdk.Starter(tracer)
    assert starter.make(None, "s", SpanKind.CLIENT, PLAIN) is not None
    tracer.sampler = sampling.ALWAYS_OFF
    assert starter.make(None, "s", SpanKind.CLIENT, PLAIN) is None


def test_a_parent_that_was_not_sampled_or_is_elsewhere_is_left_to_the_sampler() -> None:
    """Children of remote and of unsampled spans are the sampler's to judge."""
    tracer, _ = spans()
    for remote, flags in ((True, 1), (False, 0)):
        parent = trace.NonRecordingSpan(trace.SpanContext(1, 2, remote, trace.TraceFlags(flags)))
        assert at_once(tracer, trace.set_span_in_context(parent, Context())) is None


def test_a_tracer_that_is_not_as_we_know_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody has put another `start_span` in the SDK's place, it is called."""
    tracer, _ = spans()
    starter = sdk.Starter(tracer)
    real = type(tracer).start_span
    monkeypatch.setattr(type(tracer), "start_span", lambda *args, **kwargs: real(*args, **kwargs))
    assert starter.make(None, "s", SpanKind.CLIENT, PLAIN) is None
    assert at_once(tracer, Context()) is None
    assert at_once(trace.NoOpTracer(), Context()) is None


class _Watching(SpanProcessor):
    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self._seen.append((dict(span.attributes), parent_context))
