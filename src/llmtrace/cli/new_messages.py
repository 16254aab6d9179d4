"""Finds the new messages of each inference, since its input repeats the whole conversation; and writes messages as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from llmtrace.cli import format_text
from llmtrace.model import (
    Blob,
    Compaction,
    File,
    Generic,
    Inference,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Trace,
    Uri,
    refusal_as_text,
    replace,
)
from llmtrace.reading.inputs import inputs

_ASKING = frozenset({"system", "developer", "user"})


def new_messages(trace: Trace) -> dict[str, list[Message]]:
    """Return the new messages of each inference, by span id; its system instructions first, if they are new.

    A tool's result is left out if the trace shows the same result at the tool's execution. If a conversation starts again with
    the same words, the user's messages are returned again.
    """
    results: dict[str | None, list[JsonValue]] = {}
    for span in trace.spans:
        operation = span.operation
        if isinstance(operation, ToolExecution) and operation.has_result and operation.call_id is not None:
            results.setdefault(operation.call_id, []).append(operation.result)
    new: dict[str, list[Message]] = {}
    for span_id, call_input in inputs(trace).items():
        inference = trace.span(span_id).operation
        assert isinstance(inference, Inference)
        messages = [message for message in call_input.new_messages(inference) if not _is_shown(message, results)]
        before = None if call_input.before is None else trace.span(call_input.before).operation
        if inference.system and (not isinstance(before, Inference) or inference.system != before.system):
            messages.insert(0, Message("system", inference.system))
        if not messages and all(message.role in _ASKING for message in inference.input):  # the conversation starts again
            messages = [message for message in inference.input if message.role == "user"]
        new[span_id] = messages
    return new


def _is_shown(message: Message, results: Mapping[str | None, list[JsonValue]]) -> bool:
    return bool(message.parts) and all(
        isinstance(part, ToolResult) and any(_same(part.response, result) for result in results.get(part.id, ()))
        for part in message.parts
    )


def _same(response: JsonValue, result: JsonValue) -> bool:
    """Return True if the model got exactly the tool's result: as a value or as its JSON text."""
    if response == result or not isinstance(response, str):
        return bool(response == result)
    try:
        return bool(json.loads(response) == result)
    except ValueError:
        return False


def message_text(message: Message) -> str:
    """Return a message as text, without tool calls and reasoning."""
    texts = (_text(part) for part in message.parts if not isinstance(part, (ToolCall, Reasoning)))
    return "\n".join(filter(None, texts))


def texts_by_role(message: Message) -> Iterator[tuple[str, str]]:
    """Yield roles and texts of a message. Results of tools have the role ``tool``, even if the provider sends them as the
    user's."""
    if not any(isinstance(part, ToolResult) for part in message.parts):
        yield message.role, message_text(message)
        return
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield "tool", _text(part)
    text = message_text(replace(message, parts=tuple(part for part in message.parts if not isinstance(part, ToolResult))))
    if text:
        yield message.role, text


def reasoning_text(message: Message) -> str:
    return "\n".join(part.content for part in message.parts if isinstance(part, Reasoning) and part.content)


def _text(part: Part) -> str:
    if isinstance(part, Text):
        return part.content
    if isinstance(part, ToolResult):
        return format_text.text(part.response)
    if isinstance(part, Blob):
        return f"({part.modality} {part.mime_type or ''} {format_text.count(part.size)} bytes)"
    if isinstance(part, (Uri, File)):
        return f"({part.modality} {part.uri if isinstance(part, Uri) else part.file_id})"
    if isinstance(part, (ServerToolCall, ServerToolResult)):
        return f"(run by the provider: {format_text.value(format_text.as_json(part))})"
    if isinstance(part, Compaction):
        return f"(earlier messages were summarised) {part.content or ''}"
    if isinstance(part, Generic):
        refusal = refusal_as_text(part)
        return (
            f"(refusal) {refusal.content}"
            if isinstance(refusal, Text)
            else f"({part.type} {format_text.value(dict(part.fields))})"
        )
    return ""
