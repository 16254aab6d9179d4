"""Runs that never ended, seen from outside."""

from __future__ import annotations

import pytest
from signal_cases import ROOT, infer, ran, run

from llmtrace.evaluation import Evaluator
from llmtrace.evaluation import on_reading as read_by
from llmtrace.model import Evaluation, Span, Trace, replace
from llmtrace.signals.unfinished_run import SIGNAL, on_reading


def cut_off() -> Trace:
    """An agent whose second step was running when the program died."""
    first, second, root = run(infer("x"), ran())
    return Trace([first, replace(second, end=None), replace(root, end=None)])


def test_a_run_that_ended_is_none() -> None:
    """Spans that all ended give nothing, and neither does stepping through any."""
    trace = Trace(run(infer("x"), ran()))
    assert on_reading(trace) == {}
    assert [found for span in cut_off().spans for found in SIGNAL.step(None, span)] == []


def test_the_innermost_open_span_is_where_it_stopped() -> None:
    """It is the error; the spans around it point to it, so one death is one root cause."""
    trace = cut_off()
    found = on_reading(trace)
    inner = f"{1:016x}"
    assert {span_id: (one.label, one.severity) for span_id, one in found.items()} == {
        inner: ("interrupted", "error"),
        ROOT: ("enclosing", "info"),
    }
    assert found[ROOT].sources == (inner,)
    assert all(one.derived and one.name == SIGNAL.name for one in found.values())
    read = Trace([replace(span, evaluations=tuple(filter(None, (found.get(span.span_id),)))) for span in trace.spans])
    assert [span.span_id for span in read.root_causes] == [inner]
    assert read.health == "failed"


def test_a_program_that_still_runs_is_not_accused() -> None:
    """Open spans of a living program are no findings."""
    trace = cut_off()
    assert on_reading(Trace(trace.spans, alive=frozenset(span.span_id for span in trace.spans))) == {}


def test_reading_is_a_pure_function() -> None:
    """Asking twice gives the same, once."""
    assert on_reading(cut_off()) == on_reading(cut_off())


class Raising:
    """A quality signal of somebody's whose reading fails."""

    name = "raising"

    def start(self) -> None:
        return None

    def step(self, state: None, span: Span) -> tuple[Evaluation, ...]:
        return ()

    def on_reading(self, trace: Trace) -> dict[str, Evaluation]:
        raise ZeroDivisionError


def test_one_whose_reading_fails_costs_its_own_verdicts(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told, and one line names it."""
    read = read_by(cut_off(), Evaluator([Raising(), SIGNAL]))
    assert read.health == "failed"
    assert "quality signal raising failed with ZeroDivisionError" in caplog.text
