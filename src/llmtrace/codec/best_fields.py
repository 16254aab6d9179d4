"""Merges two readings of one operation: each field comes from the reading that has it complete.

The caller puts the more trusted reading first. The order of trust: llmtrace's own attributes, today's conventions, the
library's own names, the names of a translator (`codec.dialects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from llmtrace.model import Message, Operation, Reasoning, Text, ToolDefinition, Usage, replace

T = TypeVar("T", Operation, Usage)


def fill_in(value: T, source: T) -> T:
    """Return the value with fields of ``source`` where its own are empty or less complete. Other classes change nothing."""
    if type(value) is not type(source):
        return value
    changes: dict[str, Any] = {}
    value_class: Any = type(value)
    for name in value_class.__slots__:
        current, new = getattr(value, name), getattr(source, name)
        best = {**new, **current} if name == "parameters" and current and new else _better(current, new)
        if best is not current:
            changes[name] = best
    return replace(value, **changes) if changes else value


def _better(current: Any, new: Any) -> Any:
    """Return the new value if it says more, else the current one."""
    if new is None or new == current:
        return current
    if current is None or current == () or current == {} or current == "" or current is False:
        return new
    if isinstance(current, Usage) and isinstance(new, Usage):
        return fill_in(current, new)
    if isinstance(current, tuple) and isinstance(new, tuple) and new:
        if isinstance(new[0], Message):
            return new if _is_less_complete(current, new) else current
        if isinstance(new[0], ToolDefinition):
            return new if _has_schemas(new) and not _has_schemas(current) else current
    return current


def _is_less_complete(current: tuple[Message, ...], new: tuple[Message, ...]) -> bool:
    """Return True if the current messages are empty, or have the same calls without ids."""
    if says_nothing(current):
        return not says_nothing(new)
    calls, new_calls = _calls(current), _calls(new)
    if [call.name for call in calls] != [call.name for call in new_calls] or len(current) != len(new):
        return False
    return any(call.id is None for call in calls) and all(call.id is not None for call in new_calls)


def _calls(messages: tuple[Message, ...]) -> list[Any]:
    return [call for message in messages for call in message.tool_calls()]


def says_nothing(messages: tuple[Message, ...]) -> bool:
    """Return True if no message has a part with content."""
    parts = [part for message in messages for part in message.parts]
    return all(isinstance(part, (Text, Reasoning)) and not part.content for part in parts)


def _has_schemas(tools: tuple[ToolDefinition, ...]) -> bool:
    return any(isinstance(tool.parameters, Mapping) for tool in tools)
