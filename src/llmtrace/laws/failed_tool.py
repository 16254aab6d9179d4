"""A tool failed, nothing did that job later, and the run ended with an answer (`never_succeeded`). `not_approved`: a person
rejected a call, or nobody decided on it, and the answer does not say so.

* Labels: `never_succeeded`: certain, likely or possible; `not_approved`: certain; `failed_then_succeeded`: possible; `raised`,
  `error_result`: facts about each failed call
* Bad: `book_table` fails, and the agent answers that the table is booked.
* Good: `book_table` succeeds with another time. Another search asks for the same. The user spoke after the failure. One of two
  equal calls went well.

A later call of the same conversation did the job if it succeeded and is not a change of another thing that was known before.
A call of another tool did the job if it asked for the same or changed the same file. A lookup whose answer took its data from
a later call is only likely. If a later call may have done the job, and its outcome was not recorded, the finding is only
possible. A run that ended at a limit is judged like one with an answer if the tool failed more than once. A cancellation is
not a failure of the tool.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain

from llmtrace.laws._failure_text import advice_for_tool, how_call_failed
from llmtrace.laws._other_job import is_other_job
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call, plural
from llmtrace.model import CANCELLED, Confidence, Evaluation, Inference, Span, ToolExecution, failure_kind
from llmtrace.reading.calls import Call, changes_same_file
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.timeline import Timeline
from llmtrace.text.failure_words import mentions_failure

WORKED_AROUND = 5
"""A run with this many successful calls after a failure has worked around the failure."""


class FailedTool(Law[Timeline]):
    name = "failed_tool"
    advice = "Have the tool say what was wrong with the call, and the agent say what it could not do."
    looks_at = (Inference, ToolExecution)
    when = "results"
    needs = ("calls", "results")

    def step(self, state: Timeline, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        evaluations = []
        for call in state.completed:
            was_cancelled = call.failure is not None and failure_kind(call.failure) == CANCELLED
            if call.failed and not was_cancelled and call.offered is not False and not call.error_violations:
                label = "raised" if call.failure is not None else "error_result"
                sources = (call.asking_span,) if call.asking_span else ()
                text = f"{call.quoted_name} failed"
                evaluations.append(Evaluation(self.name, "info", text, label, call_id=call.id, sources=sources))
        return evaluations

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        if all(call.failed is False for call in run.calls):
            return
        successes = {(call.turn, call.conversation, call.effect_key) for call in run.calls if call.failed is False}
        for tool, calls in run.calls_by_tool.items():
            # tools that do not exist are left to `invalid_tool_call`, because another tool does their job
            failures = [call for call in calls if call.failed and call.offered is not False]
            unresolved = [call for call in failures if not _was_made_good(run, call, successes)]
            if unresolved:
                yield self._unresolved(run, tool, unresolved, sum(call.failed is False for call in calls))
            elif failures:
                yield self._resolved(tool, failures[0])
            yield from self._not_approved(run, tool, calls)

    def _unresolved(self, run: EndedRun, tool: str, calls: list[Call], successes: int) -> Finding:
        """Return the finding for failures that no later call made good.

        ``successes``: number of calls of the tool that succeeded, either earlier or about other things.
        """
        first = calls[0]
        then = ", and the run ended with an answer" if run.is_answered else ""
        times = f" ({len(calls)} times in all)" if len(calls) > 1 else ""
        other_calls = f"; {plural(successes, 'other call')} of it went well" if successes else ""
        evidence = f"{tool} failed{times}: it {how_call_failed(first)}. Nothing did that job later{then}{other_calls}."
        title = f"{first.name} never succeeded" if first.executed else f"{first.name} never ran"
        if successes:
            title = f"one call of {first.name} never succeeded"
        return of_call(
            self.name, "never_succeeded", _confidence(run, calls), first, title, evidence, advice_for_tool(first),
            cause_key=tool, spans=tuple(call.place for call in calls),
        )  # fmt: skip

    def _resolved(self, tool: str, first: Call) -> Finding:
        evidence = f"{tool} failed: it {how_call_failed(first)}. Another call went well"
        evidence += ", so the change may have been made twice." if first.is_change and first.timed_out else "."
        return of_call(
            self.name, "failed_then_succeeded", "possible", first, f"{first.name} failed once", evidence,
            advice_for_tool(first), cause_key=tool,
        )  # fmt: skip

    def _not_approved(self, run: EndedRun, tool: str, calls: Sequence[Call]) -> Iterator[Finding]:
        stopped = [call for call in calls if call.is_held_back and call.decision in ("rejected", "timed_out", "unattended")]
        last = stopped[-1] if stopped else None
        if last is None or not run.is_answered or run.outcome is None or mentions_failure(run.outcome.text):
            return
        if any(later.failed is False for later in run.later_calls(last, tool)):
            return
        how = {"rejected": "a person rejected the call", "unattended": "nobody was there to decide on the call"}
        why = how.get(last.decision or "", "nobody decided on the call in time")
        evidence = f"{tool} did not run: {why}. The answer does not say so."
        yield of_call(
            self.name, "not_approved", "certain", last, f"{last.name} never ran", evidence,
            f"Have the agent say that {tool} did not run, or end the run there.", cause_key=tool,
            spans=tuple(call.place for call in stopped),
        )  # fmt: skip


def _confidence(run: EndedRun, calls: Sequence[Call]) -> Confidence:
    if not run.is_over_after(len(calls)) or any(map(run.is_in_dialogue, calls)):
        return "possible"
    if all(call.may_be_finding for call in calls):  # the error may be the information that was asked for
        return "possible"
    first = calls[0]
    if any(_did_the_job(run, call, after) for call in calls for after in run.later_calls(call) if _is_unknown(after)):
        return "possible"
    later = [[after for after in run.later_calls(call) if after.may_have_succeeded] for call in calls]
    # the same change for other things does not work around the failure
    is_batch = first.is_change and any(is_other_job(run, first, after) for after in run.later_calls(first, first.tool))
    if all(len(successes) >= WORKED_AROUND for successes in later) and not is_batch:
        return "possible"
    return "likely" if not first.is_change and any(run.feeds(after, run.outcome) for after in later[-1]) else "certain"


def _was_made_good(run: EndedRun, failed: Call, successes: Container[tuple[int, int, str]]) -> bool:
    """Return True if another call did the job of a failed one: an equal one in the same turn, also before it, or a later one.

    ``successes``: of each call that succeeded, the user's turn, the conversation and its `Call.effect_key`.
    """
    if (failed.turn, failed.conversation, failed.effect_key) in successes:
        return True
    # each search is bounded, so the calls of the same tool get a search of their own
    later = chain(run.later_calls(failed, failed.tool), run.later_calls(failed))
    return any(_did_the_job(run, failed, call) for call in later if call.failed is False)


def _is_unknown(call: Call) -> bool:
    """Return True for a call that ran, and whose outcome was not recorded."""
    return call.failed is None and call.may_have_succeeded


def _did_the_job(run: EndedRun, failed: Call, later: Call) -> bool:
    if failed.tool == later.tool and failed.conversation == later.conversation:
        return not failed.is_change or not is_other_job(run, failed, later)  # any lookup counts, but not another change
    if failed.effect_key == later.effect_key:
        return True
    if failed.is_change:
        return changes_same_file(failed, later)
    question = {use.key for use in run.uses(failed)}
    return bool(question) and question == {use.key for use in run.uses(later)}


SIGNAL = FailedTool()
