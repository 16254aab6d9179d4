"""A model call continues an earlier answer, but its request lacks context: the system prompt (`system`), a call's result
(`result`), or earlier messages (`messages`).

* Labels: `system`: warning; `result`, `messages`: info
* On: the inference.
* Bad: A sliding window over the history drops the system prompt.
* Good: The history is complete; the provider keeps it or marks a compaction; another agent with its own instructions reads it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from llmtrace.laws.base import Signal
from llmtrace.model import Compaction, Evaluation, Inference, Message, Part, Severity, Span, ToolCall, ToolResult
from llmtrace.reading.message_history import ASSISTANT, SYSTEM, remember
from llmtrace.reading.run_evidence import RunEvidence

MOST_ANSWERS = 64
"""Most answers that are kept to recognize requests that continue them; beyond it, the oldest is dropped."""
_FINDINGS: dict[str, tuple[Severity, str]] = {
    "system": ("warning", "the system prompt that an earlier call of this conversation had is gone"),
    "result": ("info", "the result of a call that the model asked for is not in the request, though the conversation goes on"),
    "messages": ("info", "messages that an earlier call of this conversation was sent are no longer in the request"),
}


@dataclass(slots=True)
class Answered:
    """The facts about a model call with which the next request of the conversation is compared."""

    span_id: str
    system: tuple[Part | Message, ...]
    length: int
    """Number of messages in the request, without system prompts."""
    reported: set[str] = field(default_factory=set)


Answers: TypeAlias = "dict[Hashable, Answered]"


class LostContext(Signal[Answers]):
    name = "lost_context"
    advice = "Keep the messages that hold the task and its values when the history is cut or summed up."
    looks_at = (Inference,)

    def start(self, run: RunEvidence) -> Answers:  # noqa: ARG002
        return {}

    def step(self, state: Answers, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if not isinstance(inference, Inference) or not inference.input or inference.is_continued:
            return ()
        start = 0
        while start < len(inference.input) - 1 and inference.input[start].role in SYSTEM:
            start += 1
        system, messages = (*inference.system, *inference.input[:start]), inference.input[start:]
        now = Answered(span.span_id, system, len(messages))
        place = len(messages) - 1
        while place >= 0 and messages[place].role not in ASSISTANT:
            place -= 1
        before = state.get(_key(messages[place], span)) if place >= 0 else None
        losses: list[str] = []
        if before is not None:
            now.reported = before.reported  # shared by the whole conversation, so that each loss is reported once
            losses = [label for label in _losses(before, now, messages, place) if label not in now.reported]
            now.reported.update(losses)
        key = _key(inference.output[0], span) if len(inference.output) == 1 else None
        if key is not None:
            remember(state, key, now, MOST_ANSWERS)
        sources = (before.span_id,) if before is not None else ()
        return [Evaluation(self.name, *_FINDINGS[label], label, sources=sources) for label in losses]


def _losses(before: Answered, now: Answered, messages: Sequence[Message], place: int) -> list[str]:
    """Return the labels of the losses. ``place``: index of the earlier answer in the messages of this call."""
    if now.system and now.system != before.system:
        return []  # another agent, with its own instructions, reads this conversation
    losses = ["system"] if before.system and not now.system else []
    results = {part.id for message in messages[place + 1 :] for part in message.parts if isinstance(part, ToolResult)}
    if place + 1 < len(messages) and any(
        call.id not in results for call in messages[place].tool_calls() if call.id is not None
    ):
        losses.append("result")
    if place < before.length:
        losses.append("messages")
    is_compacted = losses and any(isinstance(part, Compaction) for message in messages for part in message.parts)
    return [] if is_compacted else losses


def _key(answer: Message, span: Span) -> Hashable:
    """Return a key that is equal for an answer and the message in which it is sent again; None for an empty answer.

    For an answer without calls, the key includes the parent span.
    """
    calls = [part.id for part in answer.parts if type(part) is ToolCall and part.id is not None]
    if calls:
        return calls[0]
    text = answer.text().strip()
    return (hash(text), span.parent_id) if text else None


SIGNAL = LostContext()
