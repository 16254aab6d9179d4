"""The recorder: one span of ours is one OpenTelemetry span, whatever the program's provider does."""

from __future__ import annotations

import contextvars
import gc
import logging
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import Status, StatusCode
from tests.content.spans import operations
from tests.stored import recording

import llmtrace
from llmtrace.codec.genai import decode, encode
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.evaluation import Evaluator
from llmtrace.laws import Law, user_signals
from llmtrace.model import (
    AgentInvocation,
    Inference,
    Message,
    Operation,
    Review,
    Sink,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
)
from llmtrace.recorder import Recorder, active, collected
from llmtrace.recorder.identity import Identity
from llmtrace.semconv import PARTIAL
from llmtrace.testing import Captured, capture


@llmtrace.tool
def look_up(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "total": 12.5}


def infer(*calls: ToolCall, **fields: Any) -> Inference:
    definition = ToolDefinition("look_up", {"type": "object", "properties": {"order_id": {"type": "string"}}})
    return Inference(
        "openai",
        request_model="m",
        tools=(definition,),
        input=(Message("user", (Text("secret question"),)),),
        output=(Message("assistant", calls),),
        **fields,
    )


def record(operation: Any) -> None:
    recorder = active()
    assert recorder is not None
    recorder.start(operation).end(operation)


def test_spans_go_to_the_programs_provider_without_content(app_provider: Any) -> None:
    """By default a program's own exporters get our spans with ids, verdicts and numbers, and no content."""
    with capture(identity=Identity()) as captured, llmtrace.agent("support"):
        record(infer(ToolCall("look_up", {"order_id": 5}, "c1")))
        look_up("W1")
    exported = {span.name: span for span in app_provider.exported.get_finished_spans()}
    assert set(exported) == {"chat m", "execute_tool look_up", "invoke_agent support"}
    ours = {span.name: span for span in captured.spans}
    for name, span in exported.items():
        assert f"{span.context.trace_id:032x}" == ours[name].trace_id
        assert f"{span.context.span_id:016x}" == ours[name].span_id
    chat = exported["chat m"]
    assert chat.attributes["llmtrace.tool_call.valid"] is False
    assert "secret question" not in chat.to_json()
    assert "W1" not in exported["execute_tool look_up"].to_json()
    assert ours["chat m"].operation.input[0].text() == "secret question"  # type: ignore[union-attr]


@pytest.mark.parametrize("operation", operations("CANARY7QX"), ids=lambda operation: type(operation).__name__)
def test_no_content_is_left_in_attributes(operation: Operation) -> None:
    """Of no kind of operation, also where nothing was found wrong."""
    span = Span("0" * 32, "1" * 16, "step", 1, 2, operation=operation)
    assert "CANARY7QX" not in repr(Content(Config()).without_content(encode(span)))


def test_content_all_puts_content_on_the_programs_spans(app_provider: Any) -> None:
    """content="all" is the way to have messages in a backend."""
    with capture(content="all", identity=Identity()):
        record(infer())
    [span] = app_provider.exported.get_finished_spans()
    assert "secret question" in span.attributes["gen_ai.input.messages"]


def test_a_sampler_that_drops_everything_changes_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and verdicts do not depend on the program's sampler."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    with capture(identity=Identity()) as captured, llmtrace.agent("support"):
        record(infer(ToolCall("nowhere", {}, "c1")))
    chat, agent = captured.spans
    assert chat.parent_id == agent.span_id
    assert chat.trace_id == agent.trace_id
    assert [violation.code for violation in chat.violations] == ["unknown_tool"]


def test_no_provider_is_set_in_the_programs_place() -> None:
    """The program may set its TracerProvider after us."""
    before = trace.get_tracer_provider()
    with capture(), llmtrace.agent("support"):
        pass
    assert trace.get_tracer_provider() is before


def test_ids_do_not_follow_random_seed() -> None:
    """Two runs with the same seed have different ids."""
    ids = []
    for _ in range(2):
        random.seed(7)
        with capture(identity=Identity()) as captured, llmtrace.agent("support"):
            pass
        ids.append((captured.spans[0].trace_id, captured.spans[0].span_id, captured.spans[0].run_id))
    assert len({part for found in ids for part in found}) == 6


def test_foreign_spans_between_ours_are_parents(app_provider: Any) -> None:
    """A span of another instrumentation between two of ours is the parent, and the run goes on through it."""
    tracer = trace.get_tracer("web")
    with capture(identity=Identity()) as captured, llmtrace.agent("support"), tracer.start_as_current_span("GET /") as foreign:
        look_up("W1")
    tool, agent = captured.spans
    assert tool.parent_id == f"{foreign.get_span_context().span_id:016x}"
    assert tool.run_id == agent.run_id


def test_a_failed_span_is_an_error_with_an_exception_event(app_provider: Any) -> None:
    """Viewers show an error only with status ERROR and a standard exception event."""
    with capture(content="all", identity=Identity()), pytest.raises(ValueError, match="boom"), llmtrace.span("step"):
        raise ValueError("boom")
    [span] = app_provider.exported.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    event, finding = span.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "ValueError"
    assert (finding.name, finding.attributes["gen_ai.evaluation.name"]) == ("gen_ai.evaluation.result", "end_state")


def test_a_direct_call_is_matched_to_the_pending_call() -> None:
    """A tool called by hand gets the id of the model's call, marked inferred: by arguments, else the only one."""
    with capture() as captured, llmtrace.agent("support"):
        record(infer(ToolCall("look_up", {"order_id": "A"}, "a"), ToolCall("look_up", {"order_id": "B"}, "b")))
        look_up("B")
        look_up("changed")
        look_up("again")
    found = [span.operation for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert [(done.call_id, done.inferred) for done in found] == [("b", True), ("a", True), (None, False)]


def test_sequence_numbers_are_in_order_of_ending() -> None:
    """Replaying by sequence is replaying as it was."""
    with capture() as captured, llmtrace.agent("support"):
        record(infer())
        look_up("A")
    assert [span.sequence for span in captured.spans] == [0, 1, 2]
    assert len({span.run_id for span in captured.spans}) == 1


def test_spans_around_reviews_say_how_long_these_waited() -> None:
    """Reviews side by side count once; what happens elsewhere does not count."""
    with capture(identity=Identity()) as captured:
        recorder = active()
        assert recorder is not None
        agent = recorder.start(AgentInvocation("support"))
        tool = recorder.start(ToolExecution("refund"), context=agent.context)
        first = recorder.start(Review("refund"), context=tool.context)
        second = recorder.start(Review("refund"), context=agent.context)
        begin = first.start
        first.end(end=begin + 2 * 10**9)
        second.end(end=begin + 3 * 10**9)
        recorder.start(Review("never"), context=agent.context).end(end=begin)
        tool.end(end=begin + 5 * 10**9)
        agent.end(end=agent.start + 10 * 10**9)
    spans = {span.name: span for span in captured.spans}
    assert spans["execute_tool refund"].attributes["llmtrace.review.waited"] == 2.0
    assert spans["invoke_agent support"].attributes["llmtrace.review.waited"] == 3.0
    assert spans["invoke_agent support"].latency == 7.0
    assert all("llmtrace.review.waited" not in span.attributes for span in captured.spans if isinstance(span.operation, Review))


def test_ending_twice_records_once(captured: Captured) -> None:
    """A recording ends once, whoever ends it."""
    recorder = active()
    assert recorder is not None
    recording = recorder.start(AgentInvocation("a"))
    assert recording.end() is not None
    assert recording.end() is None
    assert len(captured.spans) == 1


def test_outcome_decides_health() -> None:
    """The program's own judgement is on the run's outermost span and in the trace's health."""
    with capture() as captured, llmtrace.agent("support"), llmtrace.span("inner"):
        llmtrace.outcome("failure", score=0.2, reason="wrong order")
    trace_ = captured.trace
    assert trace_.health == "failed"
    assert trace_.outcome is not None
    assert (trace_.outcome.score, trace_.outcome.evidence) == (0.2, {"reason": "wrong order"})
    assert trace_.root.evaluations == (trace_.outcome,)


def test_outcome_outside_a_run_or_with_another_word_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """It never raises."""
    llmtrace.outcome("success")
    assert caplog.records == []
    with capture(), caplog.at_level(logging.WARNING):
        llmtrace.outcome("success")
        with llmtrace.agent("a"):
            llmtrace.outcome("great")  # type: ignore[arg-type]
    assert ["outside a run" in caplog.records[0].message, "expected success" in caplog.records[1].message] == [True, True]


@pytest.mark.guard_may_log
def test_a_sink_that_raises_costs_nothing_but_a_line(caplog: pytest.LogCaptureFixture, captured: Captured) -> None:
    """Nothing of ours raises into the program."""

    class Broken(Sink):
        def append(self, span: object) -> None:
            raise OSError("disk on fire")

    recorder = active()
    assert recorder is not None
    recorder.sinks = (Broken(), *recorder.sinks)
    assert look_up("A")["total"] == 12.5
    assert len(captured.spans) == 1
    assert "disk on fire" not in caplog.text
    assert caplog.text.count("Broken.append failed with OSError") == 1


class Odd:
    """No JSON value."""


def test_attributes_events_and_outcomes_of_any_kind_are_recorded() -> None:
    """What a program hands over is snapshotted: an odd value is named by its type, and costs no span."""
    with capture() as captured, llmtrace.agent("a") as opened:
        grown = [1]
        opened.set_attributes({"odd": Odd(), "grown": grown})  # type: ignore[dict-item]
        opened.add_event("seen", {"odd": Odd()})  # type: ignore[dict-item]
        llmtrace.outcome("failure", score="high", reason=ValueError("x"))  # type: ignore[arg-type]
        grown.append(2)
    [span] = captured.spans
    assert span.attributes["grown"] == [1]
    assert "Odd" in str(span.attributes["odd"])
    assert "Odd" in str(span.events[0].attributes["odd"])
    outcome = captured.trace.outcome
    assert outcome is not None
    assert (outcome.label, outcome.score, outcome.evidence) == ("failure", None, {"reason": "ValueError: x"})


def test_a_made_up_name_does_not_cost_an_exporter_its_batch(app_provider: Any) -> None:
    """Half a surrogate pair in a tool's name: what the program exports can still be encoded."""
    with capture(content="all", identity=Identity()):
        llmtrace.Tools(look_up).run([{"id": "c", "function": {"name": "look_\ud83d", "arguments": "{}"}}])
    [span] = app_provider.exported.get_finished_spans()
    assert span.name.encode() == "execute_tool look_\ufffd".encode()


@pytest.mark.parametrize("content", ["none", "local"])
def test_the_name_of_a_tool_that_a_model_made_up_is_content(app_provider: Any, content: str, tmp_path: Path) -> None:
    """It is neither on the program's spans nor, where content is off, in the journal; nor in the start mark of either."""
    seen: list[str] = []
    app_provider.add_span_processor(_Names(seen))
    with recording(str(tmp_path), content=content, tracer_provider=app_provider):
        llmtrace.Tools(look_up).run([{"id": "c", "function": {"name": "tell Jane Doe, she is ill", "arguments": "{}"}}])
    exported = app_provider.exported.get_finished_spans()
    assert "Jane" not in str(seen) + "".join(span.to_json() for span in exported)
    if content == "none":
        assert not any(b"Jane" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


class _Names(SpanProcessor):
    """Looks at each span as it starts."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.seen.append(f"{span.name} {dict(span.attributes)}")


def test_what_is_set_after_the_end_is_not_recorded() -> None:
    """As with OpenTelemetry's own spans: an ended span is what it was when it ended."""
    with capture(identity=Identity()) as captured:
        with llmtrace.agent("support"):
            span, own = trace.get_current_span(), llmtrace.current_span()
        span.set_attribute("late", 1)
        own.set_attribute("later", 2)
        span.add_event("late")
    [ended] = captured.spans
    assert {"late", "later"}.isdisjoint(ended.attributes)
    assert ended.events == ()


@pytest.mark.guard_may_log
def test_a_sampler_that_raises_costs_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded here does not depend on the program's provider."""

    class Broken(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError

        def get_description(self) -> str:
            return "broken"

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=Broken()))
    with capture(identity=Identity()) as captured, llmtrace.agent("support"):
        trace.get_current_span().set_attribute("tenant", "blue")
    assert captured.spans[0].attributes["tenant"] == "blue"


def test_events_of_the_program_are_on_its_span_once(app_provider: Any) -> None:
    """They are in our record, too, and not written back."""
    with capture(content="all", identity=Identity()), llmtrace.agent("support"):
        trace.get_current_span().add_event("cache miss")
    [span] = app_provider.exported.get_finished_spans()
    assert [event.name for event in span.events] == ["cache miss"]


@pytest.mark.parametrize("provider", [None, TracerProvider(), TracerProvider(sampler=ALWAYS_OFF)])
def test_a_status_that_the_program_sets_is_recorded(provider: Any) -> None:
    """By OpenTelemetry's API a program may say that a step failed; the last error counts, and OK is final."""
    with capture(identity=Identity(), tracer_provider=provider, signals=[]) as captured:
        with llmtrace.agent("refused"):
            trace.get_current_span().set_status(StatusCode.ERROR, "first")
            trace.get_current_span().set_status(StatusCode.UNSET)
            trace.get_current_span().set_status(Status(StatusCode.ERROR, "the answer was refused"))
        with llmtrace.agent("typed"):
            event = {"exception.type": "ValueError", "exception.message": "no order"}
            trace.get_current_span().add_event("exception", event)
            trace.get_current_span().set_status(StatusCode.ERROR)
        with llmtrace.agent("good"):
            trace.get_current_span().set_status(StatusCode.ERROR)
            trace.get_current_span().set_status(StatusCode.OK)
            trace.get_current_span().set_status(StatusCode.ERROR)
        with pytest.raises(KeyError), llmtrace.agent("raised"):
            trace.get_current_span().set_status(StatusCode.ERROR, "before")
            raise KeyError
    failures = [(failure.type, failure.message) if (failure := span.failure) else None for span in captured.spans]
    assert failures == [("error", "the answer was refused"), ("ValueError", "no order"), None, ("KeyError", "")]
    assert [decode(encode(span)) for span in captured.spans] == list(captured.spans)


def test_a_status_that_the_program_sets_stays_on_its_own_span(app_provider: Any) -> None:
    """Its description was the program's decision, so it is not replaced at a level without content."""
    with capture(identity=Identity()), llmtrace.agent("refused"):
        trace.get_current_span().set_status(StatusCode.ERROR, "the answer was refused")
    [span] = app_provider.exported.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "the answer was refused")


def test_an_interrupt_in_a_signal_of_the_program_costs_no_span(app_provider: Any) -> None:
    """Ctrl-C goes through; the span is recorded and ended."""

    def interrupted(span: Any) -> None:
        raise KeyboardInterrupt

    llmtrace.signal(interrupted, name="interrupted")
    try:
        with capture(identity=Identity()) as captured, pytest.raises(KeyboardInterrupt):
            look_up("W1")
        assert len(captured.spans) == len(app_provider.exported.get_finished_spans()) == 1
    finally:
        user_signals.registered.pop("interrupted")


@pytest.mark.timeout(20)
def test_a_span_that_the_collector_ends_in_the_middle_of_a_step(captured: Captured) -> None:
    """The collector may run at any moment, and close a generator of the same run: nothing waits for itself."""

    class Collects(Law[None]):
        name = "collects"

        def start(self, timeline: Any) -> None:
            return None

        def step(self, state: None, span: Any) -> list[Any]:
            gc.collect()
            return []

    @llmtrace.span
    def items() -> Any:
        yield 1
        yield 2

    recorder = active()
    assert recorder is not None
    recorder.use_evaluator(lambda: Evaluator([Collects()]))
    with llmtrace.workflow("w"), llmtrace.Budget(calls=5):
        held: list[Any] = [items()]
        held.append(held)
        next(held[0])
        del held
        look_up("A")
    assert sorted(span.name for span in captured.spans) == ["execute_tool look_up", "invoke_workflow w", "items"]


@pytest.mark.guard_may_log
def test_a_recording_that_could_not_be_started_stands_in(monkeypatch: pytest.MonkeyPatch, captured: Captured) -> None:
    """Whatever an instrumentor or a decorator does with it, the program goes on."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    recorder = active()
    assert recorder is not None
    members = vars(recorder.start(AgentInvocation("a")))
    monkeypatch.setattr(Recorder, "_start", broken)
    recording = recorder.start(AgentInvocation("a"))
    assert vars(recording).keys() == members.keys()
    recording.set({"x": 1})
    recording.add_event("seen")
    with recording.use(), llmtrace.agent("b") as opened:
        opened.set_attribute("x", 1)
        opened.add_event("seen")
        llmtrace.outcome("success")
        assert look_up("A")["total"] == 12.5
        assert len(llmtrace.Tools(look_up).run([{"id": "c", "function": {"name": "look_up", "arguments": "{}"}}])) == 1
    assert (recording.headers(), recording.end()) == ({}, None)
    assert captured.spans == ()


@pytest.mark.parametrize("has_provider", [True, False])
def test_what_a_program_sets_by_opentelemetry_is_in_our_record(has_provider: bool, request: pytest.FixtureRequest) -> None:
    """Attributes and events that are set on the current span by OpenTelemetry's API are recorded, provider or not."""
    if has_provider:
        request.getfixturevalue("app_provider")
    with capture(identity=Identity()) as captured, llmtrace.agent("support"):
        current = trace.get_current_span()
        current.set_attribute("tenant", "blue")
        current.set_attributes({"attempt": 2, "gen_ai.tool.name": "of another library"})
        current.add_event("cache miss", {"key": "a"})
        assert current.is_recording()
    [span] = captured.spans
    assert {name: span.attributes[name] for name in ("tenant", "attempt")} == {"tenant": "blue", "attempt": 2}
    assert "gen_ai.tool.name" not in span.attributes
    assert [(event.name, event.attributes) for event in span.events] == [("cache miss", {"key": "a"})]


def test_what_a_program_sets_by_opentelemetry_is_redacted(app_provider: Any) -> None:
    """It leaves memory by the same door as all content does."""
    with capture(identity=Identity()) as captured, llmtrace.agent("support"):
        trace.get_current_span().set_attribute("note", "password=hunter22x")
    assert "hunter22x" not in repr(captured.spans)


def test_a_generator_that_the_collector_closes_ends_its_span(captured: Captured) -> None:
    """It is in a cycle, so nobody but the garbage collector closes it; its span ends on a thread of ours, marked partial."""

    @llmtrace.agent
    def count() -> Iterator[int]:
        yield from range(3)

    cycle: list[Any] = [count()]
    assert next(cycle[0]) == 0
    cycle.append(cycle)
    del cycle
    gc.collect()
    collected.settle()
    [span] = captured.spans
    assert span.attributes[PARTIAL] is True


def test_a_signal_of_the_program_may_call_tools_in_other_threads() -> None:
    """No lock of the run is held while the program's own code runs: what it starts in a thread can end."""

    def consult(span: Any) -> bool:
        if isinstance(span.operation, ToolExecution):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(look_up, "W9"))
            thread.start()
            thread.join(10)
            return thread.is_alive()
        return False

    llmtrace.signal(consult, name="consult")
    try:
        with capture() as captured, llmtrace.agent("support"):
            look_up("W1")
        assert [span.name for span in captured.spans] == [
            "execute_tool look_up",
            "execute_tool look_up",
            "invoke_agent support",
        ]
        assert not [found for span in captured.spans for found in span.evaluations if found.name == "consult"]
    finally:
        user_signals.registered.pop("consult")
