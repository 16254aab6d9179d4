"""What says that something is wrong with a run and not where: the program's outcome, feedback, a refused check, an objective
that was missed, what a quality signal found of the whole.

Law: none of it is a suspect where a place is likely; it is told beside the suspects.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.candidates import Candidate
from llmtrace.diagnosis.clue import Clue, called
from llmtrace.diagnosis.result import Diagnosis
from llmtrace.model import ACCEPTANCE, FEEDBACK, OUTCOME, AgentInvocation, Evaluation, Span, Trace, Workflow

SLO = "slo"
_OF_RUNS = frozenset({FEEDBACK, ACCEPTANCE})
_SAID = ("reason", "comment")
"""Members of the evidence in which somebody gives reasons in words."""
_MOST = 400


def is_known_to_have_failed(trace: Trace) -> bool:
    """By its health, by feedback, or by a check that refused its answer."""
    return trace.health == "failed" or any(
        _is_bad(found, of_run=trace.parent(span) is None) for span in trace.spans for found in span.evaluations
    )


def _is_bad(found: Evaluation, *, of_run: bool) -> bool:
    if found.name == FEEDBACK:
        return found.severity != "info"
    return found.name == ACCEPTANCE and found.label == "fail" and of_run


def names_no_place(trace: Trace, span: Span, found: Evaluation) -> bool:
    """True for an evaluation that is never a suspect. Feedback about one step, and a check of one agent of several, name a
    place."""
    return found.name == SLO or (found.name in _OF_RUNS and (found.severity == "info" or trace.parent(span) is None))


def is_whole(trace: Trace, span: Span) -> bool:
    """True for the span of a run, an agent or a workflow: what is wrong there began somewhere inside."""
    return isinstance(span.operation, (AgentInvocation, Workflow)) or trace.parent(span) is None


def is_symptom(trace: Trace, one: Candidate) -> bool:
    """True for a place of which only something is found that is said of a whole, and not of a step in it."""
    return bool(one.clues) and all(_is_of_a_whole(trace, clue) for clue in one.clues)


def _is_of_a_whole(trace: Trace, clue: Clue) -> bool:
    return clue.kind == "finding" and clue.node is None and is_whole(trace, trace.span(clue.span_id))


def symptoms_of(trace: Trace, suspected: frozenset[str]) -> tuple[str, ...]:
    """One sentence each, after what the span is called that it was said of. ``suspected``: ids of the spans that are suspects,
    where it is told already."""
    return tuple(dict.fromkeys(_told(trace, suspected)))


def listed(trace: Trace, found: Diagnosis) -> str:
    """The prime suspect in a line of a list: its title, or where it has no clue what is said of the whole."""
    prime = found.prime
    said = next(iter(found.symptoms), None) if prime is not None and not prime.kind else None
    if said is None:
        return prime.title if prime is not None else ""
    # without the name of the span that it is said of, which may hold a colon itself
    return said[max(len(start) for span in trace.spans if said.startswith(start := f"{called(span)}: ")) :]


def _told(trace: Trace, suspected: frozenset[str]) -> Iterator[str]:
    accepted = any(found.name == ACCEPTANCE for span in trace.spans for found in span.evaluations)
    for span in trace.spans:
        for found in span.evaluations:
            if found.name == OUTCOME:
                tells = found.label == "failure" and not (accepted and found.source == ACCEPTANCE)
            elif found.severity == "info" or found.name.startswith(("budget_", "drift.")):
                tells = False
            else:
                tells = names_no_place(trace, span, found) or (is_whole(trace, span) and span.span_id not in suspected)
            if tells:
                yield f"{called(span)}: {said_by(found)}"


def said_by(found: Evaluation) -> str:
    """What an evaluation explains, and the reason that somebody gave in words, as a sentence."""
    said = next((text for name in _SAID if isinstance(text := found.evidence.get(name), str) and text.strip()), "")
    text = f"{found.explanation.rstrip('.')}: {said.strip()[:_MOST]}" if said else found.explanation
    return text if text.endswith((".", "!", "?")) else f"{text}."
