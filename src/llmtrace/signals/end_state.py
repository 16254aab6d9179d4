"""How a run ended, from its structure alone; a run without this finding answered.

``error``, ``timeout``, ``cancelled``, ``limit``: the run's outermost span failed so, or its last model call did (one that was
cancelled does not count after one that answered: an agent may choose between two). ``cut``, ``left``, ``refused``, ``empty``:
the last answer was cut by its limit, left by the program, withheld, or said nothing. ``stopped``: the model still asked for
tools when the run ended. ``asked_back``: the answer is a question. ``gave_up``: it speaks of a failure, after results that
failed. ``after_errors``: it does not, and one of the last results failed. ``no_action``: tools were on offer, none was used.

Informational, on the run's outermost span: what the end is worth is for the program to say (`llmtrace.outcome`, an acceptance
check). A single model call is no run of this kind.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.model import (
    CANCELLED,
    DEADLINE,
    TIMEOUT,
    Evaluation,
    Failure,
    Inference,
    Reasoning,
    Retrieval,
    Span,
    Text,
    ToolExecution,
    ending,
)
from llmtrace.signals import Signal
from llmtrace.signals._answers import (
    CUT,
    FILTERED,
    admits_failure,
    asks_back,
    finish_reason,
    has_call,
    only_asks,
    refuses,
)
from llmtrace.signals._results import failed, is_echo

LAST = 3
"""Results at the end of a run that are looked at."""

_LIMIT = re.compile(r"(?i)limit|exceed|max_?(?:imum)?_?(?:turn|step|iter|round|call|token)|recursion")
_EXPLANATIONS = {
    "error": "it ended in an error",
    "timeout": "it ended in a time-out",
    "cancelled": "it, or its last model call, was cancelled",
    "limit": "it ran into a limit",
    "cut": "its last answer was cut by the limit on its length",
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
    span: Span | None = None
    """The newest; when the run has ended, its outermost."""
    answer: Span | None = None
    """The newest model call that was not cancelled."""
    cancelled: Span | None = None
    """A newer one that was."""
    handed_over: bool = False
    """Whether the newest execution after it gave back but what it was given, or may have: its result is not known."""
    results: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=LAST))
    """Of the newest executions: the tool, and whether it failed."""
    offered: bool = False
    used: bool = False


class EndState:
    name = "end_state"
    advice = "Have the program tell such an end from an answer: llmtrace.outcome, or a check on the agent."
    untraced = True
    alone = 0

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        state.span = span
        operation = span.operation
        if isinstance(operation, Inference):
            if span.failure is not None and ending(span.failure) == CANCELLED:
                state.cancelled = span
            else:
                state.answer, state.cancelled, state.handed_over = span, None, False
            if operation.tools:
                state.offered = True
        elif isinstance(operation, ToolExecution):
            echo, bad = is_echo(operation), failed(span, operation)
            state.handed_over = echo or bad is None
            if not echo:
                state.used = True
                state.results.append((operation.name, bool(bad)))
        elif isinstance(operation, Retrieval):
            state.used = True
        return ()

    def finish(self, state: State) -> Iterable[Evaluation]:
        outermost, answer = state.span, state.answer
        if state.cancelled is not None and not _may_have_answered(answer):
            answer = state.cancelled
        if outermost is None or answer is None or outermost is answer:
            return ()
        label = _failed(outermost.failure) or _end(state, answer)
        if label is None:
            return ()
        return (Evaluation(self.name, "info", _EXPLANATIONS[label], label, sources=(answer.span_id,)),)


def _may_have_answered(answer: Span | None) -> bool:
    """Whether this model call may be the one that the agent took, of several that it made: it asks for no tool."""
    inference = answer.operation if answer is not None and answer.failure is None else None
    return isinstance(inference, Inference) and not inference.calls_tools


def _failed(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    kind = ending(failure)
    if kind in (TIMEOUT, DEADLINE):
        return "timeout"
    if kind == CANCELLED:
        return "cancelled"
    return "limit" if _LIMIT.search(failure.type.rpartition(".")[2]) else "error"


def _end(state: State, answer: Span) -> str | None:
    inference = answer.operation
    if not isinstance(inference, Inference):
        return None
    if answer.failure is not None:
        return _failed(answer.failure)
    message = inference.output[0] if inference.output else None
    if message is None:  # not recorded
        return None
    reason = finish_reason(inference, 0)
    if inference.partial:
        return "left"
    if reason in CUT:
        return "cut"
    if reason in FILTERED or reason == "refusal" or refuses(message):
        return "refused"
    if has_call(message):
        return None if state.handed_over else "stopped"
    text = message.text()
    if not text.strip() and all(isinstance(part, (Text, Reasoning)) for part in message.parts):
        return "empty"
    return _answered(state, text)


def _answered(state: State, text: str) -> str | None:
    if text and (last := dict(state.results)) and any(last.values()):  # a tool that then succeeded did not fail at the end
        return "gave_up" if all(last.values()) and admits_failure(text) else "after_errors"
    if only_asks(text) or (asks_back(text) and not state.used):
        return "asked_back"
    return "no_action" if state.offered and not state.used else None


SIGNAL: Signal = EndState()
