"""The forms of tool calls and answers of each provider: one `Form` each. A new provider's form is a new class.

Law: validation gets the raw text of the arguments; nothing is repaired on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmtrace.model import JsonValue, ToolCall, ToolDefinition
from llmtrace.validation.parse_arguments import parse_arguments

Answer = tuple[ToolCall, str, bool]
"""A call, the text that answers it, and True if that text is an error."""


class Form(Protocol):
    """A provider's format for tool definitions, tool calls and answers."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]: ...

    def calls(self, message: Any) -> list[ToolCall] | None:
        """Return the calls in a message, in order; None if the message is not of this form."""
        ...

    def answers(self, answers: Sequence[Answer]) -> list[dict[str, JsonValue]]: ...


def read(thing: Any, name: str) -> Any:
    """Return a field of a dict or of an SDK's object."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _has_field(thing: Any, name: str) -> bool:
    return name in thing if isinstance(thing, Mapping) else hasattr(thing, name)


def _items(message: Any, name: str) -> Sequence[Any] | None:
    """Return the list of calls: ``message`` if it is a list, else its field ``name``."""
    items = message if isinstance(message, (list, tuple)) else read(message, name)
    return items if isinstance(items, (list, tuple)) else None


def _has(items: Sequence[Any], *types: str) -> bool:
    """Return True if a bare list has items of these types. (A message is recognised by its field, whatever the items.)"""
    return any(read(item, "type") in types for item in items)


class OpenAIChat:
    """Chat completions: ``message.tool_calls``, each answered by a ``role: tool`` message."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]:
        return {"type": "function", "function": _function(definition)}

    def calls(self, message: Any) -> list[ToolCall] | None:
        items = _items(message, "tool_calls")
        if items is None:
            # Some servers send the role of a stream with each chunk, or never: the SDK's message then has no usable role.
            is_ours = read(message, "role") == "assistant" or _has_field(message, "tool_calls")
            return [] if is_ours and isinstance(read(message, "content"), (str, type(None))) else None
        if not all(read(item, "function") is not None or read(item, "custom") is not None for item in items):
            return None
        return [self._call(item) for item in items]

    def _call(self, item: Any) -> ToolCall:
        function = read(item, "function")
        if function is None:  # a custom tool takes free text
            custom = read(item, "custom")
            return ToolCall(read(custom, "name") or "", read(custom, "input"), read(item, "id"))
        return ToolCall(read(function, "name") or "", _raw(read(function, "arguments")), read(item, "id"))

    def answers(self, answers: Sequence[Answer]) -> list[dict[str, JsonValue]]:
        return [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text, _ in answers]


class OpenAIFunctionCall:
    """Old chat completions, without tool calls: ``message.function_call``, answered by a ``role: function`` message."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]:
        return _function(definition)

    def calls(self, message: Any) -> list[ToolCall] | None:
        function = None if isinstance(message, (list, tuple)) else read(message, "function_call")
        return None if function is None else [ToolCall(read(function, "name") or "", _raw(read(function, "arguments")))]

    def answers(self, answers: Sequence[Answer]) -> list[dict[str, JsonValue]]:
        return [{"role": "function", "name": call.name, "content": text} for call, text, _ in answers]


class OpenAIResponses:
    """The Responses API: items of type ``function_call``, answered by items of type ``function_call_output``."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]:
        return {"type": "function", **_function(definition)}

    def calls(self, message: Any) -> list[ToolCall] | None:
        items = _items(message, "output")
        if items is None:
            items = [message] if read(message, "type") == "function_call" else None
        if items is None or (items is message and not _has(items, "function_call", "message", "reasoning")):
            return None
        return [
            ToolCall(read(item, "name") or "", _raw(read(item, "arguments")), read(item, "call_id"))
            for item in items
            if read(item, "type") == "function_call"
        ]

    def answers(self, answers: Sequence[Answer]) -> list[dict[str, JsonValue]]:
        return [{"type": "function_call_output", "call_id": call.id, "output": text} for call, text, _ in answers]


class Anthropic:
    """Messages: content blocks of type ``tool_use``, answered by one user message with a ``tool_result`` each."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]:
        offered: dict[str, JsonValue] = {"name": definition.name, "input_schema": _parameters(definition)}
        if definition.description:
            offered["description"] = definition.description
        return offered

    def calls(self, message: Any) -> list[ToolCall] | None:
        items = _items(message, "content")
        if items is None or (items is message and not _has(items, "tool_use", "text", "thinking")):
            return None
        return [
            ToolCall(read(item, "name") or "", _raw(read(item, "input")), read(item, "id"))
            for item in items
            if read(item, "type") == "tool_use"
        ]

    def answers(self, answers: Sequence[Answer]) -> list[dict[str, JsonValue]]:
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text, **({"is_error": True} if error else {})}
            for call, text, error in answers
        ]
        return [{"role": "user", "content": results}] if results else []


OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC = OpenAIChat(), OpenAIResponses(), Anthropic()

FORMS: tuple[Form, ...] = (OpenAIFunctionCall(), OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC)


def _raw(arguments: Any) -> JsonValue:
    return parse_arguments(arguments) if isinstance(arguments, str) else arguments


def _function(definition: ToolDefinition) -> dict[str, JsonValue]:
    function: dict[str, JsonValue] = {"name": definition.name}
    if definition.description:
        function["description"] = definition.description
    function["parameters"] = _parameters(definition)
    if definition.strict:
        function["strict"] = True
    return function


def _parameters(definition: ToolDefinition) -> JsonValue:
    return definition.parameters if definition.parameters is not None else {"type": "object", "properties": {}}
