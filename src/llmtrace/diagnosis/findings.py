"""Clues of spans: where the program was cut off, where an error began, what quality signals found."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace import signals
from llmtrace.diagnosis.circles import LOOP
from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.symptoms import names_no_place, said_by
from llmtrace.model import OUTCOME, Evaluation, Inference, Span, ToolExecution, Trace
from llmtrace.signals.unfinished_run import on_reading

_ELSEWHERE = frozenset(
    {"ungrounded_argument", "invalid_tool_call", "repeated_call", "failed_tool_ignored", "unfinished_run", LOOP, OUTCOME}
)
"""Evaluations that other clues stand for."""
_NO_CAUSE = frozenset({"output_limit"})
"""Evaluations that advise, and say nothing of what went wrong in this run."""
_FAILED_SO = frozenset({"error", "timeout", "cancelled", "limit"})
"""End states that say of a run what its failure says."""
_BUDGET = "budget_exceeded"
"""What a budget of `llmtrace.guards` says of the span that crossed it; no quality signal."""
_ADVICE = "See what its documentation says of it."
_SPEND_LESS = "Look at what the calls of the model before it were for: a loop, a prompt that grows. Or raise the budget."


def interrupted(trace: Trace) -> Iterator[Clue]:
    for span_id, evaluation in on_reading(trace).items():
        if evaluation.severity == "error":
            span = trace.span(span_id)
            name, parent = span.name, trace.parent(span)
            inside = f", inside {parent.name}" if parent is not None else ""
            evidence = f"{name} was open when the program died{inside}: it began and never ended."
            advice = "Look at what the program was doing at that time: a crash, a kill, a deadline."
            yield Clue("interrupted", span_id, f"the program was cut off inside {name}", evidence, advice)


def findings(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """What else quality signals found, those of other packages among it."""
    for span in trace.spans:
        for found in span.evaluations:
            if found.name == _BUDGET:
                yield _crossed(trace, span, found)
            elif found.name in _ELSEWHERE | _NO_CAUSE or names_no_place(trace, span, found):
                continue
            elif not _passed(found) and not _of_many_runs(found):
                label = f" ({found.label.replace('_', ' ')})" if found.label else ""
                title = f"{found.name.replace('_', ' ')} on {span.name}{label}"
                advice = signals.advice().get(found.name.partition(".")[0], _ADVICE)
                node = flow.node_of(span, found.call_id)
                clue = Clue("finding", span.span_id, title, _sentence(said_by(found)), advice, found.severity, node)
                clue.pointer = found.pointer
                yield clue


def _crossed(trace: Trace, span: Span, found: Evaluation) -> Clue:
    title = f"the run crossed its budget{f' of {found.label}' if found.label else ''} at {span.name}"
    evidence = _spending(trace, span, found.explanation)
    return Clue("budget", span.span_id, title, evidence, _SPEND_LESS, found.severity)


def _spending(trace: Trace, until: Span, said: str) -> str:
    """What a budget said, and where the spending began."""
    calls = [span for span in trace.spans if isinstance(span.operation, Inference) and span.start <= (until.end or span.start)]
    if not calls:
        return _sentence(said)
    first = f"the spending began at {calls[0].name} (span {calls[0].span_id})"
    which = f"the first of {len(calls)} calls" if len(calls) > 1 else "the only call"
    return f"{_sentence(said)[:-1]}; {first}, {which} of a model until then."


def _passed(found: Evaluation) -> bool:
    if found.name == "end_state" and found.label in _FAILED_SO:
        return True
    return found.severity == "info" and found.label in (None, "pass", "success", "unknown")


def _of_many_runs(found: Evaluation) -> bool:
    """What monitors find is of many runs, and says little of the one that shows it; but for a tool's changed results."""
    return found.name.startswith("drift.") and found.name != "drift.tool_results"


def errors(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """Errors that began on a span of any other kind: an inference that failed, an exception in the program."""
    for span in trace.root_causes:
        failure = span.failure
        if failure is None or isinstance(span.operation, ToolExecution):
            continue
        if failure.type.endswith("BudgetExceeded"):
            if any(found.name == _BUDGET for each in trace.spans for found in each.evaluations):
                continue  # where it was crossed is told already
            evidence = _spending(trace, span, failure.message or "its budget is spent")
            yield Clue("budget", span.span_id, f"{_called(span)} was stopped by its budget", evidence, _SPEND_LESS)
            continue
        evidence = "The error began there: nothing below it failed in the same way."
        advice = "Retry what can pass, and end the run with a clear word where it cannot."
        clue = Clue("error", span.span_id, f"{span.name} ended with {failure.type}", evidence, advice)
        clue.node = flow.node_of(span)
        clue.recovered = isinstance(span.operation, Inference) and _answered_later(trace, span)
        yield clue


def _called(span: Span) -> str:
    """An agent or a workflow by its own name."""
    return getattr(span.operation, "name", None) or span.name


def _answered_later(trace: Trace, span: Span) -> bool:
    return any(
        isinstance(later.operation, Inference)
        and later.failure is None
        and later.operation.output
        and later.start >= span.start
        for later in trace.spans
        if later is not span
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
