"""What a model was told and what it said, without repeating: each inference has the whole conversation in its input."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from llmtrace.cli import words
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
)

_ASKING = frozenset({"system", "developer", "user"})


class NewMessages:
    """Gives, for one inference after the other, the messages that no earlier one had as input or output.

    A tool's answer is left out as well where the trace shows the very same under the tool's own execution. A conversation that
    is opened once more in the same words has the user's told again.
    """

    def __init__(self, trace: Trace) -> None:
        self._seen: Counter[str] = Counter()  # how often a message stood in one conversation at most
        self._results: dict[str | None, list[JsonValue]] = {}
        for span in trace.spans:
            operation = span.operation
            if isinstance(operation, ToolExecution) and operation.has_result and operation.call_id is not None:
                self._results.setdefault(operation.call_id, []).append(operation.result)

    def of(self, span: Span) -> list[Message]:
        """The new messages of an inference, its system instructions first; [] for any other span."""
        inference = span.operation
        if not isinstance(inference, Inference):
            return []
        system = (Message("system", inference.system),) if inference.system else ()
        here: Counter[str] = Counter()
        new = []
        for message in (*system, *inference.input):
            key = _key(message)
            here[key] += 1
            if here[key] > self._seen[key] and not self._shown(message):
                new.append(message)
        if not new and all(message.role in _ASKING for message in inference.input):
            new = [message for message in inference.input if message.role == "user"]
        here.update(_key(message) for message in inference.output)
        self._seen |= here
        return new

    def _shown(self, message: Message) -> bool:
        return bool(message.parts) and all(
            isinstance(part, ToolResult) and any(_same(part.response, result) for result in self._results.get(part.id, ()))
            for part in message.parts
        )


def _key(message: Message) -> str:
    """What makes a message the same when it comes back: an answer returns without its reasoning and finish reason."""
    kept = [part for part in message.parts if not isinstance(part, Reasoning) and part != Text("")]
    return repr((message.role, kept))


def _same(told: JsonValue, result: JsonValue) -> bool:
    """Whether a model was told just what the tool gave: as it is, or as its JSON text."""
    if told == result or not isinstance(told, str):
        return bool(told == result)
    try:
        return bool(json.loads(told) == result)
    except ValueError:
        return False


def told(message: Message) -> str:
    """A message as text, its tool calls and the model's thoughts left out."""
    return "\n".join(text for text in _texts(message) if text)


def thought(message: Message) -> str:
    """The thoughts of the model that a message holds."""
    return "\n".join(part.content for part in message.parts if isinstance(part, Reasoning) and part.content)


def _texts(message: Message) -> Iterator[str]:
    for part in message.parts:
        if not isinstance(part, (ToolCall, Reasoning)):
            yield _text(part)


def _text(part: Part) -> str:
    if isinstance(part, Text):
        return part.content
    if isinstance(part, ToolResult):
        return part.response if isinstance(part.response, str) else words.value(part.response)
    if isinstance(part, Blob):
        return f"({part.modality} {part.mime_type or ''} {words.count(part.size)} bytes)"
    if isinstance(part, (Uri, File)):
        return f"({part.modality} {part.uri if isinstance(part, Uri) else part.file_id})"
    if isinstance(part, (ServerToolCall, ServerToolResult)):
        return f"(run by the provider: {words.value(words.as_json(part))})"
    if isinstance(part, Compaction):
        return f"(earlier messages were summed up) {part.content or ''}"
    if isinstance(part, Generic):
        said = refusal_as_text(part)
        return f"(refusal) {said.content}" if isinstance(said, Text) else f"({part.type} {words.value(dict(part.fields))})"
    return ""
