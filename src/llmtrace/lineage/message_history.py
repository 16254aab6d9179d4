"""Finds the new messages of a request, since an agent sends its whole history every time, and the model's own words in them.

Law: a message seen before costs a look-up, not a search. A request that begins with the last one costs only its new messages.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from llmtrace.lineage.sources import as_text
from llmtrace.model import Inference, Message, Part, Span, Text, ToolCall, ToolResult

ASSISTANT, SYSTEM = frozenset({"assistant", "model"}), frozenset({"system", "developer"})
USER_ROLES = frozenset({"user", "human"})
"""Roles in which the model speaks, those of system prompts, and those of the user."""


class MessageHistory:
    """Messages and other things that were seen before, by the digests of their content."""

    def __init__(self, limit: int | None = None) -> None:
        """``limit``: how many digests are remembered; the oldest go first."""
        self._limit = limit
        self._last: tuple[Message, ...] = ()
        self._seen: dict[int, None] = {}

    def new_messages(self, messages: tuple[Message, ...]) -> Iterator[tuple[int, Message]]:
        """The messages that were not sent before, with their position from 1."""
        start = len(self._last) if begins_with(messages, self._last) else 0
        self._last = messages
        for number in range(start, len(messages)):
            if self.add(messages[number].role, *map(digest, messages[number].parts)):
                yield number + 1, messages[number]

    def add(self, *key: Hashable) -> bool:
        """Remember something. Returns True if it was not known."""
        if hash(key) in self._seen:
            return False
        remember(self._seen, hash(key), None, self._limit)
        return True

    def has(self, *key: Hashable) -> bool:
        return hash(key) in self._seen


class Conversations:
    """Assigns inferences to the conversations of a run, by parent and system prompts."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        """By span."""
        self._newest: dict[str | None, tuple[str, Inference, tuple[Part, ...]]] = {}
        """By parent, the last inference with the name of its conversation and the system prompts among its messages."""

    def name_of(self, span: Span, inference: Inference) -> str:
        """The name of the conversation. Inferences come in order of time; one that came before gives the same name again."""
        if span.span_id not in self._names:
            name, earlier, system = self._newest.get(span.parent_id) or ("", Inference(""), ())
            is_continued = bool(name) and begins_with(inference.input, earlier.input)
            new = inference.input[len(earlier.input) if is_continued else 0 :]
            added = tuple(part for message in new if message.role in SYSTEM for part in message.parts)
            system = (*system, *added) if is_continued else added
            if not is_continued or added or inference.system != earlier.system:
                name = f"{span.parent_id} {hash((*map(digest, (*inference.system, *system)),))}"
            self._names[span.span_id] = name
            self._newest[span.parent_id] = name, inference, system
        return self._names[span.span_id]


def remember(memory: dict[Any, Any], key: Any, content: Any, limit: int | None) -> None:
    """Enter something into a dict, and let the oldest entry go if there are too many."""
    memory[key] = content
    if limit is not None and len(memory) > limit:
        del memory[next(iter(memory))]


def begins_with(messages: tuple[Message, ...], earlier: tuple[Message, ...]) -> bool:
    """True if a request begins with an earlier one. Compares addresses only where the objects are the same.

    A tuple is not smaller than another that it begins with. Otherwise the first two messages that differ would have to be put
    in an order, and have none. A slice would say the same, but touches every message of a long history.
    """
    try:
        return messages >= earlier
    except Exception:  # they differ, or hold content that cannot be compared
        return False


def digest(part: Part) -> Hashable:
    """Equal for parts that say the same."""
    if isinstance(part, Text):
        return part.content.strip()
    if isinstance(part, ToolCall):
        return ("call", part.id) if part.id is not None else ("call", part.name, as_text(part.arguments))
    if isinstance(part, ToolResult):
        return ("result", part.id, part.response if isinstance(part.response, str) else as_text(part.response))
    return ("part", as_text(part))
