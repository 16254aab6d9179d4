"""Runs that never ended, seen from outside."""

from __future__ import annotations

from law_cases import ROOT, cut_off, execute, findings, infer, run

from llmtrace.laws.end_state import SIGNAL
from llmtrace.model import Trace


def test_a_run_that_ended_was_not_interrupted() -> None:
    assert findings(SIGNAL, run(infer("x"), execute())) == []


def test_the_innermost_open_span_is_where_it_stopped() -> None:
    """It is the finding; the spans around it have none, so one death is one finding. It fails the run."""
    spans = cut_off(infer("x"), execute())
    (finding,) = findings(SIGNAL, spans)
    assert (finding.label, finding.confidence, finding.span_id) == ("interrupted", "certain", f"{1:016x}")
    assert finding.ends_run
    assert "inside support" in finding.evidence
    assert {span.span_id for span in Trace(spans).spans if span.end is None} == {finding.span_id, ROOT}
    assert Trace(spans).health == "failed"


def test_a_program_that_still_runs_is_not_accused() -> None:
    """Open spans of a living program are not findings."""
    assert findings(SIGNAL, cut_off(infer("x"), execute()), is_alive=True) == []
