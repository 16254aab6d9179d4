"""Separates parallel tool calls that a writer merged into one.

OpenInference's JavaScript instrumentation of openai, and Langfuse's, join the chunks of a stream without regard to the call
that each belongs to. Ids, names and arguments of parallel calls become one text each, or only the first name remains. If these
texts can be split in exactly one way, the result is the model's calls. Otherwise the calls are dropped, since they are unknown.
Either way, the model is not blamed for the writer's mistake.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any, Final

from llmtrace.model import JsonValue, Message, ToolCall, ToolDefinition, replace

_SCOPES: Final = frozenset({"@arizeai/openinference-instrumentation-openai", "langfuse-sdk"})
_SHARED: Final = 3
"""Ids of the same provider begin with the same characters (``call_``), at least this many."""


def separate_calls(scope: str, messages: tuple[Message, ...], tools: Sequence[ToolDefinition]) -> tuple[Message, ...]:
    """Return the messages with merged calls separated, if the writer with this scope merges calls."""
    return tuple([_separated(message, tools) for message in messages]) if scope in _SCOPES else messages


def _separated(message: Message, tools: Sequence[ToolDefinition]) -> Message:
    parts = [one for part in message.parts for one in (_separate(part, tools) if isinstance(part, ToolCall) else (part,))]
    return message if len(parts) == len(message.parts) else replace(message, parts=tuple(parts))


def _separate(call: ToolCall, tools: Sequence[ToolDefinition]) -> tuple[ToolCall, ...]:
    """Return the calls that were merged into this one; this one if it is a single call; none (empty) if inseparable."""
    arguments = _objects(call.arguments)
    if len(arguments) < 2:
        return (call,)
    names = _names(call.name, len(arguments), [tool.name for tool in tools])
    if names is None:
        return ()
    ids = _equal_parts(call.id or "", len(arguments))
    has_ids = len({text[:_SHARED] for text in ids}) == 1 and len(set(ids)) == len(ids) and len(ids[0]) > _SHARED
    return tuple(
        [
            ToolCall(name, one, call_id if has_ids else None)
            for name, one, call_id in zip(names, arguments, ids if has_ids else names, strict=True)
        ]
    )


def _objects(text: JsonValue) -> list[dict[str, Any]]:
    """Return the JSON objects that a text consists of; an empty list if it contains anything else."""
    objects: list[dict[str, Any]] = []
    decoder, at = json.JSONDecoder(), 0
    while isinstance(text, str) and at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        objects.append(value)
    return objects


def _names(text: str, count: int, known: Sequence[str]) -> list[str] | None:
    """Split a text into ``count`` names. Returns None unless there is exactly one way.

    ``known``: names of the tools on offer. Without them, the text must be the same name several times.
    """
    parts = _equal_parts(text, count)
    if not known:
        return parts if len(parts) == count and len(set(parts)) == 1 and text else None

    @cache
    def ways(text: str, count: int) -> list[list[str]]:
        """Return the ways to split the text; two at most, which suffice to know that there is not exactly one."""
        if not count:
            return [] if text else [[]]
        beginnings = [name for name in known if name and text.startswith(name)]
        return list(islice(([name, *rest] for name in beginnings for rest in ways(text[len(name) :], count - 1)), 2))

    splits = ways(text, count)
    return splits[0] if len(splits) == 1 else None


def _equal_parts(text: str, count: int) -> list[str]:
    size = len(text) // count
    return [text[number * size : (number + 1) * size] for number in range(count)] if size * count == len(text) else [""]
