"""Requests and answers of Bedrock's Converse; Nova's own form, in ``invoke_model``, is the same but for some names.

Law: nothing raises and nothing is lost: a block of a kind that is not known here is kept whole as `Generic`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from typing import Any, Protocol

from pydantic_core import from_json

from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Blob,
    Failure,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    Usage,
    replace,
)
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import read_definition

_SERVER_TOOL = "server_tool_use"


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish_reason``: the conventions' word."""
    message = raw if isinstance(raw, Mapping) else {"content": raw}
    role = str(to_json(message.get("role")) or "unknown")
    return Message(role, read_blocks(message.get("content"), role), finish_reason=finish_reason, cache={})


def read_blocks(raw: Any, role: str = "") -> tuple[Part, ...]:
    """Read the content of a message, or the system prompt."""
    if isinstance(raw, str):
        return (Text(raw),) if raw else ()
    if not isinstance(raw, (list, tuple)):
        return () if raw is None else (Generic("content", {"content": to_json(raw)}),)
    return tuple([part for block in raw for part in _parts(block, role)])


def _parts(block: Any, role: str) -> Iterator[Part]:
    kind: Any
    value: Any
    kind, value = next(iter(block.items())) if isinstance(block, Mapping) and len(block) == 1 else (None, None)
    try:
        if kind == "toolResult" and role == "assistant":
            yield server_result(value, value.get("content"))
        else:
            yield from _READERS[kind](value)
    except Exception:  # of a kind not known here, or not in the form that its kind has
        yield Generic(str(kind or "content"), {str(kind or "content"): to_json(block if kind is None else value)})


def _text(value: Any) -> Iterator[Part]:
    if not isinstance(value, str):
        raise TypeError
    if value:
        yield Text(value)


def _tool_use(block: Mapping[str, Any]) -> Iterator[Part]:
    yield tool_call(block["name"], to_json(block.get("input")), block.get("toolUseId"), block.get("type"))


def tool_call(name: str, arguments: JsonValue, call_id: str | None, kind: str | None) -> Part:
    """Return a call that the program runs, or one that Bedrock runs itself."""
    if kind == _SERVER_TOOL:
        return ServerToolCall(name, {"type": name, "input": arguments}, call_id)
    return ToolCall(name, arguments, call_id)


def server_result(block: Mapping[str, Any], content: Any) -> Part:
    """Return the result of a tool that Bedrock runs itself."""
    details = {name: to_json(value) for name, value in block.items() if name not in ("toolUseId", "content")}
    return ServerToolResult({"type": "tool_result", **details, "content": to_json(content)}, block.get("toolUseId"))


def _tool_result(block: Mapping[str, Any]) -> Iterator[Part]:
    result = _result(block.get("content") or [])
    if block.get("status") == "error":
        result = {"is_error": True, "content": result}
    yield ToolResult(result, block.get("toolUseId"))


def _result(content: Any) -> JsonValue:
    """Return a tool's result: its JSON or text if it is only that, else all of its content."""
    if len(content) == 1 and content[0].keys() == {"json"}:
        return to_json(content[0]["json"])
    texts = [block["text"] for block in content if block.keys() == {"text"}]
    return "\n".join(texts) if texts and len(texts) == len(content) else to_json(content)


def _reasoning(block: Mapping[str, Any]) -> Iterator[Part]:
    """Read the model's reasoning without its signature, which only Bedrock can use."""
    if "reasoningText" in block:
        yield Reasoning(block["reasoningText"]["text"])
    else:
        yield redacted_reasoning(block["redactedContent"])


def redacted_reasoning(data: bytes | str) -> Part:
    """Return reasoning that is redacted: bytes that only Bedrock can read."""
    return Generic("redacted_reasoning", {"data": _base64(data)})


def _citations(block: Mapping[str, Any]) -> Iterator[Part]:
    yield Text("".join([piece["text"] for piece in block.get("content") or ()]))
    if block.get("citations"):
        yield citations(block["citations"])


def citations(sources: Any) -> Part:
    return Generic("citations", {"citations": to_json(sources)})


def _guard_content(block: Mapping[str, Any]) -> Iterator[Part]:
    """Read content for a guardrail: a text or an image."""
    yield from (Text(block["text"]["text"]),) if "text" in block else _media("image")(block["image"])


def _media(modality: str) -> Callable[[Mapping[str, Any]], Iterator[Part]]:
    """``{"format": …, "source": {"bytes": …} or {"s3Location": {"uri": …}}}``; of documents also plain text."""

    def read(block: Mapping[str, Any]) -> Iterator[Part]:
        source = block["source"]
        mime = _mime(modality, block.get("format"))
        if "bytes" in source:
            yield Blob(modality, mime, _base64(source["bytes"]))
        elif "s3Location" in source:
            yield Uri(source["s3Location"]["uri"], modality, mime)
        else:
            yield Text(source["text"])

    return read


def _mime(modality: str, form: str | None) -> str | None:
    if form is None or modality == "file":
        return {
            "pdf": "application/pdf",
            "csv": "text/csv",
            "html": "text/html",
            "txt": "text/plain",
            "md": "text/markdown",
        }.get(form or "")
    return f"{modality}/{form}"


def _base64(data: bytes | str) -> str:
    """Return bytes as base64 text. From JSON they are text already."""
    return data if isinstance(data, str) else base64.b64encode(data).decode("ascii")


_READERS: dict[Any, Callable[[Any], Iterator[Part]]] = {
    "text": _text,
    "toolUse": _tool_use,
    "toolResult": _tool_result,
    "reasoningContent": _reasoning,
    "citationsContent": _citations,
    "guardContent": _guard_content,
    "image": _media("image"),
    "video": _media("video"),
    "audio": _media("audio"),
    "document": _media("file"),
}


# -- tools and usage


def read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """Read the tools of a ``toolConfig``. Cache points among them are skipped."""
    return tuple([_tool(tool) for tool in raw if not (isinstance(tool, Mapping) and "cachePoint" in tool)])


def _tool(raw: Any) -> ToolDefinition:
    system = raw.get("systemTool") if isinstance(raw, Mapping) else None
    if isinstance(system, Mapping):
        return ToolDefinition(str(system.get("name")), type="systemTool", cache={})
    return read_definition(raw)


def read_usage(raw: Any) -> Usage | None:
    """Read token counts as billed. Bedrock counts cached tokens beside the input; ours includes them."""
    if not isinstance(raw, Mapping):
        return None
    input_tokens, read, written = raw.get("inputTokens"), _cached(raw, "Read"), _cached(raw, "Write")
    total = None if input_tokens is None else input_tokens + (read or 0) + (written or 0)
    hour = sum(detail.get("inputTokens") or 0 for detail in raw.get("cacheDetails") or () if detail.get("ttl") == "1h")
    return Usage(total, raw.get("outputTokens"), read, written, cache_write_1h_input_tokens=hour or None)


def _cached(raw: Mapping[str, Any], how: str) -> int | None:
    """Return a count of cached tokens: ``cacheReadInputTokens`` of Converse or ``cacheReadInputTokenCount`` of Nova."""
    count = raw.get(f"cache{how}InputTokens")
    return raw.get(f"cache{how}InputTokenCount") if count is None else count


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
