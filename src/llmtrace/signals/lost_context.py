"""A model call does not get what an earlier call of the same conversation got: something was dropped on the way.

Two calls belong to one conversation if they begin with the same words of the user, or if of the same agent, with the same
instructions or none, the later one holds the answer of the earlier one. The later one should hold what the earlier one held
and more. It is told of, once each, where the system prompt is gone (``system``), where the result of a call that the model
asked for does not come back although the conversation goes on (``result``), and where messages that stood between, or at the
beginning, are gone (``messages``): a window that slides on purpose, or a history that was lost. Context that the provider
keeps, and a mark that it was compacted, are no loss.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from llmtrace.model import Compaction, Evaluation, Inference, Message, Severity, Span, ToolCall, ToolResult
from llmtrace.signals import Signal
from llmtrace.signals._answers import text_of

CONVERSATIONS = 64
"""Conversations that are remembered; the one not continued for longest is forgotten first."""
BEGINNING = 2
"""System prompts at the start of a request."""
REACH = 64
"""Messages at the end of a request in which the end of the earlier one is looked for."""

_SYSTEM = ("system", "developer")
_USERS = ("user", "human")
_WITH_ID = frozenset({ToolCall, ToolResult})
_EDGE = 64
"""Characters at both ends of a text that tell it from others."""

_EXPLANATIONS: dict[str, tuple[Severity, str]] = {
    "system": ("warning", "the system prompt that an earlier call of this conversation had is gone"),
    "result": (
        "info",
        "the result of a call that the model asked for is not in the request, though the conversation goes on",
    ),
    "messages": ("info", "messages that an earlier call of this conversation was given are no longer in the request"),
}


@dataclass(slots=True)
class Earlier:
    span_id: str
    last: int
    """Digest of the last message that it was given."""
    length: int
    """Messages from the user's first words on."""
    asked: tuple[str, ...]
    """Ids of the calls that its answer asked for."""
    parent: str | None
    instructions: Sequence[object]
    """Its system prompts."""
    answer: Message | None
    told: set[str] = field(default_factory=set)


State: TypeAlias = "OrderedDict[int, Earlier]"
"""By the digest of a conversation's first words."""


class LostContext:
    name = "lost_context"
    advice = "Keep the messages that hold the task and its values when the history is cut or summed up."
    looks_at = (Inference,)
    alone = 0

    def start(self) -> State:
        return OrderedDict()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if not isinstance(inference, Inference) or not inference.input or inference.is_continued:
            return ()
        messages, parent = inference.input, span.parent_id
        start = _start(messages)
        if start is None:
            return ()
        instructions = (*inference.system, *messages[:start])
        earlier = None
        if messages[start].role in _USERS:
            first = hash(_edges(text_of(messages[start])))
            earlier = state.pop(first, None)
        else:  # no words to know it by, but those that it goes on from
            first = hash((_digest(messages[-1]), parent))
        slid = earlier is None and bool(state)
        if slid:
            earlier = _gone_on_from(state, messages, start, parent, instructions)
        now = Earlier(
            span.span_id,
            _digest(messages[-1]),
            len(messages) - start,
            _asked(inference),
            parent,
            instructions,
            inference.output[0] if inference.output else None,
        )
        state[first] = now
        if len(state) > CONVERSATIONS:
            state.popitem(last=False)
        if earlier is None:
            return ()
        now.told = earlier.told
        if slid:
            return self._told(earlier, now, ("system",) if earlier.instructions and not instructions else ("messages",))
        return self._told(earlier, now, _lost(earlier, now, messages, start))

    def _told(self, earlier: Earlier, now: Earlier, labels: Iterable[str]) -> Iterator[Evaluation]:
        for label in labels:
            if label not in now.told:
                now.told.add(label)
                severity, text = _EXPLANATIONS[label]
                yield Evaluation(self.name, severity, text, label, sources=(earlier.span_id,))


def _gone_on_from(
    state: State, messages: tuple[Message, ...], start: int, parent: str | None, instructions: Sequence[object]
) -> Earlier | None:
    """The call whose answer stands in this request nearer to the start than it would if all before it were there."""
    known = [one for one in state.values() if one.parent == parent and (not instructions or instructions == one.instructions)]
    if not known or any(isinstance(part, Compaction) for message in messages[:REACH] for part in message.parts):
        return None
    first = max(start, len(messages) - REACH)
    places = {_digest(message): first + number for number, message in enumerate(messages[first:])}
    for one in reversed(known):
        place = None if one.answer is None else places.get(_digest(one.answer))
        if place is not None:
            return one if place < start + one.length else None
    return None


def _lost(earlier: Earlier, now: Earlier, messages: tuple[Message, ...], start: int) -> Iterator[str]:
    """``start``: the place of the user's first words."""
    if earlier.instructions and not now.instructions and now.length > earlier.length and _holds(messages, earlier.last):
        yield "system"
    kept = now.length >= earlier.length and _digest(messages[start + earlier.length - 1]) == earlier.last
    if now.length > earlier.length and kept and earlier.asked:
        new = messages[start + earlier.length :]
        told = {part.id for message in new for part in message.parts if isinstance(part, ToolResult)}
        open_calls = [call_id for call_id in earlier.asked if call_id not in told]
        parts = (part for message in new for part in message.parts) if open_calls else ()
        if any(isinstance(part, ToolCall) and part.id in open_calls for part in parts):
            yield "result"
    if not kept and earlier.length > 1 and _moved_up(messages, earlier, start):
        yield "messages"


def _holds(messages: tuple[Message, ...], digest: int) -> bool:
    """Whether the message is among the last ones, or a summary may stand for it."""
    reach = messages[-REACH:]
    return any(_digest(message) == digest or any(isinstance(part, Compaction) for part in message.parts) for message in reach)


def _moved_up(messages: tuple[Message, ...], earlier: Earlier, start: int) -> bool:
    """Whether what the earlier call was last given stands nearer to the start now: something before it was left out.

    Where a summary may stand for that, nothing is said.
    """
    place = min(len(messages), start + earlier.length - 1) - 1
    for number in range(place, max(start - 1, place - REACH), -1):
        if _digest(messages[number]) == earlier.last:
            before = messages[:number]
            return not any(isinstance(part, Compaction) for message in before[:REACH] for part in message.parts)
    return False


def _asked(inference: Inference) -> tuple[str, ...]:
    """Ids of the calls that the answer asks for."""
    if not inference.output:
        return ()
    return tuple([part.id for part in inference.output[0].parts if type(part) is ToolCall and part.id is not None])


def _start(messages: tuple[Message, ...]) -> int | None:
    """The place of the first message that is no system prompt, if it is near the start."""
    for place, message in enumerate(messages[: BEGINNING + 1]):
        if message.role not in _SYSTEM:
            return place
    return None


def _digest(message: Message) -> int:
    """Cheap, and equal for equal messages: role, text, and ids of calls and results."""
    text = text_of(message)
    ids = () if text and len(message.parts) == 1 else tuple([part.id for part in message.parts if type(part) in _WITH_ID])  # type: ignore[union-attr]
    return hash((message.role, _edges(text), ids))


def _edges(text: str) -> tuple[int, str, str]:
    return len(text), text[:_EDGE], text[-_EDGE:]


SIGNAL: Signal = LostContext()
