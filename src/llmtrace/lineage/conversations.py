"""Which conversation of a run an inference belongs to: whose it is, and under which system prompt.

Law: a request is compared once with the one before of the same parent, and what they have in common is not read again.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmtrace.model import Inference, Message, Part, Span

SYSTEM = frozenset({"system", "developer"})


@dataclass(slots=True, eq=False)
class Conversation:
    """What one inference tells of its conversation."""

    name: str
    inference: Inference
    system: tuple[Part, ...]
    """The system prompts among the messages of the request."""
    before: tuple[Message, ...] | None
    """The request of the parent that this one goes on from, message by message; None where it goes on from none."""

    def goes_on(self, request: tuple[Message, ...]) -> bool:
        """True if the inference was sent first what this request holds."""
        return request is self.before or self.inference.input[: len(request)] == request


class Conversations:
    def __init__(self) -> None:
        self._known: dict[str, Conversation] = {}
        self._last: dict[str | None, Conversation] = {}
        """Of each parent that of its last inference."""

    def of(self, span: Span, inference: Inference) -> Conversation:
        """Spans come in the order in which they ended; one that came before gives the same again."""
        found = self._known.get(span.span_id)
        if found is None:
            found = self._known[span.span_id] = self._last[span.parent_id] = self._new(span.parent_id, inference)
        return found

    def _new(self, parent: str | None, inference: Inference) -> Conversation:
        last, request = self._last.get(parent), inference.input
        before = last.inference.input if last is not None else ()
        if last is None or request[: len(before)] != before:
            system = _system_of(request)
            return Conversation(_name(parent, inference, system), inference, system, None)
        new = _system_of(request[len(before) :])
        system = (*last.system, *new)
        same = not new and inference.system == last.inference.system
        return Conversation(last.name if same else _name(parent, inference, system), inference, system, before)


def _system_of(messages: tuple[Message, ...]) -> tuple[Part, ...]:
    return tuple(part for message in messages if message.role in SYSTEM for part in message.parts)


def _name(parent: str | None, inference: Inference, system: tuple[Part, ...]) -> str:
    return f"{parent} {hash(repr((*inference.system, *system)))}"
