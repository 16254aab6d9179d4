"""Merges two readings of one operation: each field comes from the reading that has it, and whole.

The caller puts the more trusted reading first. The order of trust is llmtrace's own attributes, the conventions of today, the
names of the library's own, then those of a translator (`codec.dialects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.model import Message, Operation, Reasoning, Text, ToolDefinition, Usage, replace


def fill_in(operation: Operation, source: Operation) -> Operation:
    """Return the operation with fields from another of the same class where its own are empty or less complete."""
    if type(operation) is not type(source):
        return operation
    changes: dict[str, Any] = {}
    operation_class: Any = type(operation)
    for name in operation_class.__slots__:
        current, new = getattr(operation, name), getattr(source, name)
        best = {**new, **current} if name == "parameters" and current and new else _better(current, new)
        if best is not current:
            changes[name] = best
    return replace(operation, **changes) if changes else operation


def _better(current: Any, new: Any) -> Any:
    """Return the current value unless the new one says more."""
    if new is None or new == current:
        return current
    if current is None or current == () or current == {} or current == "" or current is False:
        return new
    if isinstance(current, Usage) and isinstance(new, Usage):
        return _merge_usage(current, new)
    if isinstance(current, tuple) and isinstance(new, tuple) and new:
        if isinstance(new[0], Message):
            return new if _is_less_complete(current, new) else current
        if isinstance(new[0], ToolDefinition):
            return new if _has_schemas(new) and not _has_schemas(current) else current
    return current


def _merge_usage(current: Usage, new: Usage) -> Usage:
    names: Any = Usage
    changes = {
        name: getattr(new, name)
        for name in names.__slots__
        if getattr(current, name) is None and getattr(new, name) is not None
    }
    return replace(current, **changes) if changes else current


def _is_less_complete(current: tuple[Message, ...], new: tuple[Message, ...]) -> bool:
    """True if the messages hold nothing, or the same calls without their ids."""
    if says_nothing(current):
        return not says_nothing(new)
    calls, new_calls = _calls(current), _calls(new)
    if [call.name for call in calls] != [call.name for call in new_calls] or len(current) != len(new):
        return False
    return any(call.id is None for call in calls) and all(call.id is not None for call in new_calls)


def _calls(messages: tuple[Message, ...]) -> list[Any]:
    return [call for message in messages for call in message.tool_calls()]


def says_nothing(messages: tuple[Message, ...]) -> bool:
    """True if no message has a part with content."""
    parts = [part for message in messages for part in message.parts]
    return all(isinstance(part, (Text, Reasoning)) and not part.content for part in parts)


def _has_schemas(tools: tuple[ToolDefinition, ...]) -> bool:
    return any(isinstance(tool.parameters, Mapping) for tool in tools)
