"""Reads requests and answers of Bedrock's Converse. Nova's format in ``invoke_model`` is the same except for some names.

Law: nothing raises and nothing is lost. A block of an unknown kind is kept whole as `Generic`.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from pydantic_core import from_json

from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._openai_endpoint import read_parameters
from llmtrace.instrumentation._openai_messages import tool_output
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

_MEDIA = {"image": "image", "video": "video", "audio": "audio", "document": "file"}
"""Modality of each kind of block with a source."""
_FILES = {"pdf": "application/pdf", "csv": "text/csv", "html": "text/html", "txt": "text/plain", "md": "text/markdown"}


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish_reason``: in the conventions' words."""
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
    kind, value = "content", block
    if isinstance(block, Mapping) and len(block) == 1:
        [(kind, value)] = block.items()
    try:
        yield from _read_block(kind, value, role)
    except Exception:  # of a kind not known here, or not in the form that its kind has
        yield Generic(str(kind), {str(kind): to_json(value)})


def _read_block(kind: str, value: Any, role: str) -> Iterator[Part]:
    if kind == "text" and isinstance(value, str):
        yield from [Text(value)] if value else []
    elif kind == "toolUse":
        yield _tool_call(value)
    elif kind == "toolResult":
        yield _server_result(value) if role == "assistant" else _tool_result(value)
    elif kind == "reasoningContent" and "reasoningText" in value:
        yield Reasoning(value["reasoningText"]["text"])  # without its signature, which only Bedrock can use
    elif kind == "reasoningContent":
        yield Generic("redacted_reasoning", {"data": _base64(value["redactedContent"])})
    elif kind == "citationsContent":
        text = "".join([piece["text"] for piece in value.get("content") or ()])
        yield from [Text(text)] if text else []
        if value.get("citations"):
            yield Generic("citations", {"citations": to_json(value["citations"])})
    elif kind == "guardContent" and "text" in value:
        yield Text(value["text"]["text"])
    else:
        yield _media("image", value["image"]) if kind == "guardContent" else _media(_MEDIA[kind], value)


def _tool_call(block: Mapping[str, Any]) -> Part:
    name, arguments, call_id = block["name"], to_json(block.get("input")), block.get("toolUseId")
    if block.get("type") == "server_tool_use":
        return ServerToolCall(name, {"type": name, "input": arguments}, call_id)
    return ToolCall(name, arguments, call_id)


def _server_result(block: Mapping[str, Any]) -> Part:
    """Read the result of a tool that Bedrock runs itself."""
    details = {name: to_json(value) for name, value in block.items() if name not in ("toolUseId", "content")}
    return ServerToolResult(
        {"type": "tool_result", **details, "content": to_json(block.get("content"))}, block.get("toolUseId")
    )


def _tool_result(block: Mapping[str, Any]) -> Part:
    """Read a tool's result: its JSON or text if it is only that, else all of its content."""
    content = block.get("content") or []
    is_json = len(content) == 1 and content[0].keys() == {"json"}
    result, is_error = to_json(content[0]["json"]) if is_json else tool_output(content), block.get("status") == "error"
    return ToolResult({"is_error": True, "content": result} if is_error else result, block.get("toolUseId"))


def _media(modality: str, block: Mapping[str, Any]) -> Part:
    """Read ``{"format": …, "source": {"bytes": …} or {"s3Location": {"uri": …}}}``, or a document that is text."""
    source, form = block["source"], block.get("format")
    mime = _FILES.get(form or "") if form is None or modality == "file" else f"{modality}/{form}"
    if "bytes" in source:
        return Blob(modality, mime, _base64(source["bytes"]))
    return Uri(source["s3Location"]["uri"], modality, mime) if "s3Location" in source else Text(source["text"])


def _base64(data: bytes | str) -> str:
    """Return bytes as base64 text. In JSON they are base64 text already."""
    return data if isinstance(data, str) else base64.b64encode(data).decode("ascii")


def read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """Read the tools of a ``toolConfig``. Cache points among them are skipped."""
    definitions = []
    for tool in raw:
        system = _of(tool, "systemTool")
        if system:
            definitions.append(ToolDefinition(str(system.get("name")), type="systemTool", cache={}))
        elif not _of(tool, "cachePoint"):
            definitions.append(read_definition(tool))
    return tuple(definitions)


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


class _Block:
    """A block of the answer. Its kind is known from its start (tools) or its first delta."""

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

    def whole(self) -> Iterator[dict[str, Any]]:
        """Yield the content as in an unstreamed answer."""
        thought, text = self.thought.getvalue(), self.text.getvalue()
        if thought:
            yield {"reasoningContent": {"reasoningText": {"text": thought}}}
        for data in self.redacted:
            yield {"reasoningContent": {"redactedContent": data}}
        if self.citations:
            yield {"citationsContent": {"content": [{"text": text}], "citations": self.citations}}
        elif text:
            yield {"text": text}
        if self.tool is not None:
            # A tool without arguments has no deltas, or empty ones; the whole answer says {} then.
            yield {"toolUse": {"name": "", **self.tool, "input": parse_arguments(self.written.getvalue() or "{}")}}
        if self.result is not None:
            yield {"toolResult": {**self.result, "content": self.results}}


class ConverseReader:
    """Reads the events of ``converse_stream``. ``joins``: merge adjacent text blocks (Nova's format numbers each piece of text
    as a block of its own)."""

    __slots__ = ("_answer", "_blocks", "_joins", "_role")

    def __init__(self, *, joins: bool = False) -> None:
        self._joins = joins
        self._role = "assistant"
        self._blocks: defaultdict[int, _Block] = defaultdict(_Block)
        self._answer: dict[str, Any] = {}
        """Members of the answer, except its message."""

    def add(self, name: str, event: Mapping[str, Any]) -> None:
        index = event.get("contentBlockIndex") or 0
        if name == "contentBlockDelta":
            self._blocks[index].add(event["delta"])
        elif name == "contentBlockStart":
            block, start = self._blocks[index], event.get("start") or {}
            block.tool, block.result = start.get("toolUse"), start.get("toolResult")
        elif name == "messageStart":
            self._role = event.get("role") or self._role
        elif name in ("messageStop", "metadata"):
            self._answer.update({member: value for member, value in event.items() if value is not None})

    def fields(self) -> Fields:
        content: list[dict[str, Any]] = []
        for index in sorted(self._blocks):
            for block in self._blocks[index].whole():
                if self._joins and content and block.keys() == content[-1].keys() == {"text"}:
                    block = {"text": content.pop()["text"] + block["text"]}
                content.append(block)
        fields = read_answer({**self._answer, "output": {"message": {"role": self._role, "content": content}}})
        if self._answer.get("stopReason"):
            fields["partial"] = False  # also where the metadata, which tells the usage, was left
        else:
            del fields["finish_reasons"]
            fields["output"] = fields["output"] if fields["output"][0].parts else ()
        return fields


class Events(Reader):
    """`Reader` of a stream's messages as botocore reads them from the wire, before it converts them to the program's events."""

    __slots__ = ("_chunks", "failure")

    def __init__(self, chunks: Any) -> None:
        """``chunks``: builds the answer; has the methods ``add(name, event)`` and ``fields()``."""
        self._chunks = chunks
        self.failure: Failure | None = None
        """A failure that the service reported within the stream; the program gets an exception for it."""

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
"""Bedrock's parameter names to the conventions' names, if they differ."""

_NO_PARAMETERS = ("modelId", "messages", "system", "inferenceConfig", "toolConfig", "outputConfig", "schemaVersion")


def read_request(kwargs: Mapping[str, Any]) -> Fields:
    fields: Fields = {"parameters": _parameters(kwargs), "system": read_blocks(kwargs.get("system"))}
    messages, tools = kwargs.get("messages"), _of(kwargs, "toolConfig").get("tools")
    if isinstance(messages, (list, tuple)):
        fields["input"] = read_messages_cached(messages, read_message)
    if isinstance(tools, (list, tuple)):
        fields["tools"] = read_tools_cached(tools, read_tools)
    return fields


def _of(fields: Any, name: str) -> Mapping[str, Any]:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _parameters(kwargs: Mapping[str, Any]) -> dict[str, JsonValue]:
    parameters: dict[str, JsonValue] = read_parameters(_of(kwargs, "inferenceConfig"), _PARAMETERS)
    parameters |= read_parameters(kwargs, {}, _NO_PARAMETERS)
    choice, top_k = _of(kwargs, "toolConfig").get("toolChoice"), _of(kwargs, "additionalModelRequestFields").get("top_k")
    if choice is not None:
        parameters["tool_choice"] = to_json(choice)
    if isinstance(top_k, int):
        parameters["top_k"] = top_k
    for name, value in _of(kwargs, "outputConfig").items():
        if name == "textFormat":
            form = to_json(value["structure"]["jsonSchema"])  # its schema is a text
            parameters["response_format"] = {
                "type": "json_schema",
                "json_schema": {**form, "schema": from_json(form["schema"])},
            }
        else:
            parameters[name] = to_json(value)
    return parameters


def read_answer(answer: Mapping[str, Any]) -> Fields:
    """Read the fields of an answer, with the findings of guardrails and the model that a prompt router chose."""
    reason, trace = answer.get("stopReason"), _of(answer, "trace")
    finish = finish_reason(reason) if reason else None
    message = read_message(_of(_of(answer, "output"), "message"), finish)
    if trace.get("guardrail"):
        message = replace(message, parts=(*message.parts, Generic("guardrail", {"trace": to_json(trace["guardrail"])})))
    fields: Fields = {
        "usage": read_usage(answer.get("usage")),
        "output": (message,),
        "finish_reasons": (finish or "error",),
    }
    model = _of(trace, "promptRouter").get("invokedModelId")
    return {**fields, "response_model": model} if model else fields
