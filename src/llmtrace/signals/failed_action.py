"""What the model decided to do failed: the tool raised, answered with an error, or the step around it broke.

Said where it failed, once, and not again by the steps around; its source is the model call that decided it, where a wrong call
or a wrong idea is to be looked for. A call that broke its schema is `invalid_tool_call`. Informational: agents try and fail,
and the span has its own status; what an error-shaped result hides (``error_result``) is told nowhere else. A time-out or a
cancellation is nobody's decision. Where a program acts on the model's words and hands back a text that holds no others,
nothing came of it (``no_news``).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from llmtrace.model import (
    CANCELLED,
    DEADLINE,
    TIMEOUT,
    Custom,
    Evaluation,
    Inference,
    Span,
    ToolCall,
    ToolExecution,
    ending,
)
from llmtrace.signals import Signal
from llmtrace.signals._answers import new_messages
from llmtrace.signals._results import has_news, is_error, tells_error, tool_texts
from llmtrace.signals._traits import FAILED, INFERENCE

CALLS = 256
"""Model calls and open spans that are remembered; the oldest go first."""

K = TypeVar("K", str, int)

_FRUITLESS = "what came back for the model's last action holds nothing but its own words"
_NOBODY = (TIMEOUT, DEADLINE, CANCELLED)


@dataclass(slots=True)
class State:
    decided: deque[tuple[str, str | None, list[str | None]]] = field(default_factory=lambda: deque(maxlen=CALLS))
    """The last model calls: id, the span in which it could decide something, and the ids of the calls that it asked for."""
    before: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """By the id of an open span, the last model call before these that could decide something there."""
    said: OrderedDict[int, str] = field(default_factory=OrderedDict)
    """By the digest of its words, a model call."""
    told: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Open spans below which a failure has been told of."""


class FailedAction:
    name = "failed_action"
    advice = "Have the tool say what was wrong with the call, so that the model can correct it."
    untraced = True
    looks_at = (Inference, ToolExecution, Custom)
    waits_for = INFERENCE | FAILED
    alone = 0

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        operation = span.operation
        if isinstance(operation, Inference):
            asked = [part.id for message in operation.output for part in message.parts if type(part) is ToolCall]
            if len(state.decided) == CALLS and state.decided[0][1] != span.parent_id:
                _put_aside(state)
            state.decided.append((span.span_id, span.parent_id, asked))
            return self._fruitless(state, span, operation)
        label = _label(span)
        if label is None:
            return ()
        if isinstance(operation, ToolExecution):
            decided = _asked_by(state, operation.call_id) or _decided_in(state, span.parent_id)
        else:
            decided = _decided_in(state, span.span_id)
        return self._failed(state, span, label, decided)

    def _failed(self, state: State, span: Span, label: str, decided: str | None) -> Iterable[Evaluation]:
        told = span.span_id in state.told
        if decided is None and not told:
            return ()
        self._hand_up(state, span)
        if told or decided is None or any(violation.severity == "error" for violation in span.violations):
            return ()
        return (self._evaluation(span.operation, label, decided),)

    def _fruitless(self, state: State, span: Span, inference: Inference) -> Iterable[Evaluation]:
        """What came back for the model's last words, where a program acts on these, holds no others."""
        output = inference.output[0] if inference.output else None
        if output is not None and (text := output.text()):
            _remember(state.said, hash(text), span.span_id)
        if not state.said:
            return ()
        new = new_messages(inference)
        texts = tool_texts(new)
        if not texts or len(new) == len(inference.input) or any(map(tells_error, texts)):
            return ()
        words = inference.input[len(inference.input) - len(new) - 1].text()
        decided = state.said.get(hash(words))
        if decided is None or has_news(texts, (words,)):
            return ()
        return (Evaluation(self.name, "info", _FRUITLESS, "no_news", sources=(decided,)),)

    def _hand_up(self, state: State, span: Span) -> None:
        state.told.pop(span.span_id, None)
        if span.parent_id is not None:
            state.told[span.parent_id] = None
            if len(state.told) > CALLS:
                state.told.popitem(last=False)

    def _evaluation(self, operation: object, label: str, decided: str) -> Evaluation:
        tool = isinstance(operation, ToolExecution)
        what = f"`{operation.name}`" if isinstance(operation, ToolExecution) and operation.executed else "a tool"
        text = f"{what} failed as the model called it" if tool else "the step failed after what the model decided in it"
        call_id = operation.call_id if isinstance(operation, ToolExecution) else None
        return Evaluation(self.name, "info", text, label, call_id=call_id, sources=(decided,))


def _asked_by(state: State, call_id: str | None) -> str | None:
    """The model call that asked for this call."""
    if call_id is None:
        return None
    return next((span_id for span_id, _, asked in reversed(state.decided) if call_id in asked), None)


def _decided_in(state: State, span_id: str | None) -> str | None:
    """The last model call right below a span."""
    if span_id is None:
        return None
    newest = next((deciding for deciding, parent_id, _ in reversed(state.decided) if parent_id == span_id), None)
    return newest or state.before.get(span_id)


def _put_aside(state: State) -> None:
    """Many calls below one span must not make what was decided above them be forgotten."""
    deciding, parent_id, _ = state.decided[0]
    if parent_id is not None:
        _remember(state.before, parent_id, deciding)


def _label(span: Span) -> str | None:
    operation = span.operation
    if span.failure is not None:
        if ending(span.failure) in _NOBODY:
            return None
        return "raised" if isinstance(operation, ToolExecution) else "step"
    if isinstance(operation, ToolExecution) and operation.has_result and is_error(operation.result):
        return "error_result"
    return None


def _remember(kept: OrderedDict[K, str], key: K, what: str) -> None:
    kept.pop(key, None)
    kept[key] = what
    if len(kept) > CALLS:
        kept.popitem(last=False)


SIGNAL: Signal = FailedAction()
