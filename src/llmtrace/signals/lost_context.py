"""A model call goes on from an earlier answer, and is not sent what led to that answer: something was dropped on the way.

The last answer in a request tells from which earlier call it goes on. Reported once in a conversation each: the system prompt
is gone (``system``), the result of a call that the model asked for does not come back although the conversation goes on
(``result``), messages before the answer are gone (``messages``). A view with instructions of its own, context that the
provider keeps, and a mark that it was compacted, are not a loss.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from llmtrace.evidence.calls import MODEL_ROLES
from llmtrace.evidence.run import RunEvidence
from llmtrace.model import Compaction, Evaluation, Inference, Message, Part, Severity, Span, ToolCall, ToolResult
from llmtrace.signals._reading import remember
from llmtrace.signals.base import Signal

MOST_ANSWERS = 64
"""Answers from which a request may go on; the oldest is forgotten first."""
REACH = 64
"""Messages at the end of a request in which an answer is looked for."""

_SYSTEM_ROLES = ("system", "developer")
_FINDINGS: dict[str, tuple[Severity, str]] = {
    "system": ("warning", "the system prompt that an earlier call of this conversation had is gone"),
    "result": ("info", "the result of a call that the model asked for is not in the request, though the conversation goes on"),
    "messages": ("info", "messages that an earlier call of this conversation was sent are no longer in the request"),
}


@dataclass(slots=True)
class Answered:
    """A model call, as far as the next one of its conversation should hold it."""

    span_id: str
    system: tuple[Part, ...]
    length: int
    """Messages that it was sent, without system prompts."""
    reported: set[str] = field(default_factory=set)


Answers: TypeAlias = "OrderedDict[Hashable, Answered]"


class LostContext(Signal[Answers]):
    name = "lost_context"
    advice = "Keep the messages that hold the task and its values when the history is cut or summed up."
    looks_at = (Inference,)

    def start(self, run: RunEvidence) -> Answers:  # noqa: ARG002
        return OrderedDict()

    def step(self, state: Answers, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if not isinstance(inference, Inference) or not inference.input or inference.is_continued:
            return ()
        start = next((place for place, message in enumerate(inference.input) if message.role not in _SYSTEM_ROLES), 0)
        messages = inference.input[start:]
        system = (*inference.system, *(part for message in inference.input[:start] for part in message.parts))
        now = Answered(span.span_id, system, len(messages))
        place = next((at for at in range(len(messages) - 1, -1, -1)[:REACH] if messages[at].role in MODEL_ROLES), None)
        before = None if place is None else state.get(_key(messages[place], span))
        losses: list[str] = []
        if place is not None and before is not None:
            now.reported = before.reported
            losses = [label for label in _losses(before, now, messages, place) if label not in now.reported]
            now.reported.update(losses)
        if len(inference.output) == 1 and (key := _key(inference.output[0], span)) is not None:
            remember(state, key, now, MOST_ANSWERS)
        source = (before.span_id,) if before is not None else ()
        return [Evaluation(self.name, *_FINDINGS[label], label, sources=source) for label in losses]


def _losses(before: Answered, now: Answered, messages: Sequence[Message], place: int) -> Iterator[str]:
    """``place``: where the earlier answer stands in the messages of this call."""
    if now.system and now.system != before.system:
        return  # another agent looks at this conversation
    if any(isinstance(part, Compaction) for message in messages[:REACH] for part in message.parts):
        return
    if before.system and not now.system:
        yield "system"
    results = {part.id for message in messages[place + 1 :] for part in message.parts if isinstance(part, ToolResult)}
    if place + 1 < len(messages) and any(
        call.id not in results for call in messages[place].tool_calls() if call.id is not None
    ):
        yield "result"
    if place < before.length:
        yield "messages"


def _key(answer: Message, span: Span) -> Hashable:
    """Equal for an answer and the message in which it is sent again. The span around tells answers without calls apart."""
    calls = tuple(part.id for part in answer.parts if isinstance(part, ToolCall) and part.id is not None)
    text = answer.text().strip()
    return calls or ((hash(text), span.parent_id) if text else None)


SIGNAL = LostContext()
