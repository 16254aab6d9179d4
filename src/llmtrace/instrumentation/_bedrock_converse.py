"""Requests and answers of Bedrock's Converse; Nova's own form, in ``invoke_model``, is the same but for some names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any, Protocol

from pydantic_core import from_json

from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation._bedrock_messages import (
    citations,
    read_blocks,
    read_message,
    read_tools,
    read_usage,
    redacted_reasoning,
    server_result,
    tool_call,
)
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import Failure, Generic, JsonValue, Message, Part, Reasoning, Text, Usage, replace
from llmtrace.validation.parse_arguments import parse_arguments

# -- streams


class Chunks(Protocol):
    """Puts an answer together from the events of its stream."""

    def add(self, name: str, event: Mapping[str, Any]) -> None:
        """Read an event: its name and its JSON."""

    def fields(self) -> Fields:
        """See `Reader.fields`."""
        ...


class _Block:
    """One block of the answer. Its kind is known from its start (tools) or its first delta."""

    __slots__ = ("citations", "redacted", "result", "results", "text", "thought", "tool", "written")

    def __init__(self) -> None:
        self.text = StringIO()  # grows in place
        self.thought = StringIO()
        self.written = StringIO()
        """The arguments of a tool call, as the model wrote them."""
        self.redacted: list[str] = []
        self.citations: list[Any] = []
        self.tool: Mapping[str, Any] | None = None
        self.result: Mapping[str, Any] | None = None
        self.results: list[Any] = []

    def add(self, delta: Mapping[str, Any]) -> None:
        for kind, value in delta.items():
            if kind == "text":
                self.text.write(value)
            elif kind == "toolUse":
                self.written.write(value.get("input") or "")
            elif kind == "reasoningContent":
                self.thought.write(value.get("text") or "")
                if value.get("redactedContent"):
                    self.redacted.append(value["redactedContent"])
            elif kind == "citation":
                self.citations.append(value)
            elif kind == "toolResult":
                self.results.extend(value)

    def parts(self) -> Iterator[Part]:
        thought, text = self.thought.getvalue(), self.text.getvalue()
        if thought:
            yield Reasoning(thought)
        for data in self.redacted:
            yield redacted_reasoning(data)
        if text:
            yield Text(text)
        if self.citations:
            yield citations(self.citations)
        if self.tool is not None:
            yield self._call(self.tool)
        if self.result is not None:
            yield server_result(self.result, self.results)

    def _call(self, tool: Mapping[str, Any]) -> Part:
        # A tool without arguments has no deltas, or empty ones; the whole answer says {} then.
        arguments = parse_arguments(self.written.getvalue() or "{}")
        return tool_call(str(tool.get("name") or ""), arguments, tool.get("toolUseId"), tool.get("type"))


class ConverseReader:
    """The events of ``converse_stream``, one by one. ``joins``: text blocks that follow each other are one (Nova's own form,
    where each piece of text is numbered as a block of its own)."""

    __slots__ = ("_blocks", "_finish", "_joins", "_role", "_trace", "_usage")

    def __init__(self, *, joins: bool = False) -> None:
        self._joins = joins
        self._role = "assistant"
        self._blocks: dict[int, _Block] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._trace: Mapping[str, Any] = {}

    def add(self, name: str, event: Mapping[str, Any]) -> None:
        if name == "contentBlockDelta":
            self._block(event).add(event["delta"])
        elif name == "contentBlockStart":
            start = event.get("start") or {}
            block = self._block(event)
            block.tool = start.get("toolUse")
            block.result = start.get("toolResult")
        elif name == "messageStart":
            self._role = event.get("role") or self._role
        elif name == "messageStop":
            reason = event.get("stopReason")
            self._finish = finish_reason(reason) if reason else self._finish
        elif name == "metadata":
            self._usage = read_usage(event.get("usage"))
            self._trace = event.get("trace") or {}

    def _block(self, event: Mapping[str, Any]) -> _Block:
        return self._blocks.setdefault(event.get("contentBlockIndex") or 0, _Block())

    def fields(self) -> Fields:
        parts = [part for index in sorted(self._blocks) for part in self._blocks[index].parts()]
        if self._joins:
            parts = _joined(parts)
        fields: Fields = {"usage": self._usage, **traced_fields(self._trace, parts)}
        if parts or self._finish is not None:
            fields["output"] = (Message(self._role, tuple(parts), finish_reason=self._finish),)
        if self._finish is not None:
            fields["finish_reasons"] = (self._finish,)
            fields["partial"] = False  # also where the metadata, which tells the usage, was left
        return fields


def traced_fields(trace: Mapping[str, Any], parts: list[Part]) -> Fields:
    """Read Bedrock's own trace of a call: the model that a prompt router chose, and the findings of guardrails."""
    if trace.get("guardrail"):
        parts.append(Generic("guardrail", {"trace": to_json(trace["guardrail"])}))
    model = (trace.get("promptRouter") or {}).get("invokedModelId")
    return {"response_model": model} if model else {}


def _joined(parts: list[Part]) -> list[Part]:
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Text) and isinstance(last, Text):
            merged[-1] = Text(last.content + part.content)
        else:
            merged.append(part)
    return merged


class Events(Reader):
    """`Reader` of a stream's messages as botocore reads them from the wire, before it makes the program's events of them."""

    __slots__ = ("_chunks", "failure")

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self.failure: Failure | None = None
        """What the service reported in the middle of the stream: the program gets an exception for it."""

    def feed(self, message: Any) -> None:
        headers = message.headers
        payload = from_json(message.payload) if message.payload else {}
        if headers.get(":message-type", "event") == "event":
            self._chunks.add(headers.get(":event-type"), payload)
        else:
            code = headers.get(":exception-type") or headers.get(":error-code")
            text = payload.get("message") or headers.get(":error-message")
            self.failure = failure_reported({"code": code, "message": text})

    def fields(self) -> Fields:
        fields = self._chunks.fields()
        return fields if self.failure is None else {**fields, "partial": True, "failure": self.failure}


_PARAMETERS = {
    "maxTokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "stopSequences": "stop_sequences",
}
"""Bedrock's name to the conventions' name, where they differ."""

_NO_PARAMETERS = ("modelId", "messages", "system", "inferenceConfig", "toolConfig", "outputConfig", "schemaVersion")


def read_request(kwargs: Mapping[str, Any]) -> Fields:
    """Read messages, tools and parameters of a request."""
    fields: Fields = {"parameters": _parameters(kwargs), "system": read_blocks(kwargs.get("system"))}
    messages, tools = kwargs.get("messages"), _of(kwargs, "toolConfig").get("tools")
    if isinstance(messages, (list, tuple)):
        fields["input"] = read_messages_cached(messages, read_message)
    if isinstance(tools, (list, tuple)):
        fields["tools"] = read_tools_cached(tools, read_tools)
    return fields


def _of(kwargs: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = kwargs.get(name)
    return value if isinstance(value, Mapping) else {}


def _parameters(kwargs: Mapping[str, Any]) -> dict[str, JsonValue]:
    parameters = {_PARAMETERS.get(name, name): to_json(value) for name, value in _of(kwargs, "inferenceConfig").items()}
    parameters.update(
        {name: to_json(value) for name, value in kwargs.items() if name not in _NO_PARAMETERS and value is not None}
    )
    choice, top_k = _of(kwargs, "toolConfig").get("toolChoice"), _of(kwargs, "additionalModelRequestFields").get("top_k")
    if choice is not None:
        parameters["tool_choice"] = to_json(choice)
    if isinstance(top_k, int):
        parameters["top_k"] = top_k
    for name, value in _of(kwargs, "outputConfig").items():
        parameters["response_format" if name == "textFormat" else name] = (
            _format(value) if name == "textFormat" else to_json(value)
        )
    return parameters


def _format(text_format: Any) -> JsonValue:
    """Return the requested response format. Bedrock takes its schema as text."""
    schema = text_format["structure"]["jsonSchema"]
    return {"type": "json_schema", "json_schema": {**to_json(schema), "schema": from_json(schema["schema"])}}


def read_answer(answer: Mapping[str, Any]) -> Fields:
    """Read the fields of an answer."""
    reason = answer.get("stopReason")
    finish = finish_reason(reason) if reason else None
    message = read_message(_of(_of(answer, "output"), "message"), finish)
    parts = list(message.parts)
    traced = traced_fields(_of(answer, "trace"), parts)
    return {
        "usage": read_usage(answer.get("usage")),
        "output": (replace(message, parts=tuple(parts)),),
        "finish_reasons": (finish or "error",),
        **traced,
    }
