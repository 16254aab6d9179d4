"""Clues of spans: where the program was cut off, where an error began, what quality signals found."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace import signals
from llmtrace.diagnosis import budgets
from llmtrace.diagnosis.circles import LOOP
from llmtrace.diagnosis.clue import Clue, called, message_of
from llmtrace.diagnosis.endings import advice_of_a_call, ended
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.result import Step
from llmtrace.diagnosis.symptoms import names_no_place, said_by
from llmtrace.model import OUTCOME, Evaluation, Inference, Span, ToolExecution, Trace
from llmtrace.signals.unfinished_run import on_reading

_ELSEWHERE = frozenset(
    {"ungrounded_argument", "invalid_tool_call", "repeated_call", "failed_tool_ignored", "unfinished_run", LOOP, OUTCOME}
)
"""Evaluations that other clues stand for."""
_NO_CAUSE = frozenset({"output_limit", "budget_nearly_spent", "budget_unpriced"})
"""Evaluations that advise or warn, and say nothing of what went wrong in this run."""
_FAILED_SO = frozenset({"error", "timeout", "cancelled", "limit"})
"""End states that say of a run what its failure says."""
_ADVICE = "Check for it in the program, before what it found is used or goes out."
_DONE_TWICE = {"after_timeout": "may have been done twice"}


def interrupted(trace: Trace) -> Iterator[Clue]:
    for span_id, evaluation in on_reading(trace).items():
        if evaluation.severity == "error":
            span = trace.span(span_id)
            name, parent = called(span), trace.parent(span)
            inside = f", inside {called(parent)}" if parent is not None else ""
            evidence = f"{name} was open when the program died{inside}: it began and never ended."
            advice = "Look at what the program was doing at that time: a crash, a kill, a deadline."
            yield Clue("interrupted", span_id, f"the program was cut off inside {name}", evidence, advice)


def findings(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """What else quality signals found, those of other packages among it."""
    stop = budgets.stop_of(trace)
    for span in trace.spans:
        for found in span.evaluations:
            if found.name == budgets.EXCEEDED:
                if stop is None:  # else it is told along with the stop
                    yield budgets.crossed(trace, span, found)
            elif found.name in _ELSEWHERE | _NO_CAUSE or names_no_place(trace, span, found):
                continue
            elif not _passed(found) and not _of_many_runs(found):
                title = _title(span, found)
                advice = signals.advice().get(found.name.partition(".")[0], _ADVICE)
                node = flow.node_of(span, found.call_id)
                clue = Clue("finding", span.span_id, title, _sentence(said_by(found)), advice, found.severity, node)
                clue.pointer, clue.signal = found.pointer, found.name
                yield clue


def _title(span: Span, found: Evaluation) -> str:
    if found.name == "duplicated_effect" and isinstance(span.operation, ToolExecution):
        return f"{span.operation.name} {_DONE_TWICE.get(found.label or '', 'was done twice')}"
    name, label = found.name.replace("_", " "), (found.label or "fail").replace("_", " ")
    return f"{name} on {called(span)}{'' if label == 'fail' or label in name else f' ({label})'}"


def _passed(found: Evaluation) -> bool:
    if found.name == "end_state" and found.label in _FAILED_SO:
        return True
    return found.severity == "info" and found.label in (None, "pass", "success", "unknown")


def _of_many_runs(found: Evaluation) -> bool:
    """What monitors find is of many runs, and says little of the one that shows it; but for a tool's changed results."""
    return found.name.startswith("drift.") and found.name != "drift.tool_results"


def errors(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """Errors that began on a span of any other kind: an inference that failed, an exception in the program."""
    stop = budgets.stop_of(trace)
    told = any(found.name == budgets.EXCEEDED for span in trace.spans for found in span.evaluations)
    for span in trace.root_causes:
        failure = span.failure
        if failure is None or isinstance(span.operation, ToolExecution):
            continue
        if budgets.is_budgets(span):
            if stop is None and not told:
                yield budgets.recovered(trace, span)
            continue
        said = message_of(failure)
        evidence = f"It says “{said}”; nothing below it failed in the same way."
        if not said:
            evidence = "The error began there: nothing below it failed in the same way."
        elif isinstance(span.operation, Inference):
            evidence = f"It says “{said}”."
        advice = f"Look at what raised it: llmtrace show {trace.trace_id[:8]} --full has where in the program that was."
        if isinstance(span.operation, Inference):
            advice = advice_of_a_call(failure)
        clue = Clue("error", span.span_id, f"{called(span)} {ended(failure)}", evidence, advice)
        clue.node = flow.node_of(span)
        clue.recovered = isinstance(span.operation, Inference) and _answered_later(trace, span)
        clue.ends = trace.health == "failed" and not clue.recovered and clue.node is None
        root = trace.root
        if root is not span and root.failure is not None:
            clue.came_to = Step(root.span_id, f"{called(root)} {ended(root.failure)}", None, message_of(root.failure))
        yield clue


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
