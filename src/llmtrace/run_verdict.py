"""The verdict on a run as attributes of its outermost span, which every backend can search by.

Law: only names and counts, never content. The verdict is of the moment when the span ends; readers derive it again from the
stored trace.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace import semconv as sc
from llmtrace.laws.finding import Finding, ranked
from llmtrace.model import OUTCOME, Health, JsonValue, Span


def word_of_run(*, has_failed: bool, is_marked: bool, has_error: bool) -> Health:
    """Return the health of a run that has ended. It never contradicts a mark."""
    return "failed" if has_failed else "suspect" if is_marked else "recovered" if has_error else "ok"


def verdict_attributes(outermost: Span, findings: Sequence[Finding], *, has_error: bool) -> dict[str, JsonValue]:
    """Return the attributes for the run's outermost span. ``has_error``: any span of the run has an error."""
    in_order = ranked(findings)
    marks = [finding for finding in in_order if finding.is_marked]
    reported = any(evaluation.name == OUTCOME and evaluation.label == "failure" for evaluation in outermost.evaluations)
    has_failed = reported or outermost.failure is not None
    out: dict[str, JsonValue] = {
        sc.HEALTH: word_of_run(has_failed=has_failed, is_marked=bool(marks), has_error=has_error),
        sc.FINDINGS_COUNT: len(marks),
    }
    if in_order:
        out[sc.WORST_FINDING], out[sc.WORST_FINDING_CONFIDENCE] = in_order[0].law, in_order[0].confidence
    if has_failed or marks:
        out[sc.SUSPECT] = True
    return out
