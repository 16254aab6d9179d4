"""A tool failed in the user's last turn, nothing replaced it, and the run ended with an answer (`never_succeeded`). A change
must succeed itself, but a file may be changed by another tool. A lookup may be replaced by any later call with the same
information.

* Labels: `never_succeeded`: warning; `admitted`, `raised`, `error_result`: info
* On: the call: its execution, or the inference that got its result; `never_succeeded` and `admitted` on the outermost span.
* Bad: `book_table` fails, and the agent answers that the table is booked.
* Good: `book_table` succeeds with another time. Another search finds the answer. The user spoke after the failure. A person
  rejected the call.

`admitted`: as `never_succeeded`, but the answer mentions a failure. `raised` and `error_result` report how each failed call
failed. A cancellation is not a failure of the tool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from llmtrace.laws._shared import has_call
from llmtrace.laws.base import Signal
from llmtrace.model import CANCELLED, Evaluation, Inference, Severity, Span, ToolExecution, failure_kind
from llmtrace.reading.call_log import Call, CallLog, changes_same_file
from llmtrace.reading.run_evidence import RunEvidence
from llmtrace.text.failure_words import mentions_failure


class FailedTool(Signal[RunEvidence]):
    name = "failed_tool"
    advice = "Have the tool say what was wrong with the call, and the agent say what it could not do."
    looks_at = (Inference, ToolExecution)
    needs = "results"

    def start(self, run: RunEvidence) -> RunEvidence:
        return run

    def step(self, state: RunEvidence, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        evaluations = []
        for call in state.completed:
            if _is_failure(call) and call.offered is not False and not call.error_violations:
                label = "raised" if call.failure is not None else "error_result"
                sources = (call.asking_span,) if call.asking_span else ()
                text = f"{call.quoted_name} failed"
                evaluations.append(Evaluation(self.name, "info", text, label, call_id=call.id, sources=sources))
        return evaluations

    def finish(self, state: RunEvidence) -> Iterable[Evaluation]:
        if True not in [call.failed for call in state.calls.calls]:
            return ()
        failures, answer = _open_failures(state.calls), _answer(state.newest_inference)
        if not failures or not answer:
            return ()
        severity: Severity = "info" if mentions_failure(answer) else "warning"
        label, end = ("admitted", ", which speaks of a failure") if severity == "info" else ("never_succeeded", "")
        return [
            Evaluation(
                self.name,
                severity,
                f"{calls[0].quoted_name} failed and never succeeded afterwards; the run ended with an answer{end}",
                label,
                float(len(calls)),
                sources=tuple(dict.fromkeys((calls[0].span_id, calls[-1].span_id))),
            )
            for calls in failures
        ]


def _is_failure(call: Call) -> bool:
    return call.failed is True and (call.failure is None or failure_kind(call.failure) != CANCELLED)


def _open_failures(log: CallLog) -> Collection[list[Call]]:
    """Return the failed calls of the user's last turn that no later call replaced, by tool.

    Earlier turns do not count: a user who spoke after a failure knows of it. Any later success replaces a failed lookup, since
    its information may be found in another way, and a call of a tool that was not offered, since that cannot succeed.
    """
    open_failures: dict[str, list[Call]] = {}
    successful: set[str | None] = set()  # model calls with a successful tool call, perhaps in parallel to the failed one
    for call in log.calls:
        if call.turn != log.turn or call.is_held_back or (call.execution is None and not call.is_complete):
            continue
        if call.failed:
            if (
                _is_failure(call)
                and not call.may_be_finding
                and (call.is_change or call.asking_span is None or call.asking_span not in successful)
            ):
                open_failures.setdefault(call.tool, []).append(call)
        else:  # it succeeded, or may have succeeded if its result is not visible
            successful.add(call.asking_span)
            for tool, calls in list(open_failures.items()):
                is_same = tool == call.tool or (call.arguments and call.arguments in [failed.arguments for failed in calls])
                is_same = is_same or all(changes_same_file(failed, call) for failed in calls)
                if is_same or calls[0].offered is False or not calls[0].is_change:
                    del open_failures[tool]
    return open_failures.values()


def _answer(span: Span | None) -> str:
    """Return the text of the run's last model call; empty if it failed, was left, or requested tools."""
    inference = span.operation if span is not None and span.failure is None else None
    if not isinstance(inference, Inference) or inference.partial or not inference.output:
        return ""
    message = inference.output[0]
    return "" if has_call(message) else message.text().strip()


SIGNAL = FailedTool()
