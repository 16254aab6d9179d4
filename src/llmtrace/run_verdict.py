"""The verdict on a run as attributes of its outermost span, which every backend can search by.

Law: only names and counts, never content. The verdict is of the moment when the span ends; readers derive it again from the
stored trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmtrace import semconv as sc
from llmtrace.laws.finding import RANK, Finding, ranked
from llmtrace.model import OUTCOME, Confidence, JsonValue, Span, run_health

ATTRIBUTES = (sc.HEALTH, sc.FINDINGS_COUNT, sc.WORST_FINDING, sc.WORST_FINDING_CONFIDENCE, sc.SUSPECT)
"""The attributes that a verdict consists of."""


class RunVerdict:
    """The verdict on a run, and on the runs below it that have ended."""

    def __init__(self) -> None:
        self._healths: set[JsonValue] = set()
        """The words of the runs below."""
        self._count = 0
        self._worst: list[tuple[str, Confidence]] = []
        """The worst findings of the runs below: law and confidence."""

    def absorb(self, attributes: Mapping[str, JsonValue]) -> None:
        """Add the verdict on a run below the span of a program, from the attributes of that run's outermost span."""
        self._healths.add(attributes.get(sc.HEALTH))
        count, name = attributes.get(sc.FINDINGS_COUNT), attributes.get(sc.WORST_FINDING)
        self._count += count if isinstance(count, int) else 0
        confidence = next((known for known in RANK if known == attributes.get(sc.WORST_FINDING_CONFIDENCE)), None)
        if isinstance(name, str) and confidence is not None:
            self._worst.append((name, confidence))

    def attributes(self, outermost: Span, findings: Sequence[Finding], *, has_error: bool) -> dict[str, JsonValue]:
        """Return the attributes for the run's outermost span. ``has_error``: any span of the run has an error."""
        in_order = ranked(findings)
        marks = [finding for finding in in_order if finding.is_marked]
        is_marked = bool(marks) or "suspect" in self._healths
        reported = any(evaluation.name == OUTCOME and evaluation.label == "failure" for evaluation in outermost.evaluations)
        has_failed = reported or outermost.failure is not None or "failed" in self._healths
        has_error = has_error or "recovered" in self._healths
        own = run_health("recovered" if has_error else "ok", is_marked=is_marked, has_failed=has_failed)
        out: dict[str, JsonValue] = {sc.HEALTH: own, sc.FINDINGS_COUNT: self._count + len(marks)}
        worst = [*((finding.law, finding.confidence) for finding in in_order[:1]), *self._worst]
        if worst:
            out[sc.WORST_FINDING], out[sc.WORST_FINDING_CONFIDENCE] = min(worst, key=lambda finding: RANK[finding[1]])
        if own in ("failed", "suspect"):
            out[sc.SUSPECT] = True
        return out
