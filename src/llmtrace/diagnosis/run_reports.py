"""Reports by the program, a person or a quality signal about a run as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmtrace.diagnosis.result import Suspect
from llmtrace.laws.finding import OF_NO_LAW, name_of
from llmtrace.model import ACCEPTANCE, FEEDBACK, OUTCOME, AgentInvocation, Evaluation, Span, Trace, Workflow

_SLO = "slo"
_WORDS = ("reason", "comment")
"""Members of an evaluation's evidence that contain a reason in words."""
_LONGEST = 400


def is_known_to_have_failed(trace: Trace) -> bool:
    """Return True if the run's health is failed, its feedback is bad, or a check of the program refused its answer."""
    return trace.health == "failed" or trace.is_refused


def is_about_run(trace: Trace, span: Span, evaluation: Evaluation) -> bool:
    """Return True if an evaluation is about the run as a whole.

    Outcomes and objectives always are. Feedback and acceptance checks are if they are on the root span; on another span they
    are about that step. Other evaluations are if they are on the root span, or on an agent or workflow.
    """
    if evaluation.name in (_SLO, OUTCOME):
        return True
    if evaluation.name in (FEEDBACK, ACCEPTANCE):
        return trace.is_run_root(span)
    return isinstance(span.operation, (AgentInvocation, Workflow)) or trace.is_run_root(span)


def reports_of(trace: Trace, suspects: Sequence[Suspect]) -> tuple[str, ...]:
    """Return a sentence for each report, after the name of its span. Reports that repeat one of ``suspects`` are left out."""
    suspected = frozenset(suspect.span_id for suspect in suspects)
    evident = frozenset(span_id for suspect in suspects if suspect.is_marked for span_id in (suspect.span_id, *suspect.spans))
    return tuple(dict.fromkeys(_reports(trace, suspected, evident)))


def _reports(trace: Trace, suspected: frozenset[str], evident: frozenset[str]) -> Iterator[str]:
    """Yield the reports. ``suspected``: ids of the spans of suspects. ``evident``: ids of spans that a marked suspect rests
    on."""
    is_checked = any(evaluation.name == ACCEPTANCE for span in trace.spans for evaluation in span.evaluations)
    for span in trace.spans:
        for evaluation in span.evaluations:
            if evaluation.name == OUTCOME:
                is_report = evaluation.label == "failure" and not (is_checked and evaluation.source == ACCEPTANCE)
            elif evaluation.severity == "info" or evaluation.name.startswith(OF_NO_LAW):
                is_report = False
            else:
                is_repeated = span.span_id in suspected or not evident.isdisjoint(evaluation.sources)
                is_report = is_about_run(trace, span, evaluation) and not is_repeated
            if is_report:
                yield f"{name_of(span)}: {sentence_of(evaluation)}"


def sentence_of(evaluation: Evaluation) -> str:
    """Return the explanation of an evaluation, and the reason in words if its evidence contains one."""
    words = next((text for name in _WORDS if isinstance(text := evaluation.evidence.get(name), str) and text.strip()), "")
    text = f"{evaluation.explanation.rstrip('.')}: {words.strip()[:_LONGEST]}" if words else evaluation.explanation
    return text if text.endswith((".", "!", "?")) else f"{text}."
