"""Ends that may wait: nothing overtakes them, nothing is lost that had time, and whoever looks finds them done."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

import llmtrace
from llmtrace.model import AgentInvocation, Custom, Failure, Inference, Message, Text, ToolCall, ToolExecution, Workflow
from llmtrace.recorder import Recorder, Recording, active, deferred
from llmtrace.recorder.identity import Identity
from llmtrace.store.memory import MemoryStore
from llmtrace.testing import Captured, capture


def recorder() -> Recorder:
    found = active()
    assert found is not None
    return found


def says(text: str, *calls: ToolCall) -> Inference:
    return Inference("vllm", request_model="m", output=(Message("assistant", (Text(text), *calls)),))


def begin(count: int = 3) -> list[Recording]:
    return [recorder().start(Inference("vllm", request_model="m"), may_wait=True) for _ in range(count)]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of our own never comes to it: whoever needs what is deferred has to do it."""
    monkeypatch.setattr(deferred._worker, "take", lambda run: None)


def numbers(captured: Captured) -> list[str]:
    spans = sorted(captured.spans, key=lambda span: span.sequence or 0)
    return [span.operation.output[0].text() if isinstance(span.operation, Inference) else span.name for span in spans]


def test_a_thread_of_our_own_does_them() -> None:
    """In the order in which they ended, with the operation as it is put together there, and the end that they had."""
    on: list[str] = []

    def made(text: str) -> Inference:
        on.append(threading.current_thread().name)
        return says(text)

    with capture() as captured, llmtrace.span("batch"):
        for number, recording in enumerate(begin()):
            recording.end_later(lambda text=str(number): made(text))  # type: ignore[misc]
        deferred.settle()
        assert set(on) == {"llmtrace-ends"}
    assert numbers(captured) == ["0", "1", "2", "batch"]
    ends = [span.end or 0 for span in captured.spans]
    assert ends == sorted(ends)


@pytest.mark.usefixtures("held")
def test_what_ends_later_in_the_run_does_not_overtake_them() -> None:
    """Neither the span around them, whose end ends the run, nor a tool that answers a call of theirs."""
    with capture() as captured, recorder().start(Workflow("w")).use():
        around = recorder().start(AgentInvocation("a"))
        with around.use():
            (first,) = begin(1)
            first.end_later(lambda: says("call", ToolCall("look_up", {"id": 1}, "c1")))
            assert first.run.match("look_up", {"id": 1}) == "c1"
            second, third = begin(2)
            second.end_later(lambda: says("second"))
            tool = ToolExecution("look_up", call_id="c1", arguments={"id": 1})
            recorder().start(tool).end(tool)
            third.end_later(lambda: says("third"))
        around.end()
    assert numbers(captured) == ["call", "second", "execute_tool look_up", "third", "invoke_agent a"]


@pytest.mark.usefixtures("held")
def test_the_span_says_when_it_ended() -> None:
    """And not when there was time for it; a failure is kept, and what cannot be put together leaves what was known."""
    with capture() as captured:
        (first,) = begin(1)
        first.end_later(lambda: 1 / 0, failure=Failure("refused", "no"))  # type: ignore[arg-type, return-value]
        after = recorder().identity.clock()
        assert captured.spans == ()
        first.run.catch_up()
    (span,) = captured.spans
    assert (span.end or after) < after
    assert (span.failure, span.operation) == (Failure("refused", "no"), Inference("vllm", request_model="m"))


@pytest.mark.usefixtures("held")
def test_it_ends_once() -> None:
    with capture() as captured:
        (first,) = begin(1)
        first.end_later(lambda: says("one"))
        first.end_later(lambda: says("two"))
        assert first.end(says("three")) is None
        first.run.catch_up()
    assert numbers(captured) == ["one"]


def test_a_mark_of_what_has_ended_is_not_written() -> None:
    """Of what is still open when there is time, it is."""
    store = MemoryStore()
    seen: list[Any] = []
    with capture():
        sink = type("Sink", (), {"append": staticmethod(seen.append)})()
        recorder().sinks = (sink, store)
        with llmtrace.span("batch"):
            ended, open_ = begin(2)
            ended.end_later(lambda: says("one"))
            deferred.settle()
            assert [(span.span_id, span.end is None) for span in seen[1:]] == [(open_.span_id, True), (ended.span_id, False)]
            open_.end_later(lambda: says("two"))


@pytest.mark.usefixtures("held")
def test_somebody_who_looks_at_each_end_sees_it_at_once(app_provider: Any) -> None:
    """A program with a TracerProvider of its own, and a budget."""
    with capture(identity=Identity()):
        (first,) = begin(1)
        first.end_later(lambda: says("one"))
        assert len(app_provider.exported.get_finished_spans()) == 1


@pytest.mark.usefixtures("held")
def test_a_budget_counts_at_once() -> None:
    with capture() as captured, llmtrace.Budget(calls=1):
        (first,) = begin(1)
        first.end_later(lambda: says("one"))
        assert numbers(captured) == ["one"]


def test_two_threads_that_both_need_them_do_each_once() -> None:
    """However they meet: the thread of our own, and the one that ends the run."""
    for _ in range(20):
        with capture() as captured, llmtrace.span("batch"):
            for number, recording in enumerate(begin(20)):
                recording.end_later(lambda text=str(number): says(text))  # type: ignore[misc]
            threads = [threading.Thread(target=recording.run.catch_up) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert numbers(captured) == [*map(str, range(20)), "batch"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_leaves_them_to_its_parent_and_has_its_own() -> None:
    with capture() as captured:
        (first,) = begin(1)
        first.end_later(lambda: says("parent"))
        child = os.fork()
        if not child:
            code = 1
            try:
                (own,) = begin(1)
                own.end_later(lambda: says("child"))
                deferred.settle()
                code = 0 if own.run.waiting == first.run.waiting.__class__() and numbers(captured)[-1:] == ["child"] else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert numbers(captured) == ["parent"]


def test_a_fork_does_not_wait_for_a_thread_that_it_has_not(held: None) -> None:
    """Its parent's other thread was doing them when it was forked; it neither does them nor waits for that thread."""
    with capture() as captured:
        (first,) = begin(1)
        first.end_later(lambda: says("parent"))
        began, over = threading.Event(), threading.Event()

        def do_them() -> None:
            with first.run._turn:
                began.set()
                over.wait(10)

        other = threading.Thread(target=do_them)
        other.start()
        began.wait(10)
        child = os.fork()
        if not child:
            signal.alarm(5)
            first.run.match("look_up", {})
            os._exit(0 if len(first.run.waiting) == 2 else 2)  # a mark and an end
        over.set()
        other.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        first.run.catch_up()
    assert numbers(captured) == ["parent"]


def test_flush_waits_for_them(tmp_path: Any) -> None:
    """And so does what closes a store: another ``configure()``, and the end."""
    stores = [str(tmp_path / name) for name in ("one", "two", "three")]
    for number, store in enumerate(stores):
        llmtrace.configure(store=store, instrument=[])
        with llmtrace.span(f"before {number}"):
            (only,) = begin(1)
        only.end_later(lambda: says("kept"))
        if number == 0:
            llmtrace.flush()
            assert not only.run.waiting
    llmtrace.shutdown()
    from llmtrace.store import Query, open_store

    for store in stores:
        kept = open_store(store)
        spans = [span for one in kept.traces(Query()) for span in kept.trace(one.trace_id).spans]
        kept.close()
        assert [span.operation.output[0].text() for span in spans if isinstance(span.operation, Inference)] == ["kept"]
        assert all(span.end is not None for span in spans)
        assert any(isinstance(span.operation, Custom) for span in spans)
