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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmtrace.model import Compaction, Evaluation, Inference, Message, Severity, Span, ToolCall, ToolResult
from llmtrace.signals import Signal

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
    """The newest call of a conversation."""

    key: int
    """Digest of the conversation's first words."""
    first: Message
    """These words."""
    told: set[str]
    """What has been told of this conversation."""
    span_id: str
    parent: str | None
    last: Message
    """The last message that it was given."""
    length: int
    """Messages from the user's first words on."""
    instructions: Sequence[object]
    """Its system prompts."""
    answer: Message | None

    def ends_with(self, message: Message) -> bool:
        return message is self.last or _digest(message) == _digest(self.last)

    def go_on(self, span: Span, inference: Inference, start: int, instructions: Sequence[object]) -> None:
        """Become the next call of the same conversation."""
        messages = inference.input
        self.span_id, self.parent = span.span_id, span.parent_id
        self.last, self.length, self.instructions = messages[-1], len(messages) - start, instructions
        self.answer = inference.output[0] if inference.output else None


@dataclass(slots=True)
class State:
    known: OrderedDict[int, Earlier] = field(default_factory=OrderedDict)
    """The newest call of each conversation, by its key."""
    newest: Earlier | None = None
    """The last one of these."""


class LostContext:
    name = "lost_context"
    advice = "Keep the messages that hold the task and its values when the history is cut or summed up."
    looks_at = (Inference,)
    alone = 0

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if not isinstance(inference, Inference) or not inference.input or inference.is_continued:
            return ()
        messages = inference.input
        start = _start(messages)
        if start is None:
            return ()
        instructions = (*inference.system, *messages[:start])
        earlier, first = state.newest, messages[start]
        if earlier is not None and earlier.first is first and first.role in _USERS:  # mostly so; nothing need be digested
            lost = _lost(earlier, messages, start, instructions)
            found = self._told(earlier.told, earlier, lost) if lost else ()
            earlier.go_on(span, inference, start, instructions)
            return found
        return self._turned(state, span, inference, start, instructions)

    def _turned(
        self, state: State, span: Span, inference: Inference, start: int, instructions: Sequence[object]
    ) -> Iterable[Evaluation]:
        """The call belongs to another conversation than the last one, or may do so."""
        messages, parent = inference.input, span.parent_id
        first, earlier = messages[start], None
        if first.role in _USERS:
            key = hash(_edges(first.text()))
            earlier = state.known.pop(key, None)
        else:  # no words to know it by, but those that it goes on from
            key = hash((_digest(messages[-1]), parent))
        slid = earlier is None and bool(state.known)
        if slid:
            earlier = _gone_on_from(state.known, messages, start, parent, instructions)
        told: set[str] = set() if earlier is None else earlier.told
        answer = inference.output[0] if inference.output else None
        now = Earlier(key, first, told, span.span_id, parent, messages[-1], len(messages) - start, instructions, answer)
        state.known[key] = state.newest = now
        if len(state.known) > CONVERSATIONS:
            state.known.popitem(last=False)
        if earlier is None:
            return ()
        if slid:
            return self._told(told, earlier, ["system" if earlier.instructions and not instructions else "messages"])
        return self._told(told, earlier, _lost(earlier, messages, start, instructions))

    def _told(self, told: set[str], earlier: Earlier, labels: Iterable[str]) -> list[Evaluation]:
        found: list[Evaluation] = []
        for label in labels:
            if label not in told:
                told.add(label)
                severity, text = _EXPLANATIONS[label]
                found.append(Evaluation(self.name, severity, text, label, sources=(earlier.span_id,)))
        return found


def _gone_on_from(
    state: Mapping[int, Earlier], messages: tuple[Message, ...], start: int, parent: str | None, instructions: Sequence[object]
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


def _lost(earlier: Earlier, messages: tuple[Message, ...], start: int, instructions: Sequence[object]) -> list[str]:
    """``start``: the place of the user's first words."""
    lost: list[str] = []
    length = len(messages) - start
    if earlier.instructions and not instructions and length > earlier.length and _holds(messages, earlier):
        lost.append("system")
    kept = length >= earlier.length and earlier.ends_with(messages[start + earlier.length - 1])
    if length > earlier.length and kept and _unanswered(earlier.answer, messages[start + earlier.length :]):
        lost.append("result")
    if not kept and earlier.length > 1 and _moved_up(messages, earlier, start):
        lost.append("messages")
    return lost


def _unanswered(answer: Message | None, new: tuple[Message, ...]) -> bool:
    """Whether one of the calls that the answer asked for is among these messages, and its result is not."""
    if answer is None:
        return False
    asked = [part.id for part in answer.parts if type(part) is ToolCall and part.id is not None]
    told = {part.id for message in new for part in message.parts if type(part) is ToolResult}
    missing = {call_id for call_id in asked if call_id not in told}
    return bool(missing) and any(type(part) is ToolCall and part.id in missing for message in new for part in message.parts)


def _holds(messages: tuple[Message, ...], earlier: Earlier) -> bool:
    """Whether the last message that it was given is among the last ones, or a summary may stand for it."""
    reach = messages[-REACH:]
    return any(earlier.ends_with(message) or any(isinstance(part, Compaction) for part in message.parts) for message in reach)


def _moved_up(messages: tuple[Message, ...], earlier: Earlier, start: int) -> bool:
    """Whether what the earlier call was last given stands nearer to the start now: something before it was left out.

    Where a summary may stand for that, nothing is said.
    """
    place = min(len(messages), start + earlier.length - 1) - 1
    for number in range(place, max(start - 1, place - REACH), -1):
        if earlier.ends_with(messages[number]):
            before = messages[:number]
            return not any(isinstance(part, Compaction) for message in before[:REACH] for part in message.parts)
    return False


def _start(messages: tuple[Message, ...]) -> int | None:
    """The place of the first message that is no system prompt, if it is near the start."""
    for place, message in enumerate(messages[: BEGINNING + 1]):
        if message.role not in _SYSTEM:
            return place
    return None


def _digest(message: Message) -> int:
    """Cheap, and equal for equal messages: role, text, and ids of calls and results."""
    text = message.text()
    ids = () if text and len(message.parts) == 1 else tuple([part.id for part in message.parts if type(part) in _WITH_ID])  # type: ignore[union-attr]
    return hash((message.role, _edges(text), ids))


def _edges(text: str) -> tuple[int, str, str]:
    return len(text), text[:_EDGE], text[-_EDGE:]


SIGNAL: Signal = LostContext()
