"""How the run ended, if not with an answer: by an error, a limit, a time-out, Ctrl-C, a budget, or the death of its program.

* Labels: `error`, `limit`, `timeout`, `cancelled`, `budget`, `replay_diverged`, `interrupted`: certain if it ended the run,
  else possible; `waited`: certain, if the program died while a person was asked; `budget_exceeded`: possible
* Bad: The program is killed while a tool runs (`interrupted`).
* Good: An error that the agent dealt with. A tool that failed on a server: the run that called it may go on.

A limit, a time-out, Ctrl-C or an error that ended a run is a symptom of the loop, the failed tool or the invalid call that led
there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from llmtrace.errors import ReplayDiverged
from llmtrace.laws._failure_text import advice_for_model_call, end_of, has_advice, how_it_ended
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, as_sentence, message_of, name_of
from llmtrace.model import (
    BUDGET_EXCEEDED,
    BUDGET_STOPPED,
    CANCELLED,
    Confidence,
    Failure,
    Inference,
    Review,
    Span,
    ToolExecution,
    failure_kind,
    is_stopped_by_budget,
)
from llmtrace.model.spans import raised_at
from llmtrace.model.traces import passed_on, short_id
from llmtrace.reading.ended_run import EndedRun
from llmtrace.semconv import INTERRUPTED, REPLAY_OF


class EndState(Law[None]):
    name = "end_state"
    advice = "Have the program tell such an end from an answer: llmtrace.outcome, or a check on the agent."

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        yield from self._errors(run)
        yield from self._interruptions(run)
        yield from self._budgets(run)

    def _errors(self, run: EndedRun) -> Iterator[Finding]:
        """Find errors. Certain if the error ended the run or is that of the final model call, else possible.

        A finding is on the innermost span with the error: no span below it failed in the same way.
        """
        outermost = run.outermost
        is_budget_stop = outermost is not None and is_stopped_by_budget(outermost)
        for span in run.root_causes:
            failure = span.failure
            if failure is None or is_stopped_by_budget(span):
                continue
            if span.attributes.get(INTERRUPTED) is True:  # sent on by OTLP after its program had died
                yield self._cut_off(span, None)
                continue
            if failure.type.rpartition(".")[2] == ReplayDiverged.__name__:
                yield self._divergence(run, span, failure)
                continue
            is_lost = run.final is not None and run.final.span_id == span.span_id and failure_kind(failure) != CANCELLED
            is_over = run.has_failed and not is_budget_stop and not _is_remote_tool_call(outermost)
            ends_run = is_lost or (is_over and not _went_on(run, span))
            if isinstance(span.operation, ToolExecution) and not ends_run:
                continue  # the laws about calls say more about it
            yield self._error(run, span, failure, ends_run=ends_run)

    def _error(self, run: EndedRun, span: Span, failure: Failure, *, ends_run: bool) -> Finding:
        message, place = message_of(failure), raised_at(failure)
        evidence = f"It says “{message}”." if message else "The error began there: nothing below it failed in the same way."
        if place:
            evidence = f"{evidence[:-1]}, raised at {place}." if message else f"It was raised at {place}."
        if not ends_run:
            evidence = f"{evidence[:-1]}; the run went on."
        advice = f"Read where it was raised: llmtrace show {short_id(span.trace_id)} --full."
        if isinstance(span.operation, Inference) or has_advice(failure):
            advice = advice_for_model_call(failure)
        title = f"{name_of(span)} {how_it_ended(failure)}"
        confidence: Confidence = "certain" if ends_run else "possible"
        return Finding(
            self.name, end_of(failure), confidence, span.span_id, title, evidence, advice, cause_key=title,
            step=run.step_at(span),
            ends_run=ends_run, is_end=ends_run and not isinstance(span.operation, (Inference, ToolExecution)),
            ended_as=_ended_as(run, span) if ends_run else None,
        )  # fmt: skip

    def _divergence(self, run: EndedRun, span: Span, failure: Failure) -> Finding:
        """Return the finding for a replay that diverged. The program is not at fault: it could only get recorded answers."""
        outermost = run.outermost or span
        recorded = short_id(str(outermost.attributes[REPLAY_OF])) if REPLAY_OF in outermost.attributes else "ID"
        what = " ".join(failure.message.removeprefix(f"replay of {recorded}: ").split()).rstrip(".")
        evidence = f"The replay was stopped there, because the program did something else than in the recorded run. {what}."
        advice = (
            f"Compare the two runs: llmtrace diff {recorded} {short_id(span.trace_id)}. If the change is meant, go on for real"
            f" from there: llmtrace replay {recorded} --live-after change -- COMMAND. Or record the run again."
        )
        title = f"the replay diverged at {name_of(span)}"
        return Finding(
            self.name, "replay_diverged", "certain", span.span_id, title, evidence, advice, cause_key=title, ends_run=True
        )

    def _interruptions(self, run: EndedRun) -> Iterator[Finding]:
        """Find the innermost spans that were open when the program died: they began and never ended."""
        by_id = {span.span_id: span for span in run.open_spans}
        around = {span.parent_id for span in run.open_spans}
        for span in run.open_spans:
            if span.span_id in around:
                continue  # the open span inside says more
            if isinstance(span.operation, Review):
                yield self._waited(span, span.operation)
                continue
            yield self._cut_off(span, by_id.get(span.parent_id or ""))

    def _cut_off(self, span: Span, parent: Span | None) -> Finding:
        """Return the finding for a span that was open when its program died."""
        inside = f", inside {name_of(parent)}" if parent is not None else ""
        evidence = f"{name_of(span)} was open when the program died{inside}: it began and never ended."
        advice = "Look at what the program was doing at that time: a crash, a kill, a deadline."
        title = f"the program was cut off inside {name_of(span)}"
        return Finding(
            self.name, "interrupted", "certain", span.span_id, title, evidence, advice, cause_key=title, ends_run=True
        )

    def _waited(self, span: Span, review: Review) -> Finding:
        """Return the finding for a program that ended while it waited for a person: an open review, or one decided later."""
        name = review.tool or "a question"  # its words are content
        evidence = f"The program ended while {name} was held for a person's decision."
        ran = f" {name} has not run." if review.tool else ""
        resume = f"llmtrace review resume {review.review_id or 'ID'} -- COMMAND"
        title = f"{name} waited for a review when the program ended"
        if review.decision in (None, "pending"):
            title = f"{name} waits for a review"
            evidence += f" Nobody has decided yet.{ran}"
            command = f"show {review.review_id}, then approve or reject" if review.review_id else "ls"
            advice = f"Decide it: llmtrace review {command}. Then go on from there: {resume}. Or run the program again."
        elif review.decision in ("timed_out", "unattended"):
            evidence += f" Nobody decided in time.{ran}"
            advice = "Run the program again, and decide its review in time: llmtrace review ls lists what waits."
        else:
            evidence += f" It was {review.decision} later{f' by {review.decided_by}' if review.decided_by else ''}."
            advice = f"Go on with that decision: {resume}. Or run the program again."
        return Finding(self.name, "waited", "certain", span.span_id, title, evidence, advice, cause_key=title, ends_run=True)

    def _budgets(self, run: EndedRun) -> Iterator[Finding]:
        """Find budgets that stopped the run or were exceeded. The budget's own message says which part of the run spent most.

        A budget stopped the run if the run failed, or if no model call succeeded afterwards. A caught error of the limit on
        ``repeats`` counts only if the run failed.
        """
        stops: list[tuple[Span, str, str | None, bool]] = [
            (span, message_of(span.failure) or "its budget is spent", None, False)
            for span in run.root_causes
            if span.failure is not None and is_stopped_by_budget(span)
        ]
        stops += [(span, fact.explanation, fact.label, True) for span, fact in run.facts if fact.name == BUDGET_STOPPED]
        for span, message, limit, was_caught in stops:
            end = math.inf if span.end is None else span.end
            stopped = run.has_failed or (limit != "repeats" and run.last_success < end)
            evidence = as_sentence(message)
            evidence += " The program caught the error that says so." if was_caught else ""
            yield Finding(
                self.name, "budget", "certain" if stopped else "possible", span.span_id,
                f"{name_of(span)} was stopped by its budget", evidence,
                "Look at what was spent first: a loop, a prompt that grows, a long result. Or raise the budget.",
                cause_key="budget", ends_run=stopped, is_end=stopped, ended_as=_ended_as(run, span) if stopped else None,
            )  # fmt: skip
        for span, fact in run.facts if not stops else ():
            if fact.name == BUDGET_EXCEEDED:
                yield Finding(
                    self.name, "budget_exceeded", "possible", span.span_id,
                    f"the run crossed its budget{f' of {fact.label}' if fact.label else ''}",
                    f"{fact.explanation.rstrip('.')}.",
                    'Have the budget stop the run (on_exceed="raise"), or raise it.', cause_key="budget",
                )  # fmt: skip


def _is_remote_tool_call(outermost: Span | None) -> bool:
    """Return True for a tool call that another process asked for, as on a server of MCP. Its run shows what came of it."""
    return outermost is not None and outermost.parent_id is not None and isinstance(outermost.operation, ToolExecution)


def _went_on(run: EndedRun, span: Span) -> bool:
    """Return True if the run continued after the error.

    If the outermost span failed: it failed by another error, and a model was called later. Otherwise: a later model call
    succeeded.
    """
    outermost = run.outermost
    if outermost is not None and outermost.failure is not None and span.failure is not None:
        return not passed_on(span.failure, outermost.failure) and run.last_start > span.start
    return run.last_success >= span.start


def _ended_as(run: EndedRun, span: Span) -> tuple[str, str, str] | None:
    outermost = run.outermost
    if outermost is None or outermost.span_id == span.span_id or outermost.failure is None:
        return None
    title = f"{name_of(outermost)} {how_it_ended(outermost.failure)}"
    return outermost.span_id, title, message_of(outermost.failure)


SIGNAL = EndState()
