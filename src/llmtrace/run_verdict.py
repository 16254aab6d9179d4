"""The verdict on a run as attributes of its outermost span, which every backend can search by.

Law: only names and counts, never content. The verdict is of the moment when the span ends; readers derive it again from the
stored trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmtrace import semconv as sc
from llmtrace.laws.finding import RANK, Finding, ranked
from llmtrace.model import OUTCOME, Confidence, JsonValue, Span, replace, run_health

ATTRIBUTES = (sc.HEALTH, sc.FINDINGS_COUNT, sc.WORST_FINDING, sc.WORST_FINDING_CONFIDENCE, sc.SUSPECT)
"""The attributes that a verdict consists of."""


class RunVerdict:
    """The verdict on a run, and on the runs below it that have ended."""

    def __init__(self) -> None:
        self._healths: set[JsonValue] = set()
        """The healths of the runs below."""
        self._count = 0
        """Number of certain and likely findings of the runs below."""
        self._worst: tuple[str, Confidence] | None = None
        """Law and confidence of the worst finding of the runs below."""

    def absorb(self, attributes: Mapping[str, JsonValue]) -> None:
        """Add the verdict on a run below the span of a program, from the attributes of that run's outermost span."""
        self._healths.add(attributes.get(sc.HEALTH))
        count, name = attributes.get(sc.FINDINGS_COUNT), attributes.get(sc.WORST_FINDING)
        self._count += count if isinstance(count, int) else 0
        confidence = next((word for word in RANK if word == attributes.get(sc.WORST_FINDING_CONFIDENCE)), None)
        if isinstance(name, str) and confidence is not None:
            self._worst = _worse(self._worst, (name, confidence))

    def attributes(self, outermost: Span, findings: Sequence[Finding], *, has_error: bool) -> dict[str, JsonValue]:
        """Return the attributes for the run's outermost span. ``has_error``: any span of the run has an error."""
        in_order = ranked(findings)
        marks = [finding for finding in in_order if finding.is_marked]
        is_marked = bool(marks) or "suspect" in self._healths
        reported = any(evaluation.name == OUTCOME and evaluation.label == "failure" for evaluation in outermost.evaluations)
        has_failed = reported or outermost.failure is not None or "failed" in self._healths
        has_error = has_error or "recovered" in self._healths
        health = run_health("recovered" if has_error else "ok", is_marked=is_marked, has_failed=has_failed)
        out: dict[str, JsonValue] = {sc.HEALTH: health, sc.FINDINGS_COUNT: self._count + len(marks)}
        worst = _worse((in_order[0].law, in_order[0].confidence), self._worst) if in_order else self._worst
        if worst is not None:
            out[sc.WORST_FINDING], out[sc.WORST_FINDING_CONFIDENCE] = worst
        if health in ("failed", "suspect"):
            out[sc.SUSPECT] = True
        return out


def with_late_findings(outermost: Span, findings: Sequence[Finding]) -> Span:
    """Return the outermost span of a run with marks that were made after its end, and the verdict that they change."""
    attributes = outermost.attributes
    health, count, name = attributes.get(sc.HEALTH), attributes.get(sc.FINDINGS_COUNT), attributes.get(sc.WORST_FINDING)
    confidence = next((word for word in RANK if word == attributes.get(sc.WORST_FINDING_CONFIDENCE)), None)
    before = (name, confidence) if isinstance(name, str) and confidence is not None else None
    first = ranked(findings)[0]
    worst = (first.law, first.confidence) if before is None else _worse(before, (first.law, first.confidence)) or before
    verdict: dict[str, JsonValue] = {
        sc.HEALTH: "failed" if health == "failed" else "suspect",
        sc.FINDINGS_COUNT: (count if isinstance(count, int) else 0) + len(findings),
        sc.SUSPECT: True,
    }
    verdict[sc.WORST_FINDING], verdict[sc.WORST_FINDING_CONFIDENCE] = worst
    marks = tuple(finding.as_evaluation() for finding in findings)
    return replace(outermost, evaluations=(*outermost.evaluations, *marks), attributes={**attributes, **verdict})


def _worse(first: tuple[str, Confidence] | None, second: tuple[str, Confidence] | None) -> tuple[str, Confidence] | None:
    """Return the finding with the higher confidence, the first of two that are equal."""
    if first is None or second is None:
        return first or second
    return second if RANK[second[1]] < RANK[first[1]] else first
