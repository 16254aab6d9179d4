"""Replay is live: also where a run did not end as it began, or ended in parts; and one broken signal costs only itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llmtrace.reading.run_evidence import RunEvidence
from opentelemetry.sdk.trace import TracerProvider

import llmtrace
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.laws import Signal
from llmtrace.model import Evaluation, Span, ToolDefinition, ToolExecution, Workflow
from llmtrace.recorder import active
from llmtrace.recorder.identity import Identity
from llmtrace.testing import Captured, capture


class Counts(Signal[dict[str, int]]):
    """A signal that speaks at the end of its run."""

    name = "counts"

    def start(self, run: RunEvidence) -> dict[str, int]:
        return {"spans": 0}

    def step(self, state: dict[str, int], span: Span) -> list[Evaluation]:
        state["spans"] += 1
        return []

    def finish(self, state: dict[str, int]) -> list[Evaluation]:
        return [Evaluation(self.name, "info", f"{state['spans']} spans")]


class Breaks(Signal[Any]):
    """A signal that fails in one of its ways."""

    name = "breaks"

    def __init__(self, way: str) -> None:
        self.way = way

    def _do(self, way: str) -> list[Any]:
        if way == self.way:
            raise RuntimeError
        return []

    def start(self, run: RunEvidence) -> Any:
        return self._do("start")

    def step(self, state: Any, span: Span) -> list[Any]:
        return self._do("step")

    def finish(self, state: Any) -> list[Any]:
        return self._do("finish")


EVALUATOR = Evaluator([Counts()])
FOREIGN = TracerProvider().get_tracer("another")


@contextmanager
def recorded(*signals: Any) -> Iterator[Captured]:
    with capture(identity=Identity(), tracer_provider=TracerProvider()) as captured:
        recorder = active()
        assert recorder is not None
        recorder.use_evaluator(lambda: Evaluator(signals) if signals else EVALUATOR)
        yield captured


def assert_replay_is_live(captured: Captured) -> None:
    again, unknown = evaluate_trace(captured.trace, EVALUATOR)
    assert (again.spans, unknown) == (captured.trace.spans, ())
    assert evaluate_trace(again, EVALUATOR)[0].spans == again.spans


@pytest.mark.parametrize("foreign", [False, True])
def test_a_child_that_ends_after_its_run(foreign: bool) -> None:
    """What is known at the end was known when the outermost span ended, whatever came later."""
    go_on = threading.Event()

    def late() -> None:
        with llmtrace.span("late"):
            go_on.wait(10)

    def below_another_tracer() -> None:
        with FOREIGN.start_as_current_span("between"):
            late()

    with recorded() as captured:
        with llmtrace.workflow("w"):
            thread = threading.Thread(target=llmtrace.wrap(below_another_tracer if foreign else late))
            thread.start()
            while not any(span.name == "late" for span in captured.trace.spans):
                pass
        go_on.set()
        thread.join()
    assert [found.explanation for found in captured.trace.root.evaluations] == ["1 spans"]
    assert_replay_is_live(captured)


def test_a_run_that_never_ended() -> None:
    """Nothing is said at an end that never came."""
    with recorded() as captured:
        recorder = active()
        assert recorder is not None
        with recorder.start(Workflow("w")).use(), llmtrace.span("a"):
            pass
    assert_replay_is_live(captured)


def test_an_error_below_another_tracers_span_may_be_recovered_from() -> None:
    """A span whose parent is recorded elsewhere is no root of the trace: its run went on well."""

    def step() -> None:
        raise LookupError

    with recorded() as captured, llmtrace.workflow("w"), FOREIGN.start_as_current_span("between"), pytest.raises(LookupError):
        llmtrace.span(step)()
    assert len(captured.trace.roots) == 2
    assert captured.trace.health == "recovered"


@pytest.mark.parametrize("way", ["start", "step", "finish"])
@pytest.mark.guard_may_log
def test_a_broken_signal_costs_only_its_own_verdicts(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Violations and the other signals stand; one line says which signal it is."""
    broken = Breaks(way)
    broken.name = f"breaks at {way}"
    definition = ToolDefinition("t", {"type": "object", "properties": {"x": {"type": "integer"}}})
    operation = ToolExecution("t", {"x": "s"}, definition=definition)
    with caplog.at_level(logging.WARNING, "llmtrace"), recorded(broken, Counts()) as captured:
        for _ in range(2):
            recorder = active()
            assert recorder is not None
            recorder.start(operation).end(operation)
    assert [len(span.violations) for span in captured.spans] == [1, 1]
    assert [[found.name for found in span.evaluations] for span in captured.spans] == [["counts"], ["counts"]]
    assert caplog.text.count(f"quality signal breaks at {way} failed with RuntimeError") == 1
