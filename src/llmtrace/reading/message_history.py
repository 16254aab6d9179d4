"""What was seen before in a run, by digest, since an agent sends its whole history every time; and the roles of messages."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from llmtrace.codec import json_text
from llmtrace.model import Message, Part, Text, ToolCall, ToolResult

ASSISTANT, SYSTEM = frozenset({"assistant", "model"}), frozenset({"system", "developer"})
USER_ROLES = frozenset({"user", "human"})
"""Roles of the model, of system prompts, and of the user."""


class Seen:
    """Messages, results and other content seen before, by digest."""

    def __init__(self, limit: int | None = None) -> None:
        """``limit``: most digests that are kept; beyond it, the oldest are dropped."""
        self._limit = limit
        self._seen: dict[int, None] = {}

    def add(self, *key: Hashable) -> bool:
        """Remember a key. Returns True if it is new."""
        if hash(key) in self._seen:
            return False
        remember(self._seen, hash(key), None, self._limit)
        return True

    def has(self, *key: Hashable) -> bool:
        """Return True for a key that `add` remembers."""
        return hash(key) in self._seen


def remember(memory: dict[Any, Any], key: Any, content: Any, limit: int | None) -> None:
    """Make this the newest entry of a dict, and drop the oldest one if there are more than ``limit``."""
    memory.pop(key, None)
    memory[key] = content
    if limit is not None and len(memory) > limit:
        del memory[next(iter(memory))]


def begins_with(messages: tuple[Message, ...], earlier: tuple[Message, ...]) -> bool:
    """Return True if a request begins with an earlier one. Identical objects are compared by address only.

    Uses ``>=``: a tuple that begins with another is not smaller than it. Otherwise Python tries to order the first two messages
    that differ, which raises TypeError. Comparing a slice would give the same result, but copies a long history.
    """
    try:
        return messages >= earlier
    except Exception:  # the messages differ, or their content cannot be compared
        return False


def digest(part: Part) -> Hashable:
    """Return a key that is equal for parts with the same content."""
    if isinstance(part, Text):
        return part.content.strip()
    if isinstance(part, ToolCall):
        return ("call", part.id) if part.id is not None else ("call", part.name, json_text.write(part.arguments))
    if isinstance(part, ToolResult):
        return ("result", part.id, part.response if isinstance(part.response, str) else json_text.write(part.response))
    return ("part", json_text.write(part))
