"""Cohere's chat messages, in llmtrace's words: OpenAI's form, and besides a plan before the tool calls, documents, citations.

Law: a streamed answer reads like the whole one. The plan is reasoning; citations are kept whole as `Generic`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._openai_messages import arguments, read_message, read_tool_call
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import Failure, Generic, JsonValue, Message, Part, Reasoning, Text, ToolCall, Usage

_FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_call",
    "ERROR_TOXIC": "content_filter",
    "ERROR": "error",
    "TIMEOUT": "error",
}
"""Cohere's word to the conventions' word; others stay, in lower case."""


def read_chat_message(raw: Any, finish: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish``: the conventions' word."""
    message = members(raw)
    read = read_message(raw)
    parts = tuple(_parts(message, read.parts))
    return Message(read.role, parts, finish_reason=finish, cache={})


def _parts(message: Mapping[str, Any], read: tuple[Part, ...]) -> Iterator[Part]:
    if message.get("tool_plan"):
        yield Reasoning(message["tool_plan"])
    yield from read
    if message.get("citations"):
        yield _citations(message["citations"])


def _citations(citations: Any) -> Generic:
    return Generic("citations", {"citations": to_json(list(citations))})


def read_documents(raw: Any) -> Iterator[Part]:
    """Read the documents of a request that the answer may cite: text, or ``{id, data}``."""
    for document in raw:
        yield Text(document) if isinstance(document, str) else Generic("document", {"document": to_json(document)})


def finish_word(reason: Any) -> str | None:
    return None if reason is None else _FINISH.get(str(reason), str(reason).lower())


def read_usage(raw: Any) -> Usage | None:
    """Read billed tokens. ``cached_tokens`` is ignored, because it also counts tokens of Cohere's own prompt."""
    usage = members(raw)
    counted = members(usage.get("billed_units")) or members(usage.get("tokens"))
    if not counted:
        return None
    return Usage(_count(counted.get("input_tokens")), _count(counted.get("output_tokens")))


def _count(tokens: Any) -> int | None:
    return None if tokens is None else int(tokens)


def read_format(response_format: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return ``response_format`` in OpenAI's form, if it has a schema."""
    schema = response_format.get("json_schema") or response_format.get("schema")
    return {"type": "json_schema", "json_schema": {"schema": schema}} if schema else response_format


class EventReader(Reader):
    """`Reader` of the events of a chat."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._plan: list[str] = []
        self._content: dict[Any, tuple[str, list[str]]] = {}
        """By index: the kind of a content part, and its pieces."""
        self._calls: dict[Any, tuple[ToolCall, list[str]]] = {}
        """By index: a call, and the pieces of its arguments."""
        self._citations: list[Any] = []
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._failure: Failure | None = None

    def feed(self, chunk: Any) -> None:
        event = members(chunk)
        delta = members(event.get("delta"))
        kind = event.get("type")
        if kind == "message-start":
            self._id = event.get("id")
        elif kind == "message-end":
            self._end(delta)
        else:
            self._add(kind, event.get("index"), members(delta.get("message")))

    def _add(self, kind: Any, index: Any, message: Mapping[str, Any]) -> None:
        if kind in ("content-start", "content-delta"):
            self._add_content(index, members(message.get("content")))
        elif kind == "tool-plan-delta":
            self._plan.append(message.get("tool_plan") or "")
        elif kind == "tool-call-start":
            call = members(message.get("tool_calls"))
            self._calls[index] = read_tool_call(call), [members(call.get("function")).get("arguments") or ""]
        elif kind == "tool-call-delta":
            function = members(members(message.get("tool_calls")).get("function"))
            self._calls[index][1].append(function.get("arguments") or "")
        elif kind == "citation-start":
            self._citations.append(message.get("citations"))

    def _add_content(self, index: Any, content: Mapping[str, Any]) -> None:
        kind = "thinking" if content.get("thinking") is not None or content.get("type") == "thinking" else "text"
        pieces = self._content.setdefault(index, (kind, []))[1]
        pieces.append(content.get("thinking") or content.get("text") or "")

    def _end(self, delta: Mapping[str, Any]) -> None:
        self._finish = finish_word(delta.get("finish_reason"))
        self._usage = read_usage(delta.get("usage"))
        if delta.get("error"):
            self._failure = Failure("server_error", str(delta["error"]))

    def fields(self) -> Fields:
        begun = self._id is not None or self._content or self._calls or self._plan
        message = Message("assistant", tuple(self._parts()), finish_reason=self._finish)
        fields: Fields = {"response_id": self._id, "usage": self._usage, "output": (message,) if begun else ()}
        if self._finish is not None:
            fields |= {"finish_reasons": (self._finish,), "partial": False}
        if self._failure is not None:
            fields["failure"] = self._failure
        return fields

    def _parts(self) -> Iterator[Part]:
        plan = "".join(self._plan)
        if plan:
            yield Reasoning(plan)
        for kind, pieces in self._content.values():
            text = "".join(pieces)
            if text:
                yield Reasoning(text) if kind == "thinking" else Text(text)
        for call, pieces in self._calls.values():
            yield ToolCall(call.name, arguments("".join(pieces)), call.id)
        if self._citations:
            yield _citations(self._citations)
