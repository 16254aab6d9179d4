from __future__ import annotations

import json
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind

import llmtrace
from llmtrace import runtime
from llmtrace.codec import findings, operations
from llmtrace.config import Config
from llmtrace.model import Evaluation, Event, Inference, Span, Usage
from llmtrace.recorder import late_span, sdk
from llmtrace.recorder.identity import Identity
from llmtrace.testing import capture

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


def ended(**fields: Any) -> Span:
    return Span("1" * 32, "2" * 16, "s", 1, 2, **fields)


def test_what_is_filled_when_it_is_read_reads_the_same() -> None:
    """Nothing is written before somebody reads attributes or events; then they are as if filled value by value, whichever
    is read first, by however many threads."""
    tracer, exporter = spans()
    calls: list[int] = []

    def said() -> Any:
        calls.append(1)
        return PLAIN, EVENTS, None

    for later in (True, False):
        span = tracer.start_span("s", attributes={"text": "before", "start": 1})
        span.add_event("early", {"a": 1}, 3)
        if later:
            assert sdk.fill_later(span, ended(evaluations=(Evaluation("e", "info", ""),) * 2), said)
            assert not calls
            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(lambda one: len(one.events), [span] * 4)) == [3] * 4
        else:
            span.set_attributes(PLAIN)
            for event in EVENTS:
                span.add_event(event.name, event.attributes, event.time)
        span.end()
    one, other = exporter.get_finished_spans()
    assert shown(one) == shown(other)
    assert type(one._attributes) is BoundedAttributes


def test_a_failure_to_write_what_is_read_later_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter reads the attributes of the start then; one line is logged."""
    reported: list[object] = []
    monkeypatch.setattr(sdk, "report", lambda place, error: reported.append(error))
    tracer, exporter = spans()
    span = tracer.start_span("s", attributes={"start": 1})
    assert sdk.fill_later(span, ended(), lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    span.end()
    assert shown(exporter.get_finished_spans()[0])[0] == {"start": 1}
    assert len(reported) == 1


@pytest.mark.parametrize(
    "limits",
    [
        SpanLimits(max_span_attributes=late_span.MOST_ATTRIBUTES),
        SpanLimits(max_event_attributes=late_span.MOST_OF_EVENT - 1),
        SpanLimits(max_attribute_length=1),
        SpanLimits(max_span_attribute_length=1),
        SpanLimits(max_events=1),
    ],
)
def test_where_a_limit_might_be_passed_nothing_is_left_for_later(limits: SpanLimits) -> None:
    """What is written later has no SDK to count what is dropped: it is written at once, as the limits want it."""
    span = spans(limits)[0].start_span("s", attributes={"start": 1})
    assert not sdk.fill_later(span, ended(evaluations=(Evaluation("e", "info", ""),) * 2), lambda: (PLAIN, EVENTS, None))
    assert dict(span.attributes) == {"start": 1}


def test_what_nobody_reads_goes_with_its_span() -> None:
    """There is no cycle that would wait for the collector, read or not."""

    class Said:
        def __call__(self) -> Any:
            return PLAIN, EVENTS, None

    for read in (False, True):
        said = Said()
        known = weakref.ref(said)
        span = TracerProvider().get_tracer("test").start_span("s")
        assert sdk.fill_later(span, ended(evaluations=(Evaluation("e", "info", ""),) * 2), said)
        span.end()
        del said
        assert not read or (span.attributes and len(span.events) == 2)  # type: ignore[attr-defined]
        if not read:
            del span
        assert known() is None


def test_there_is_room_for_all_that_we_write() -> None:
    """No operation has more attributes than are counted on, no finding more on its event."""
    widest = max(len(keys) for keys in operations.RESERVED.values())
    assert widest + len(findings.DERIVED) + 4 < late_span.MOST_ATTRIBUTES
    assert max(len(findings._VIOLATION), len(findings._EVALUATION)) <= late_span.MOST_OF_EVENT


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
    for other in (span, object()):
        assert not sdk.fill(other, PLAIN, EVENTS)
        assert not sdk.fill_later(other, ended(), lambda: (PLAIN, EVENTS, None))


def public(tracer: Any, parent: Any) -> Any:
    return tracer.start_span("s", parent, SpanKind.CLIENT, PLAIN, start_time=5)


def at_once(tracer: Any, parent: Any) -> Any:
    around = trace.get_current_span(parent).get_span_context()
    made = sdk.Starter(tracer).start(around if around.is_valid else None, "s", SpanKind.CLIENT, PLAIN, 5, parent)
    if made is None:
        return None
    span, own = made
    assert own is span.get_span_context()
    return span


def insides(span: Any) -> dict[str, Any]:
    """All that a span consists of; its own id, locks and what is ours left out."""
    own = span.get_span_context()
    left_out = ("_context", "_lock", "_record_end_metrics", "_mould", "_begun", "_late")
    _ = span.attributes, span.events, span.links
    held = {name: each for name, each in vars(span).items() if name not in left_out}
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
        assert isinstance(one, type(other))
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
    assert starter.start(None, "s", SpanKind.CLIENT, PLAIN, 5, Context()) is not None
    tracer.sampler = sampling.ALWAYS_OFF
    assert starter.start(None, "s", SpanKind.CLIENT, PLAIN, 5, Context()) is None


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
    assert starter.start(None, "s", SpanKind.CLIENT, PLAIN, 5, Context()) is None
    assert at_once(tracer, Context()) is None
    assert at_once(trace.NoOpTracer(), Context()) is None


def ours(tracer: Any) -> Any:
    return at_once(tracer, Context())


def test_a_span_of_ours_is_exported_as_one_made_the_public_way() -> None:
    """Filled when it is read, filled at once, or touched by the program before its end: it reads the same, and its end is the
    end."""
    tracer, exporter = spans()
    events = (*EVENTS, Event("three", 7, {"a": {"nested": 1}}))
    for way in ("public", "late", "touched", "at once"):
        span = public(tracer, Context()) if way == "public" else ours(tracer)
        if way == "touched":
            span.set_attribute("text", "early")
        if way == "late":
            assert sdk.fill_later(span, ended(), lambda: ({"text": "b"}, EVENTS, None))
            assert not {"_attributes", "_events", "_links"} & vars(span).keys()
        elif way == "public":
            span.set_attributes({"text": "b"})
            for event in EVENTS:
                span.add_event(event.name, event.attributes, event.time)
        else:
            assert way == "at once" or not sdk.fill_later(span, ended(), lambda: ({}, (), None))
            assert not sdk.fill(span, {}, events)
            assert sdk.fill(span, {"text": "b"}, EVENTS)
        span.end(9)
        span.end(10)
        span.set_attribute("late", 1)
        span.add_event("late")
    first, *others = exporter.get_finished_spans()
    assert len(others) == 3
    for other in others:
        assert shown(other) == shown(first)
        assert (other.name, other.kind, other.parent, other.start_time, other.end_time, other.status, tuple(other.links)) == (
            first.name, first.kind, first.parent, first.start_time, first.end_time, first.status, tuple(first.links)
        )  # fmt: skip
        assert other.resource is first.resource
        assert other.instrumentation_scope is first.instrumentation_scope
        assert set(json.loads(other.to_json())) == set(json.loads(first.to_json()))
        with pytest.raises(TypeError):
            other._attributes["more"] = 1  # type: ignore[index]


def test_a_span_of_ours_is_read_by_many_threads_at_once() -> None:
    """What it was to say is there for each of them."""
    for _ in range(20):
        span = ours(spans()[0])
        assert sdk.fill_later(span, ended(), lambda: (PLAIN, EVENTS, None))
        span.end()
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(lambda one: (len(one.events), dict(one.attributes)), [span] * 4))
        assert read == [(2, PLAIN | {"list": ("a", "b"), "none": ()})] * 4


class _Watching(SpanProcessor):
    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self._seen.append((dict(span.attributes), parent_context))


def test_a_span_that_ends_while_another_thread_looks_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did is written on it at once then."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = runtime.build(Config(), sinks=(), tracer_provider=provider)
    recording = recorder.start(Inference("openai", request_model="gpt-4o"))
    make, ended = late_span.Mould.events_of, []

    def end_meanwhile(*given: Any) -> Any:
        if not ended:
            ended.append(True)
            other = threading.Thread(target=recording.end, args=(Inference("openai", usage=Usage(1, 2)),))
            other.start()
            other.join()
        return make(*given)

    monkeypatch.setattr(late_span.Mould, "events_of", end_meanwhile)
    assert recording.otel.attributes  # type: ignore[attr-defined]
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.output_tokens"] == 2


def test_ids_do_not_repeat_after_random_is_seeded() -> None:
    """On a program's own provider with the SDK's default generator, which draws from ``random``; a generator that the program
    chose stays."""
    with capture(identity=Identity(), tracer_provider=TracerProvider()) as captured:
        for _ in range(3):
            random.seed(0)
            with llmtrace.span("step"):
                pass
    assert len({span.trace_id for span in captured.spans}) == len({span.span_id for span in captured.spans}) == 3

    class Own(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return 7

    with capture(tracer_provider=TracerProvider(id_generator=Own())) as captured, llmtrace.span("step"):
        pass
    assert [span.trace_id for span in captured.spans] == [f"{7:032x}"]
