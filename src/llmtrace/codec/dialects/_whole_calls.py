"""Reads whole requests and answers in the shapes of APIs and of LangChain, as Langfuse, LangSmith and MLflow record them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmtrace.codec import json_members
from llmtrace.codec.dialects import _message_shapes, _tool_shapes
from llmtrace.codec.dialects._dialect import SpanReader
from llmtrace.codec.messages import langchain_fields
from llmtrace.model import JsonValue, Message, ToolDefinition, ToolExecution

_MESSAGES: Final = ("messages", "input", "contents", "prompt", "prompts")
_ANSWER: Final = frozenset({"role", "content", "tool_calls", "type", "parts", "lc"})
_REASONS: Final = ("finish_reason", "stop_reason", "done_reason")


class Request(NamedTuple):
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    rest: dict[str, JsonValue]
    """Other members of the request: the model and the parameters."""


class Answer(NamedTuple):
    messages: tuple[Message, ...]
    finish_reasons: tuple[str, ...] = ()
    response_id: str | None = None
    model: str | None = None
    usage: Mapping[str, Any] = {}
    """Token counts in the provider's own shape."""


def read_request(request: JsonValue) -> Request:
    """Read a request: an object with all its members, a list of messages, or a text."""
    tools: list[ToolDefinition] = []
    rest: dict[str, JsonValue] = {}
    if isinstance(request, Mapping):
        tools += _tool_shapes.definitions(request.get("tools") or request.get("functions"))
        system = request.get("instructions") or request.get("system")
        name = next((name for name in _MESSAGES if name in request), None)
        named = {"tools", "functions", "instructions", "system", name}
        rest = {key: value for key, value in request.items() if key not in named} if name is not None else {}
        request = request[name] if name is not None else [request]
        if isinstance(system, str):
            request = [{"role": "system", "content": system}, *as_list(request)]
    items = as_list(request)
    if len(items) == 1 and isinstance(items[0], list):  # LangChain's batch of one
        items = items[0]
    items = [item for item in items if not _is_tool(item, tools)]
    return Request(_message_shapes.of_conversation(items, "user"), tuple(tools), rest)


def _is_tool(item: JsonValue, tools: list[ToolDefinition]) -> bool:
    """Return True for a tool's definition, and add it to ``tools``.

    Langfuse's LangChain callback writes definitions among the messages, with the role ``tool``.
    """
    content = item.get("content") if isinstance(item, Mapping) and item.get("role") == "tool" else None
    if not isinstance(content, Mapping) or content.get("type") != "function" or "function" not in content:
        return False
    tools += _tool_shapes.definitions(content)
    return True


def read_answer(answer: JsonValue) -> Answer:
    """Read an answer: a response with all its members, a message, or a text."""
    if not isinstance(answer, Mapping):
        return Answer(_message_shapes.of_answer(answer))
    if isinstance(answer.get("generations"), list):
        return _of_langchain(answer)
    reasons = [json_members.text(answer, *_REASONS)]
    if isinstance(answer.get("choices"), list):
        choices = json_members.objects(answer, "choices")
        messages = _message_shapes.of_items([choice.get("message") or choice.get("delta") for choice in choices], "assistant")
        reasons = [json_members.text(choice, *_REASONS) for choice in choices]
    elif isinstance(answer.get("output"), list):
        messages = _message_shapes.of_answer(answer["output"])
        reasons = [json_members.text(json_members.object_(answer, "incomplete_details"), "reason")]
    elif isinstance(answer.get("message"), Mapping):  # Ollama, Cohere
        messages = _message_shapes.of_answer(answer["message"])
    elif _ANSWER.isdisjoint(answer):
        only = answer.get("output") if len(answer) == 1 else None
        messages = _message_shapes.of_text("assistant", only if isinstance(only, str) else dict(answer))
    else:
        messages = _message_shapes.of_answer(dict(answer))
    return Answer(
        messages,
        tuple([reason for reason in reasons if reason]),
        json_members.text(answer, "id"),
        json_members.text(answer, "model"),
        json_members.object_(answer, "usage_metadata", "usage"),
    )


def _of_langchain(answer: Mapping[str, Any]) -> Answer:
    """Read LangChain's ``LLMResult``: for each prompt its generations, each with a message or a text."""
    generations = as_list(answer["generations"])
    generations = generations[0] if len(generations) == 1 and isinstance(generations[0], list) else generations
    items = [item for item in generations if isinstance(item, Mapping)]
    messages = _message_shapes.of_conversation([item.get("message") or item.get("text") or "" for item in items], "assistant")
    fields = [langchain_fields(item.get("message")) or {} for item in items]
    details = [json_members.object_(field, "response_metadata") for field in fields]
    reasons = [
        json_members.text(json_members.object_(item, "generation_info"), *_REASONS) or json_members.text(detail, *_REASONS)
        for item, detail in zip(items, details, strict=True)
    ]
    usage = json_members.object_(json_members.object_(answer, "llm_output"), "token_usage", "usage")
    first, detail = (fields[0], details[0]) if items else ({}, {})
    return Answer(
        # a LangChain class that is not known reads as a user's message, but this is an answer
        tuple(
            [Message("assistant", message.parts, message.name) if message.role == "user" else message for message in messages]
        ),
        tuple([reason for reason in reasons if reason]),
        json_members.text(detail, "id") or json_members.text(first, "id"),
        json_members.text(detail, "model_name", "model"),
        json_members.object_(first, "usage_metadata") or usage,
    )


def execution(
    reader: SpanReader,
    name: str,
    arguments: JsonValue,
    result: JsonValue,
    has_result: bool,
    *,
    call_id: str | None = None,
    definition: ToolDefinition | None = None,
) -> ToolExecution:
    """Make a tool execution from its recorded arguments and result.

    If the result is a LangChain message, the message's content is the result. The message also has the call id, and a status if
    the tool failed.
    """
    message = _tool_message(result)
    if message is not None:
        result, call_id = message["content"], call_id or message["tool_call_id"]
        if message.get("status") == "error":
            reader.rest.setdefault("gen_ai.tool.call.outcome", "error")
    arguments = _tool_shapes.arguments(arguments, definition)
    return ToolExecution(name, arguments, result=result, has_result=has_result, call_id=call_id, definition=definition)


def tool_named(result: JsonValue) -> str | None:
    """Return the tool's name if the result is a LangChain message that has it."""
    return json_members.text(_tool_message(result) or {}, "name")


def _tool_message(result: JsonValue) -> Mapping[str, Any] | None:
    wrapped = result["output"] if isinstance(result, Mapping) and set(result) == {"output"} else result
    message = langchain_fields(wrapped) or wrapped
    is_one = isinstance(message, Mapping) and isinstance(message.get("tool_call_id"), str) and "content" in message
    return message if is_one else None


def as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [] if value is None else [value]
