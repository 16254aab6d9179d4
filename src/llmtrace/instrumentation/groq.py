"""Groq: ``client.chat.completions``, sync and async, whole and streamed, raw or not; ``client.embeddings``.

Groq speaks OpenAI's protocol by a client of the same make, so the endpoint is OpenAI's (`_openai_chat`). Peculiar to Groq are
its tools that run on the server (``executed_tools``), ``x_groq`` in a stream, and that it rejects a tool call of the model
itself: the call stands in the error then, and is recorded and judged like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from llmtrace.content import to_json
from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._openai_chat import Chat
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_embeddings import Embeddings
from llmtrace.instrumentation._openai_messages import read_usage
from llmtrace.instrumentation._provider import Call, Fields
from llmtrace.instrumentation._stainless import both, members
from llmtrace.model import Generic, JsonValue, Message, Part, ServerToolCall, ServerToolResult, ToolCall, replace

LIBRARY, DISTRIBUTION = "groq", "groq"
SUPPORTED = ">=1.0,<2"
CLIENTS = {"groq.Groq": "", "groq.AsyncGroq": ""}

PROVIDER = "groq"


class GroqChat(Chat):
    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return {**super().start_attributes(client, kwargs), "provider": PROVIDER}

    def answer(self, result: Any) -> Fields:
        fields = super().answer(result)
        raw_messages = [members(members(choice).get("message")) for choice in members(result).get("choices") or ()]
        output = zip(fields["output"], raw_messages, strict=True)
        messages = tuple([_with_executed(message, raw.get("executed_tools") or ()) for message, raw in output])
        return {**fields, "output": messages}

    def on_error(self, error: BaseException, fields: Fields) -> Fields:
        body = getattr(error, "body", None)
        details = members(members(body).get("error", body))
        generated = details.get("failed_generation")
        if not isinstance(generated, str) or not generated:
            return fields
        first, *rest = fields.get("output") or [Message("assistant", ())]
        first = replace(first, parts=(*first.parts, _failed(generated)))
        return {**fields, "output": (first, *rest), "finish_reasons": ("error",), "partial": False}

    def on_response(self, call: Call, result: Any) -> Any:
        return _stainless.end_call(self, call, result, lambda: GroqReader(call.choice_count))


class GroqEmbeddings(Embeddings):
    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return {**super().start_attributes(client, kwargs), "provider": PROVIDER}


class GroqReader(ChunkReader):
    __slots__ = ("_executed", "_failure")

    def __init__(self, choice_count: int = 1) -> None:
        super().__init__(choice_count)
        self._executed: dict[int, dict[int, dict[str, JsonValue]]] = {}
        """By choice and index; a tool is told of again when it has run."""
        self._failure: Any = None

    def add(self, chunk: Any) -> None:
        super().add(chunk)
        fields = members(chunk)
        extension = members(fields.get("x_groq"))
        if extension.get("usage") is not None and self._usage is None:
            self._usage = read_usage(extension["usage"])
        self._failure = extension.get("error") or self._failure
        for choice in map(members, fields.get("choices") or ()):
            for tool in members(choice.get("delta")).get("executed_tools") or ():
                execution = {name: value for name, value in to_json(members(tool)).items() if value is not None}
                executed = self._executed.setdefault(choice.get("index") or 0, {})
                executed.setdefault(execution.get("index", 0), {}).update(execution)

    def fields(self) -> Fields:
        fields = super().fields()
        if self._executed:
            tools = {choice: list(executions.values()) for choice, executions in self._executed.items()}
            messages = zip(fields["output"], sorted(self._choices), strict=True)
            fields["output"] = tuple([_with_executed(message, tools.get(choice, ())) for message, choice in messages])
        if self._failure is not None:
            fields["failure"] = failure_reported({"message": self._failure})
            fields["partial"] = True
        return fields


def _with_executed(message: Message, tools: Any) -> Message:
    """Return the message with the tools that ran on the server in front."""
    executed = [part for tool in tools for part in _executed(to_json(members(tool)))]
    return replace(message, parts=(*executed, *message.parts)) if executed else message


def _executed(tool: Mapping[str, JsonValue]) -> Iterator[Part]:
    kind = str(tool.get("type"))
    yield ServerToolCall(kind, {"type": kind, "arguments": tool.get("arguments")})
    result = {name: value for name, value in tool.items() if name not in ("type", "arguments", "index") and value is not None}
    yield ServerToolResult({"type": kind, **result})


def _failed(generated: str) -> Part:
    """Return the rejected output as a tool call if it is one, else as text."""
    try:
        call = from_json(generated)
        if isinstance(call["name"], str):
            return ToolCall(call["name"], call["arguments"])
    except (ValueError, TypeError, KeyError):
        pass
    return Generic("failed_generation", {"content": generated})


PATCHES = (
    *both("groq.resources.chat.completions", "Completions.create", GroqChat()),
    *both("groq.resources.embeddings", "Embeddings.create", GroqEmbeddings()),
    *_stainless.patches("groq", CLIENTS),
)
