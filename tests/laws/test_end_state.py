"""Runs that never ended, seen from outside."""

from __future__ import annotations

from law_cases import ROOT, execute, infer, run

from llmtrace.laws.end_state import SIGNAL
from llmtrace.model import Trace, replace


def cut_off() -> Trace:
    """An agent whose second step was running when the program died."""
    first, second, root = run(infer("x"), execute())
    return Trace([first, replace(second, end=None), replace(root, end=None)])


def test_a_run_that_ended_was_not_interrupted() -> None:
    assert SIGNAL.on_reading(Trace(run(infer("x"), execute()))) == {}


def test_the_innermost_open_span_is_where_it_stopped() -> None:
    """It is the error; the spans around it point to it, so one death is one root cause."""
    trace = cut_off()
    found = SIGNAL.on_reading(trace)
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
    """Open spans of a living program are not findings."""
    trace = cut_off()
    assert SIGNAL.on_reading(Trace(trace.spans, alive=frozenset(span.span_id for span in trace.spans))) == {}
