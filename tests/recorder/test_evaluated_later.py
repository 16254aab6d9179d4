"""What no store needs at once is evaluated later: what is exported is the same, whoever reads it first, and whenever."""

from __future__ import annotations

import asyncio
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
from llmtrace.content import Content
from llmtrace.evaluation import Evaluator
from llmtrace.metrics import Metrics
from llmtrace.model import Inference, Message, Text, ToolCall, ToolDefinition, ToolExecution, Usage
from llmtrace.recorder import Recorder, activate, deferred
from llmtrace.recorder.run import Run
from llmtrace.semconv import EVALUATION_EVENT, METRIC_EVALUATIONS, METRIC_INFERENCE_DURATION
from llmtrace.signals import _own
from llmtrace.testing import counting_identity

LOOK_UP = ToolDefinition("look_up", parameters={"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]})


class _AtOnce:
    """A sink that may not wait."""

    marks = False

    def append(self, span: Any) -> None: ...


class _Waiting:
    """A sink that may wait; the first span takes it long."""

    marks = False
    may_wait = True

    def __init__(self, seconds: float = 0.0) -> None:
        self.sequences: list[int | None] = []
        self._seconds = seconds

    def append(self, span: Any) -> None:
        time.sleep(0.0 if self.sequences else self._seconds)
        self.sequences.append(span.sequence)


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
    monkeypatch.setattr("llmtrace.recorder.recorder.do_later", lambda run, act, one: waiting.append((act, one)))
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
        monkeypatch.setattr("llmtrace.recorder.recorder.do_later", lambda run, act, one: None)
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
    """Whoever ends more does the oldest of its run itself; another run's is not waited for."""
    worker = deferred._Worker()
    monkeypatch.setattr(worker, "_start", lambda: True)  # a thread that never comes to it
    run, other = Run("1", Evaluator(())), Run("2", Evaluator(()))
    done: list[Any] = []
    for number in range(deferred.MOST_WAITING + 10):
        worker.take_later(run, done.append, number)  # type: ignore[arg-type]
    assert done == list(range(10))
    worker.take_later(other, done.append, "other")  # type: ignore[arg-type]
    assert done[10:] == ["other"]
    assert (len(run.later), len(other.later)) == (deferred.MOST_WAITING, 0)


def test_without_a_thread_it_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the interpreter's end none can be started."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    worker = deferred._Worker()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    run = Run("1", Evaluator(()))
    done: list[Any] = []
    worker.take_later(run, done.append, 1)  # type: ignore[arg-type]
    worker.take_later(run, done.append, 2)  # type: ignore[arg-type]
    assert done == [1, 2]


def test_what_ends_while_the_thread_is_started_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may end a span in the midst of that."""
    worker, run = deferred._Worker(), Run("1", Evaluator(()))
    start, done = threading.Thread.start, threading.Event()

    def end_meanwhile(thread: threading.Thread) -> None:
        worker.take_later(run, lambda _: done.set(), None)  # type: ignore[arg-type]
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", end_meanwhile)
    worker.take(run)
    assert done.wait(10)


def test_sinks_have_the_spans_of_a_run_in_order() -> None:
    """Also where so many wait that the program's thread helps ours."""
    sink = _Waiting(seconds=0.1)
    Program(sink)
    with llmtrace.span("run"):
        for _ in range(2 * deferred.MOST_WAITING):
            with llmtrace.span("one"):
                pass
    deferred.settle()
    assert sink.sequences == list(range(2 * deferred.MOST_WAITING + 1))


def test_what_is_handed_on_at_once_comes_after_what_waits() -> None:
    """A failed span need not wait, but those before it did."""
    sink = _Waiting()
    Program(sink)
    with pytest.raises(ZeroDivisionError), llmtrace.span("run"):
        for _ in range(3):
            with llmtrace.span("one"):
                pass
        1 / 0  # noqa: B018
    assert sink.sequences == [0, 1, 2, 3]


def test_settling_includes_what_ended_on_our_thread() -> None:
    """A batch's spans end there, and then wait."""
    sink = _Waiting()
    recorder = Recorder(content=Content(Config()), evaluator=Evaluator(), sinks=[sink], identity=counting_identity())
    recording = recorder.start(Inference("openai", request_model="gpt-4o"), may_wait=True)
    recording.end_later(lambda: _answer(1))
    deferred.settle()
    assert sink.sequences == [0]


@pytest.mark.parametrize("at", ["start", "step", "step, on another thread", "finish"])
def test_a_signal_does_not_see_what_it_causes(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would cause more, for ever."""
    monkeypatch.setattr(_own, "registered", {})

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
        deferred.settle()
    spans = program.exported()
    assert sorted(span.name for span in spans) == ["caused", "one"]
    assert findings(spans) == 1


@pytest.mark.filterwarnings("error")
def test_whatever_a_signal_raises_our_thread_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is no `Exception`."""
    monkeypatch.setattr(_own, "registered", {})

    @llmtrace.signal(name="leaving")
    def _leaving(span: Any) -> bool:
        if span.name == "first":
            raise SystemExit
        return True

    program = Program()
    for name in ("first", "second"):
        with llmtrace.span(name):
            pass
    deferred.settle()
    assert deferred._worker._thread is not None
    assert deferred._worker._thread.is_alive()
    assert findings(program.exported()) == 1


def test_a_signal_that_does_not_return_keeps_no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can evaluate is exported without findings."""
    monkeypatch.setattr(_own, "registered", {})
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
        assert begun.wait(10)
        with llmtrace.span("second"):
            pass
    assert {span.name: len(span.events) for span in program.exported()} == {"first": 0, "second": 0, "run": 0}
    over.set()


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

    deferred.do_later(Run("1", Evaluator(())), slow, None)  # type: ignore[arg-type]
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


def test_a_fork_that_could_not_wait_leaves_the_thread_to_another() -> None:
    """Two threads may fork at the same time; each gives back what it has itself."""
    worker = deferred._Worker()
    worker.hold()
    other = threading.Thread(target=lambda: (worker._busy.acquire(timeout=0.01), worker.release()))
    other.start()
    other.join()
    worker.release()
    assert not worker._busy._is_owned()  # type: ignore[attr-defined]
