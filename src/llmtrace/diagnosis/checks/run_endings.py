"""Finds runs that ended by an error, by the death of the program, or by a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.failure_text import advice_for_model_call, has_advice, how_it_ended
from llmtrace.diagnosis.finding import Finding, message_of, name_of
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.result import Confidence, Step
from llmtrace.errors import ReplayDiverged
from llmtrace.model import (
    BUDGET_EXCEEDED,
    BUDGET_STOPPED,
    CANCELLED,
    Failure,
    Inference,
    Review,
    Span,
    ToolExecution,
    Trace,
    failure_kind,
    is_stopped_by_budget,
)
from llmtrace.model.spans import raised_at
from llmtrace.model.traces import passed_on, short_id
from llmtrace.semconv import INTERRUPTED, REPLAY_OF


def errors(flow: Flow) -> Iterator[Finding]:
    """Find errors. Certain if the error ended the run or is that of the final model call, else possible.

    A finding is on the innermost span with the error: no span below it failed in the same way.
    """
    trace = flow.trace
    for span in trace.root_causes:
        if span.failure is None or is_stopped_by_budget(span):
            continue
        if span.failure.type.rpartition(".")[2] == ReplayDiverged.__name__:
            yield _divergence(trace, span, span.failure)
            continue
        is_lost = span is flow.final_inference and failure_kind(span.failure) != CANCELLED
        if span.attributes.get(INTERRUPTED) is True:  # sent on by OTLP after its program had died
            yield _cut_off(trace, span)
            continue
        ends_run = is_lost or (
            _has_failed(trace, span) and not is_stopped_by_budget(trace.task_of(span)) and not _went_on(flow, span)
        )
        if isinstance(span.operation, ToolExecution) and not ends_run:
            continue  # the checks of calls say more about it
        message = message_of(span.failure)
        evidence = f"It says “{message}”." if message else "The error began there: nothing below it failed in the same way."
        place = raised_at(span.failure)
        if place:
            evidence = f"{evidence[:-1]}, raised at {place}." if message else f"It was raised at {place}."
        if not ends_run:
            evidence = f"{evidence[:-1]}; the run went on."
        advice = f"Read where it was raised: llmtrace show {short_id(trace.trace_id)} --full."
        if isinstance(span.operation, Inference) or has_advice(span.failure):
            advice = advice_for_model_call(span.failure)
        title = f"{name_of(span)} {how_it_ended(span.failure)}"
        confidence: Confidence = "certain" if ends_run else "possible"
        yield Finding(
            "error", confidence, span.span_id, title, evidence, advice, cause_key=title, node=flow.node_at(span),
            ends_run=ends_run, ended_as=_ended_as(flow, span) if ends_run else None,
        )  # fmt: skip


def _divergence(trace: Trace, span: Span, failure: Failure) -> Finding:
    """Return the finding for a replay that diverged. The program is not at fault: it could only get recorded answers."""
    recorded = next((short_id(str(root.attributes[REPLAY_OF])) for root in trace.roots if REPLAY_OF in root.attributes), "ID")
    what = " ".join(failure.message.removeprefix(f"replay of {recorded}: ").split()).rstrip(".")
    evidence = f"The replay was stopped there, because the program did something else than in the recorded run. {what}."
    advice = (
        f"Compare the two runs: llmtrace diff {recorded} {short_id(trace.trace_id)}. If the change is meant, go on for real"
        f" from there: llmtrace replay {recorded} --live-after change -- COMMAND. Or record the run again."
    )
    return Finding(
        "replay_diverged", "certain", span.span_id, f"the replay diverged at {name_of(span)}", evidence, advice,
        cause_key="replay_diverged", ends_run=True,
    )  # fmt: skip


def _has_failed(trace: Trace, span: Span) -> bool:
    """Return True if the run that this span is part of failed: of a program's tasks, the one that it belongs to."""
    return trace.has_failed(trace.task_of(span)) if trace.tasks else trace.health == "failed"


def _went_on(flow: Flow, span: Span) -> bool:
    """Return True if the run continued after the error.

    If the root failed: it failed by another error, and a model was called later. Otherwise: a later model call succeeded.
    """
    root = flow.trace.task_of(span)
    later = [
        call for call in flow.inferences
        if call.start >= span.start and call is not span and flow.trace.task_of(call) is root
    ]  # fmt: skip
    if root.failure is not None and span.failure is not None:
        return not passed_on(span.failure, root.failure) and any(call.start > span.start for call in later)
    return any(call.failure is None for call in later)


def _ended_as(flow: Flow, span: Span) -> Step | None:
    root = flow.trace.task_of(span)
    if root is span or root.failure is None:
        return None
    return Step(root.span_id, f"{name_of(root)} {how_it_ended(root.failure)}", None, message_of(root.failure))


def interruptions(flow: Flow) -> Iterator[Finding]:
    """Find the innermost spans that were open when the program died: they began and never ended."""
    trace = flow.trace
    open_spans = [span for span in trace.spans if trace.interrupted(span)]
    for span in open_spans:
        if any(trace.interrupted(child) for child in trace.children(span)):
            continue  # the open span inside says more
        if isinstance(span.operation, Review):
            yield _open_review(span, span.operation)
            continue
        yield _cut_off(trace, span)


def _cut_off(trace: Trace, span: Span) -> Finding:
    """Return the finding for a span that was open when its program died."""
    parent = trace.parent(span)
    inside = f", inside {name_of(parent)}" if parent is not None else ""
    evidence = f"{name_of(span)} was open when the program died{inside}: it began and never ended."
    advice = "Look at what the program was doing at that time: a crash, a kill, a deadline."
    title = f"the program was cut off inside {name_of(span)}"
    return Finding("interrupted", "certain", span.span_id, title, evidence, advice, cause_key=title, ends_run=True)


def _open_review(span: Span, review: Review) -> Finding:
    """Return the finding for a program that ended while it waited for a person: an open review, or one decided later."""
    name = review.tool or "a question"  # its words are content
    held = f"The program ended while {name} was held for a person's decision."
    ran = f" {name} has not run." if review.tool else ""
    resume = f"llmtrace review resume {review.review_id or 'ID'} -- COMMAND"
    if review.decision in (None, "pending"):
        title = f"{name} waits for a review"
        evidence = f"{held} Nobody has decided yet.{ran}"
        decide = (
            f"llmtrace review show {review.review_id}, then approve or reject" if review.review_id else "llmtrace review ls"
        )
        advice = f"Decide it: {decide}. Then go on from there: {resume}. Or run the program again."
    elif review.decision in ("timed_out", "unattended"):
        title = f"{name} waited for a review when the program ended"
        evidence = f"{held} Nobody decided in time.{ran}"
        advice = "Run the program again, and decide its review in time: llmtrace review ls lists what waits."
    else:
        title = f"{name} waited for a review when the program ended"
        evidence = f"{held} It was {review.decision} later{f' by {review.decided_by}' if review.decided_by else ''}."
        advice = f"Go on with that decision: {resume}. Or run the program again."
    return Finding("open_review", "certain", span.span_id, title, evidence, advice, cause_key=title, ends_run=True)


def budgets(flow: Flow) -> Iterator[Finding]:
    """Find budgets that stopped the run or were exceeded. The budget's own message says which part of the run spent most.

    A budget stopped the run if the run failed, or if no model call succeeded afterwards. A caught error of the limit on
    ``repeats`` counts only if the run failed.
    """
    trace = flow.trace
    stops = [(span, stop) for span in trace.root_causes if (stop := _budget_stop(span)) is not None]
    for span, (message, limit, was_caught) in stops:
        end = span.end or math.inf
        task = trace.task_of(span)
        went_on = any(
            later.start >= end and later.failure is None and trace.task_of(later) is task for later in flow.inferences
        )
        stopped = _has_failed(trace, span) or (limit != "repeats" and not went_on)
        evidence = f"{message[:1].upper()}{message[1:]}."
        if was_caught:
            evidence += " The program caught the error that says so."
        yield Finding(
            "budget", "certain" if stopped else "possible", span.span_id, f"{name_of(span)} was stopped by its budget",
            evidence, "Look at what was spent first: a loop, a prompt that grows, a long result. Or raise the budget.",
            cause_key="budget", ends_run=stopped, ended_as=_ended_as(flow, span) if stopped else None,
        )  # fmt: skip
    for span in trace.spans if not stops else ():
        for evaluation in span.evaluations:
            if evaluation.name == BUDGET_EXCEEDED:
                evidence = f"{evaluation.explanation.rstrip('.')}."
                title = f"the run crossed its budget{f' of {evaluation.label}' if evaluation.label else ''}"
                advice = 'Have the budget stop the run (on_exceed="raise"), or raise it.'
                yield Finding("budget", "possible", span.span_id, title, evidence, advice, cause_key="budget")


def _budget_stop(span: Span) -> tuple[str, str | None, bool] | None:
    """Return the message of the budget that stopped a span, the name of its limit if known, and True if the program caught the
    error. None if no budget stopped the span."""
    if span.failure is not None and is_stopped_by_budget(span):
        return message_of(span.failure) or "its budget is spent", None, False
    for evaluation in span.evaluations:
        if evaluation.name == BUDGET_STOPPED:
            return evaluation.explanation, evaluation.label, True
    return None


CHECKS = (
    Check("errors", errors, ()),
    Check("interruptions", interruptions, ()),
    Check("budgets", budgets, ()),
)
