"""Finds the new messages of each inference, since its input repeats the whole conversation; and writes messages as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

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
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Trace,
    Uri,
    refusal_as_text,
    replace,
)
from llmtrace.viewer.call_inputs import message_key

_ASKING = frozenset({"system", "developer", "user"})


class NewMessages:
    """For each inference, the messages that no earlier inference had as input or output. Call `of` in the order of the trace.

    A tool's result is also left out if the trace shows the same result at the tool's execution. If a conversation starts again
    with the same words, the user's messages are returned again.
    """

    def __init__(self, trace: Trace) -> None:
        self._seen: Counter[str] = Counter()  # by message, how often it occurred in a single call at most
        self._results: dict[str | None, list[JsonValue]] = {}
        for span in trace.spans:
            operation = span.operation
            if isinstance(operation, ToolExecution) and operation.has_result and operation.call_id is not None:
                self._results.setdefault(operation.call_id, []).append(operation.result)

    def of(self, span: Span) -> list[Message]:
        """Return the new messages of an inference, its system instructions first; [] for any other span."""
        inference = span.operation
        if not isinstance(inference, Inference):
            return []
        system = (Message("system", inference.system),) if inference.system else ()
        counts: Counter[str] = Counter()
        new = []
        for message in (*system, *inference.input):
            key = message_key(message)
            counts[key] += 1
            if counts[key] > self._seen[key] and not self._shown(message):
                new.append(message)
        if not new and all(message.role in _ASKING for message in inference.input):  # the conversation starts again
            new = [message for message in inference.input if message.role == "user"]
        counts.update(message_key(message) for message in inference.output)
        self._seen |= counts
        return new

    def _shown(self, message: Message) -> bool:
        return bool(message.parts) and all(
            isinstance(part, ToolResult) and any(_same(part.response, result) for result in self._results.get(part.id, ()))
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
