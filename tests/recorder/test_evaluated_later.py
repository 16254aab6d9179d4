"""What no store needs at once is evaluated later: what is exported is the same, whoever reads it first, and whenever."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterator
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
from llmtrace.metrics import Metrics
from llmtrace.model import Inference, Message, Text, ToolCall, ToolDefinition, ToolExecution, Usage
from llmtrace.recorder import Recorder, activate, deferred
from llmtrace.semconv import EVALUATION_EVENT, METRIC_EVALUATIONS, METRIC_INFERENCE_DURATION
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


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What is to be done later, which nobody does."""
    waiting: list[tuple[Any, Any]] = []
    monkeypatch.setattr("llmtrace.recorder.recorder.do_later", lambda act, one: waiting.append((act, one)))
    return waiting


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

    with llmtrace.budget(calls=3):
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


@pytest.mark.parametrize("read", ["in order", "the last one first", "as each ends", "when all is done"])
def test_what_is_exported_is_what_is_recorded_at_once(read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: whoever reads first, all spans say the same, findings that depend on earlier spans included."""
    whole = Program(_AtOnce())
    run(whole.recorder)
    expected = whole.exported()
    if read != "when all is done":  # then nobody does it but the reader
        monkeypatch.setattr("llmtrace.recorder.recorder.do_later", lambda act, one: None)
    program = Program(processor=_Reading if read == "as each ends" else BatchSpanProcessor)
    run(program.recorder)
    if read == "when all is done":
        deferred.settle()
    spans = program.exported()
    if read == "the last one first":
        spans.reverse()
    assert shown(spans) == shown(expected)
    assert findings(expected) > 8


def test_it_is_done_on_a_thread_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon, though nobody reads the span; a signal of the program's own, too."""
    on: list[str] = []
    program = Program()
    evaluate = program.recorder.evaluator.evaluate

    def noted(*args: Any, **how: Any) -> Any:
        on.append(threading.current_thread().name)
        return evaluate(*args, **how)

    monkeypatch.setattr(program.recorder.evaluator, "evaluate", noted)
    with llmtrace.span("one"):
        pass
    deadline = time.monotonic() + 10
    while not on and time.monotonic() < deadline:
        time.sleep(0.005)
    assert on == ["llmtrace-ends"]


def test_a_store_has_it_at_once(held: list[Any]) -> None:
    """So does whoever else may not wait; then nothing is left for later."""
    program = Program(_AtOnce())
    run(program.recorder)
    assert held == []


def test_no_signals_no_wait(held: list[Any]) -> None:
    program = Program(signals=())
    run(program.recorder)
    assert held == []


def test_a_failed_span_is_whole_at_its_end(held: list[Any]) -> None:
    """Its status has to be set before that."""
    program = Program()
    with pytest.raises(ZeroDivisionError), llmtrace.span("one"):
        1 / 0  # noqa: B018
    assert held == []
    (span,) = program.exported()
    assert not span.status.is_ok


def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends more does the oldest itself."""
    worker = deferred._Worker()
    monkeypatch.setattr(worker, "_start", lambda: True)  # a thread that never comes to it
    done: list[int] = []
    for number in range(deferred.MOST_WAITING + 10):
        worker.take_later(done.append, number)
    assert done == list(range(10))


def test_without_a_thread_it_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the interpreter's end none can be started."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    worker = deferred._Worker()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    worker.take_later(done.append, 1)
    worker.take_later(done.append, 2)
    assert done == [1, 2]


def test_a_span_that_is_kept_keeps_no_run(held: list[Any]) -> None:
    """An exporter may keep what nobody reads for long; a run holds a whole conversation."""
    program = Program()
    with llmtrace.span("one"):
        current = program.recorder
        recording = current.start(Inference("openai", request_model="gpt-4o"))
        kept = weakref.ref(recording.run)
        recording.end(_answer(1))
    del recording
    for act, one in held:
        act(one)
    held.clear()
    gc.collect()
    assert kept() is None
    assert len(program.exported()) == 2


def test_metrics_have_all_when_they_are_collected() -> None:
    """Those of a span that waits are counted before."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    program = Program(Metrics(meters, settle=deferred.settle))
    run(program.recorder)
    data = reader.get_metrics_data()
    assert data is not None
    counts = {
        metric.name: sum(getattr(point, "count", getattr(point, "value", 0)) for point in metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert counts[METRIC_INFERENCE_DURATION] == 8
    assert counts[METRIC_EVALUATIONS] == findings(program.exported())
    meters.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_waits_for_what_is_being_done_and_leaves_the_rest() -> None:
    """The child has a thread of its own, and no lock of its parent's is held in it."""
    program = Program()
    began, over = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        began.set()
        over.wait(0.3)

    deferred.do_later(slow, None)
    began.wait(10)
    since = time.monotonic()
    child = os.fork()
    if not child:
        code = 1
        try:
            with llmtrace.span("child"):
                pass
            deferred.settle()
            code = 0 if not deferred._worker._later else 2
        finally:
            os._exit(code)
    assert time.monotonic() - since > 0.1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with llmtrace.span("parent"):
        pass
    deferred.settle()
    assert [span.name for span in program.exported()] == ["parent"]
