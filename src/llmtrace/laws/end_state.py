"""The run ended without a normal answer, as its last model call and results show. `interrupted`: the program died while this
span was open. `enclosing`: the open spans around it.

* Labels: `error`, `timeout`, `cancelled`, `limit`, `cut`, `left`, `refused`, `empty`, `stopped`, `asked_back`, `gave_up`,
  `after_errors`, `no_action`, `enclosing`: info; `interrupted`: error
* On: the run's outermost span; `interrupted` and `enclosing` on the unfinished spans.
* Bad: The run ends while the model still asks for tools (`stopped`), or with a question (`asked_back`).
* Good: The run ends with an answer after a tool that failed first and then succeeded.

Your program decides whether such an end is acceptable, with `llmtrace.outcome` or an acceptance check. `interrupted` is found
when the trace is read, and only if the program is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmtrace.laws import _shared
from llmtrace.laws.base import Signal
from llmtrace.model import CANCELLED, DEADLINE, TIMEOUT, Evaluation, Failure, Inference, Retrieval, Span, Trace, failure_kind
from llmtrace.reading.answer_endings import ending_of, is_blank
from llmtrace.reading.call_log import Call
from llmtrace.reading.result_form import is_echo
from llmtrace.reading.run_evidence import RunEvidence
from llmtrace.text.failure_words import mentions_failure
from llmtrace.text.patterns import lazy_pattern

LAST_RESULTS = 3
"""Number of results at the end of a run that are examined."""

_LIMIT = lazy_pattern(r"(?i)limit|exceed|max_?(?:imum)?_?(?:turn|step|iter|round|call|token)|recursion")
_SENTENCE_END = lazy_pattern(r"[.!?:]\s|[。！？؟\n]")
_EXPLANATIONS = {
    "error": "it ended in an error",
    "timeout": "it ended in a time-out",
    "cancelled": "it, or its last model call, was cancelled",
    "limit": "it ran into a limit",
    "cut": "its last answer was cut",
    "left": "its last answer was left before the end",
    "refused": "its last answer was refused or withheld",
    "empty": "its last answer is empty",
    "stopped": "it ended while the model still asked for tools",
    "asked_back": "its last answer is a question",
    "gave_up": "its last answer speaks of a failure, after results that failed",
    "after_errors": "it answered although one of its last results failed",
    "no_action": "tools were on offer, and it used none",
}


@dataclass(slots=True)
class State:
    run: RunEvidence
    answer: Span | None = None
    cancelled: Span | None = None
    """The newest model call that was not cancelled, and a newer one that was cancelled."""
    retrieved: bool = False


class EndState(Signal[State]):
    name = "end_state"
    new_state = State
    looks_at = (Inference, Retrieval)
    advice = "Have the program tell such an end from an answer: llmtrace.outcome, or a check on the agent."

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        if isinstance(span.operation, Inference):
            if span.failure is not None and failure_kind(span.failure) == CANCELLED:
                state.cancelled = span
            else:
                state.answer, state.cancelled = span, None
        else:
            state.retrieved = True
        return ()

    def finish(self, state: State) -> Iterable[Evaluation]:
        outermost, answer = state.run.newest, state.answer
        if state.cancelled is not None and not _is_answer(answer):
            answer = state.cancelled  # if there is an answer, the agent may have cancelled a parallel call on purpose
        if outermost is None or answer is None or outermost is answer:
            return ()  # a single model call is not a run of this kind
        label = _failure_label(outermost.failure) or _failure_label(answer.failure) or _answer_label(state, answer)
        if label is None:
            return ()
        return (Evaluation(self.name, "info", _EXPLANATIONS[label], label, sources=(answer.span_id,)),)

    def on_reading(self, trace: Trace) -> Mapping[str, Evaluation]:
        """Report the innermost open span as the place where the program stopped.

        The open spans around it only point to it, so that one crash has one root cause. A trace whose program still runs has no
        findings.
        """
        interrupted = [span for span in trace.spans if trace.interrupted(span)]
        inner: dict[str | None, list[str]] = {}
        for span in interrupted:
            inner.setdefault(span.parent_id, []).append(span.span_id)
        text = "it never ended: the program was cut off inside it"
        stopped = Evaluation(self.name, "error", "the program was cut off while this ran", "interrupted", derived=True)
        return {
            span.span_id: Evaluation(self.name, "info", text, "enclosing", sources=tuple(inner[span.span_id]), derived=True)
            if span.span_id in inner
            else stopped
            for span in interrupted
        }


def _is_answer(span: Span | None) -> bool:
    inference = span.operation if span is not None and span.failure is None else None
    return isinstance(inference, Inference) and not inference.calls_tools


def _failure_label(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    kind = failure_kind(failure)
    if kind in (TIMEOUT, DEADLINE):
        return "timeout"
    if kind == CANCELLED:
        return "cancelled"
    return "limit" if _LIMIT.search(failure.type.rpartition(".")[2]) else "error"


def _answer_label(state: State, answer: Span) -> str | None:
    inference = answer.operation
    if not isinstance(inference, Inference) or not inference.output:  # not recorded
        return None
    ending = ending_of(answer)
    if ending not in (None, "empty", "missing"):
        return {"stream_cut": "cut", "filtered": "refused"}.get(ending, ending)
    message, calls = inference.output[0], state.run.calls
    if _shared.has_call(message):
        asked = [call for call in calls.calls if call.asking_span == answer.span_id]
        executed = [call for call in asked if call.execution is not None or call.is_held_back]
        # A call without a known outcome, or a tool that accepts the final answer, may be the normal end.
        return None if any(not call.is_complete or _is_note(call) for call in executed) else "stopped"
    text = message.text().strip()
    if not text:
        return "empty" if is_blank(message) else None
    used = [call for call in calls.calls if (call.is_complete or call.execution is not None) and not _is_note(call)]
    failed = {call.tool: call.failed for call in used[-LAST_RESULTS:]}  # the last result of each tool counts
    if any(failed.values()):
        return "gave_up" if all(failed.values()) and mentions_failure(text) else "after_errors"
    has_used = bool(used) or state.retrieved
    if _shared.is_question(text) and (not has_used or _SENTENCE_END.search(text[:-1]) is None):
        return "asked_back"  # a question after statements may be mere courtesy
    return "no_action" if calls.tools and not has_used and inference.input else None


def _is_note(call: Call) -> bool:
    """Return True if the tool only accepted its arguments, such as the final answer."""
    return call.executed and call.has_result and is_echo(call.arguments, call.result)


SIGNAL = EndState()
