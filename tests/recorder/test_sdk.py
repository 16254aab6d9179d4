from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

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
