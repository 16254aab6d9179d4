"""What nobody but a reader of the OpenTelemetry span needs is found when the span is read: the same, whoever reads it first."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

import llmtrace
from llmtrace import runtime
from llmtrace.config import Config
from llmtrace.evaluation import Evaluator
from llmtrace.metrics import Metrics
from llmtrace.model import Inference, Message, Scope, Text, ToolCall, ToolDefinition, ToolExecution, Usage
from llmtrace.recorder import Recorder, activate, deferred
from llmtrace.recorder.otel import Tracers
from llmtrace.recorder.run import MOST_WAITING, Run
from llmtrace.semconv import EVALUATION_EVENT
from llmtrace.signals import user_signals
from llmtrace.testing import counting_identity

LOOK_UP = ToolDefinition("look_up", parameters={"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]})


class _AtOnce:
    """A sink that may not wait."""

    marks = False

    def append(self, span: Any) -> None: ...


class _Reading(SimpleSpanProcessor):
    """Looks into each span as it ends."""

    def on_end(self, span: ReadableSpan) -> None:
        span.to_json()
        super().on_end(span)


class _Counting(IdGenerator):
    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._ids)

    def generate_trace_id(self) -> int:
        return next(self._ids)


class Program:
    """A recorder of a program that keeps no store, on a provider of its own."""

    def __init__(self, *sinks: Any, processor: Any = BatchSpanProcessor, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(id_generator=_Counting(), shutdown_on_exit=False)
        self.provider.add_span_processor(processor(self.exporter))
        config = Config.read(**{"content": "all", **options})
        self.recorder: Recorder = runtime.build(
            config, sinks=sinks, identity=counting_identity(), tracer_provider=self.provider
        )
        activate(self.recorder)

    def exported(self) -> list[ReadableSpan]:
        self.provider.force_flush()
        return list(self.exporter.get_finished_spans())


@pytest.fixture(autouse=True)
def _inactive() -> Iterator[None]:
    yield
    deferred.settle()
    activate(None)


def _answer(number: int) -> Inference:
    call = ToolCall("look_up", {"id": "A-4711"} if number % 3 else {"nr": number}, f"c{number}")
    asked = Message("user", (Text(f"Where is my order, please? It is the {number}th time that I ask."),))
    said = Message("assistant", (call,) if number % 2 else (Text(""),))
    return Inference(
        "openai",
        request_model="gpt-4o",
        input=(asked,),
        output=(said,),
        tools=(LOOK_UP,),
        usage=Usage(10, 20),
        response_model="gpt-4o",
    )


def run(recorder: Recorder, calls: int = 8) -> None:
    """An agent whose findings depend on what came before: repeats, made-up arguments, invalid ones, an empty answer."""

    @llmtrace.agent(check=lambda answer: bool(answer))
    def support(task: str) -> str:
        for number in range(calls):
            recorder.start(Inference("openai", request_model="gpt-4o")).end(_answer(number))
            if number % 2:
                tool = ToolExecution("look_up", {"id": "A-4711"}, call_id=f"c{number}", definition=LOOK_UP)
                recorder.start(tool).end(ToolExecution(**{**_fields(tool), "result": "none", "has_result": True}))
        llmtrace.outcome("failure", reason="nothing was found")
        return ""

    with llmtrace.Budget(calls=3, on_exceed="record"):
        support("Where is my order?")


def _fields(tool: ToolExecution) -> dict[str, Any]:
    return {"name": tool.name, "arguments": tool.arguments, "call_id": tool.call_id, "definition": tool.definition}


def shown(spans: list[ReadableSpan]) -> dict[str, tuple[Any, ...]]:
    return {
        f"{span.context.span_id:016x}": (
            span.name,
            dict(span.attributes or {}),
            [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events],
            span.status.status_code,
            span.end_time,
        )
        for span in spans
    }


def findings(spans: list[ReadableSpan]) -> int:
    return sum(event.name == EVALUATION_EVENT for span in spans for event in span.events)


@pytest.mark.parametrize("read", ["in order", "the last one first", "as each ends", "by four threads"])
def test_what_is_exported_is_what_is_recorded_at_once(read: str) -> None:
    """Law: whoever reads first, all spans say the same, findings that depend on earlier spans included."""
    whole = Program(_AtOnce())
    run(whole.recorder)
    expected = whole.exported()
    program = Program(processor=_Reading if read == "as each ends" else BatchSpanProcessor)
    run(program.recorder)
    spans = program.exported()
    if read == "by four threads":
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda span: span.to_json(), spans))
    if read == "the last one first":
        spans.reverse()
    assert shown(spans) == shown(expected)
    assert findings(expected) > 8


@pytest.mark.parametrize("at", ["start", "step", "step, on another thread", "finish"])
def test_a_signal_does_not_see_what_it_causes(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would cause more, for ever."""
    monkeypatch.setattr(user_signals, "registered", {})

    def cause(when: str) -> None:
        if when == at:
            with llmtrace.span("caused"):
                pass

    @llmtrace.signal(name="causing")
    class _Causing:
        def __init__(self) -> None:
            cause("start")

        def step(self, span: Any) -> bool:
            cause("step")
            asyncio.run(asyncio.to_thread(cause, "step, on another thread"))
            return True

        def finish(self) -> None:
            cause("finish")

    program = Program()
    with llmtrace.span("one"):
        pass
    for _ in range(3):
        spans = program.exported()
        assert all(span.to_json() for span in spans)
    assert sorted(span.name for span in spans) == ["caused", "one"]
    assert findings(spans) == 1


def test_a_fork_that_could_not_wait_leaves_the_thread_to_another() -> None:
    """Two threads may fork at the same time; each gives back what it has itself."""
    worker = deferred._Worker()
    worker.hold()
    other = threading.Thread(target=lambda: (worker._busy.acquire(timeout=0.01), worker.release()))
    other.start()
    other.join()
    worker.release()
    assert not worker._busy._is_owned()  # type: ignore[attr-defined]


def evaluated(program: Program, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of spans as they are evaluated."""
    found: list[str] = []
    evaluate = program.recorder.evaluator.evaluate

    def noted(state: Any, span: Any, **how: Any) -> Any:
        found.append(span.name)
        return evaluate(state, span, **how)

    monkeypatch.setattr(program.recorder.evaluator, "evaluate", noted)
    return found


@pytest.mark.parametrize("what", ["a sink", "metrics", "no provider", "a failure"])
def test_where_somebody_needs_it_at_once_it_is_done_at_once(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink, a failure (its status has to be set before the end); and where there is no span that somebody could read."""
    sinks: dict[str, Any] = {"a sink": _AtOnce(), "metrics": Metrics(MeterProvider([InMemoryMetricReader()]))}
    program = Program(*([sinks[what]] if what in sinks else [Metrics()]))
    if what == "no provider":
        program.recorder._tracers = Tracers(None, Scope())
    found = evaluated(program, monkeypatch)
    with contextlib.suppress(ZeroDivisionError), llmtrace.span("one"):
        if what == "a failure":
            1 / 0  # noqa: B018
    assert found == ["one"]


def test_else_it_waits_until_the_span_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(Metrics())
    found = evaluated(program, monkeypatch)
    with llmtrace.span("one"):
        pass
    (span,) = program.exported()
    assert found == []
    assert span.attributes
    assert found == ["one"]


def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run whose spans nobody reads, the oldest are evaluated as it goes on."""
    program = Program()
    found = evaluated(program, monkeypatch)
    with llmtrace.span("run"):
        for number in range(MOST_WAITING + 10):
            with llmtrace.span(str(number)):
                pass
    assert found == [str(number) for number in range(11)]


def test_a_signal_that_does_not_return_keeps_no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can evaluate is exported without findings."""
    monkeypatch.setattr(user_signals, "registered", {})
    monkeypatch.setattr("llmtrace.recorder.run.READ_SECONDS", 0.05)
    begun, over = threading.Event(), threading.Event()

    @llmtrace.signal(name="stuck")
    def _stuck(span: Any) -> bool:
        if span.name == "first":
            begun.set()
            over.wait(60)
        return True

    program = Program()
    with llmtrace.span("run"):
        with llmtrace.span("first"):
            pass
        with llmtrace.span("second"):
            pass
    first, *others = program.exported()
    reader = threading.Thread(target=first.to_json)
    reader.start()
    assert begun.wait(10)
    assert {span.name: len(span.events) for span in others} == {"second": 0, "run": 0}
    over.set()
    reader.join()
    assert len(first.events) == 1


def test_a_span_that_was_read_keeps_no_run() -> None:
    """An exporter may keep it for long; a run holds a whole conversation."""
    program = Program()
    with llmtrace.span("one"):
        recording = program.recorder.start(Inference("openai", request_model="gpt-4o"))
        kept = weakref.ref(recording.run)
        recording.end(_answer(1))
    del recording
    spans = program.exported()
    assert [bool(span.attributes) for span in spans] == [True, True]
    gc.collect()
    assert kept() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_leaves_them_to_its_parent() -> None:
    """It reads a span of its parent's as it was; its own spans are evaluated."""
    program = Program()
    run(program.recorder)
    spans = program.exported()
    child = os.fork()
    if not child:
        code = 1
        try:
            own = Program()
            run(own.recorder)
            whole = findings(own.exported())
            code = 0 if findings(spans) < whole and whole > 8 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert findings(spans) > 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_waits_for_what_is_being_done() -> None:
    """No lock that our thread holds is held in the child."""
    began, over = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        over.wait(0.3)

    deferred.defer(Run("1", Evaluator(())), slow)
    began.wait(10)
    since = time.monotonic()
    child = os.fork()
    if not child:
        os._exit(0)
    assert time.monotonic() - since > 0.1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
