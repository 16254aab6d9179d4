"""The verdict on a run as attributes of its outermost span, which every backend can search by.

Law: only names and counts, never content. The verdict is of the moment when the span ends; readers evaluate the stored trace
again.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmtrace import semconv as sc
from llmtrace.laws import Confidence, confidence_of
from llmtrace.model import (
    ACCEPTANCE,
    FEEDBACK,
    OUTCOME,
    Evaluation,
    Health,
    JsonValue,
    Span,
    failure_kind,
    has_error,
    run_health,
)

_ORDER: dict[Confidence, int] = {"certain": 0, "likely": 1, "possible": 2}
_REPORTS = frozenset({OUTCOME, FEEDBACK, ACCEPTANCE})
"""Evaluations about the end of the run, not about steps on the way."""


class RunVerdict:
    """Collects the verdict on one run from its ended spans."""

    _count = 0
    _has_error = False
    _is_marked = False
    """True if a certain or likely finding marks the run."""
    _has_failed_below = False
    """True if a run below this one failed."""
    _outcome: Evaluation | None = None
    _worst: tuple[int, bool, str, Confidence] | None = None
    """Rank of the confidence, True for a warning, name, and confidence of the worst finding; the first of equally bad ones."""

    def add(self, span: Span) -> None:
        """Add a span that has ended, with its verdicts."""
        if not (span.failure or span.violations or span.evaluations):
            return
        self._has_error = self._has_error or has_error(span)
        for evaluation in span.evaluations:
            if evaluation.name == OUTCOME:
                self._outcome = evaluation
            elif evaluation.name not in _REPORTS and (evaluation.severity != "info" or evaluation.is_mark):
                confidence = evaluation.confidence or confidence_of(evaluation)
                self._is_marked = self._is_marked or confidence != "possible"
                self._note(evaluation.name, confidence, is_warning=evaluation.severity != "error")

    def _note(self, name: str, confidence: Confidence, *, is_warning: bool) -> None:
        self._count += 1
        self._compare((_ORDER[confidence], is_warning, name, confidence))

    def _compare(self, finding: tuple[int, bool, str, Confidence]) -> None:
        if self._worst is None or finding[:2] < self._worst[:2]:
            self._worst = finding

    def absorb(self, attributes: Mapping[str, JsonValue]) -> None:
        """Add the verdict on a run below the span of a program, from the attributes of that run's outermost span."""
        health, name, confidence = (attributes.get(key) for key in (sc.HEALTH, sc.WORST_FINDING, sc.WORST_FINDING_CONFIDENCE))
        count = attributes.get(sc.FINDINGS_COUNT)
        self._has_failed_below = self._has_failed_below or health == "failed"
        self._is_marked = self._is_marked or health == "suspect"
        self._has_error = self._has_error or health == "recovered"
        self._count += count if isinstance(count, int) else 0
        for known, rank in _ORDER.items():
            if confidence == known and isinstance(name, str):
                self._compare((rank, False, name, known))

    def health(self, outermost: Span) -> Health:
        """Return the health of the run, equal to `Trace.health` of its spans and of those of the runs that it absorbed."""
        has_failed = self._outcome is not None and self._outcome.label == "failure"
        has_failed = has_failed or outermost.failure is not None or self._has_failed_below
        return run_health("recovered" if self._has_error else "ok", is_marked=self._is_marked, has_failed=has_failed)

    def attributes(self, outermost: Span, health: Health | None = None) -> dict[str, JsonValue]:
        """Return the attributes for the run's outermost span, which was added already. ``health``: of the trace, if known."""
        own = self.health(outermost) if health is None else run_health(health, is_marked=self._is_marked)
        if outermost.failure is not None:
            self._note(failure_kind(outermost.failure), "certain", is_warning=False)
        out: dict[str, JsonValue] = {sc.HEALTH: own, sc.FINDINGS_COUNT: self._count}
        if self._worst is not None:
            _, _, out[sc.WORST_FINDING], out[sc.WORST_FINDING_CONFIDENCE] = self._worst
        if own == "failed" or self._is_marked:
            out[sc.SUSPECT] = True
        return out


ATTRIBUTES = (sc.HEALTH, sc.FINDINGS_COUNT, sc.WORST_FINDING, sc.WORST_FINDING_CONFIDENCE, sc.SUSPECT)
