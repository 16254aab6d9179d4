"""How providers write tool calls and want their answers: one `Form` each. A new provider's form is one class here.

Law: the raw text of the arguments is what is judged; nothing is repaired on the way in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from llmtrace.model import JsonValue, ToolCall, ToolDefinition
from llmtrace.validation.parse_arguments import parse_arguments

Answer = tuple[ToolCall, str, bool]
"""A call, the text that answers it, and whether that is an error."""


class Form(Protocol):
    """One provider's way to offer tools, ask for them, and be answered."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]: ...

    def calls(self, message: Any) -> list[ToolCall] | None:
        """The calls in a message, in order; None when the message is not of this form."""
        ...

    def answers(self, answers: Sequence[Answer]) -> list[dict[str, JsonValue]]: ...


def read(thing: Any, name: str) -> Any:
    """A field of a dict or of an SDK's object."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _items(message: Any, name: str) -> Sequence[Any] | None:
    """``message`` as a list of calls: itself when it is one, else its field ``name``."""
    found = message if isinstance(message, (list, tuple)) else read(message, name)
    return found if isinstance(found, (list, tuple)) else None


def _has(items: Sequence[Any], *types: str) -> bool:
    """Whether a bare list is of the form that has items of these types; a message that holds a list is, whatever is in it."""
    return any(read(item, "type") in types for item in items)


class OpenAIChat:
    """Chat completions: ``message.tool_calls``, answered by one ``role: tool`` message each."""

    def offer(self, definition: ToolDefinition) -> dict[str, JsonValue]:
        return {"type": "function", "function": _function(definition)}

    def calls(self, message: Any) -> list[ToolCall] | None:
        items = _items(message, "tool_calls")
        if items is None:
            return (
                [] if read(message, "role") == "assistant" and isinstance(read(message, "content"), (str, type(None))) else None
            )
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
    """Chat completions before there were tool calls: ``message.function_call``, answered by a ``role: function`` message."""

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
