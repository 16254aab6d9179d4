"""The answer states values that stand nowhere before it, though nothing was looked up: every tool that was used failed or found
nothing (`nothing_found`), or none was used (`no_lookup`). Only in a run with one task of the user.

* Labels: `nothing_found`: likely; `no_lookup`: possible
* Bad: The user asks for a delivery date, `look_up` finds nothing, and the model names a date.
* Good: The answer repeats the user's order number, or says that nothing was found.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, plural
from llmtrace.reading.calls import Step
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.result_form import is_empty


class AnswerWithoutEvidence(Law[None]):
    name = "answer_without_evidence"
    advice = "Require a tool call for such questions (tool_choice), or have the model say that it did not look."
    needs = ("calls", "results", "lineage")

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        answer, calls = run.outcome, run.calls
        may_lack_lookup = run.is_thorough and bool(run.timeline.tools)
        if answer is None or not (calls or may_lack_lookup) or not run.is_answered or run.is_in_dialogue(answer):
            return
        is_barren = all(call.failed or (call.has_result and not call.is_change and is_empty(call.result)) for call in calls)
        if not is_barren or run.timeline.has_other_sources or run.timeline.lineage.hidden:
            return  # what is not visible may hold the values
        if not _states_values(run, answer):
            return
        spans = tuple(call.place for call in calls)
        if calls:
            yield Finding(
                self.name, "nothing_found", "likely", answer.place, "the answer states values though nothing was found",
                f"{plural(len(calls), 'call')} brought nothing: each failed or came back empty. "
                "The answer states values all the same.",
                "Have the model say that it found nothing, or end the run with that outcome.", step=answer, spans=spans,
            )  # fmt: skip
        else:
            yield Finding(
                self.name, "no_lookup", "possible", answer.place, "the answer states values though nothing was looked up",
                "Tools were on offer and none was used. The answer states values that stand nowhere before it.",
                self.advice, step=answer,
            )  # fmt: skip


def _states_values(run: EndedRun, answer: Step) -> bool:
    uses = run.uses(answer)
    statuses = {use.provenance.status for use in uses if use.kind == "number" or use.provenance.status == "ungrounded"}
    return not statuses.isdisjoint({"ungrounded", "unknown"})


SIGNAL = AnswerWithoutEvidence()
