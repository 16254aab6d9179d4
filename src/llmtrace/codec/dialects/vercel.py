"""The Vercel AI SDK (JavaScript): ``ai.generateText``, its model calls ``ai.generateText.doGenerate``, and ``ai.toolCall``.

Known by ``ai.operationId``. The outer span runs the loop of model and tools, so it is an agent. Each inner ``do…`` span is one
model call. Both have the conventions' names for model and usage in addition to the SDK's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import json_members, parts
from llmtrace.codec.dialects import _former_names, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text
from llmtrace.codec.json_text import parsed
from llmtrace.model import (
    AgentInvocation,
    Embedding,
    Inference,
    JsonValue,
    Message,
    Operation,
    RawSpan,
    ToolExecution,
    Usage,
    replace,
)

OPERATION: Final = "ai.operationId"
_SETTINGS: Final = (
    *("temperature", "maxTokens", "maxOutputTokens", "topP", "topK", "seed", "frequencyPenalty", "presencePenalty"),
)
_TRANSLATOR: Final = "openinference.span.kind"
_FINISHED: Final = "ai.response.finishReason"
_COUNTS: Final = (
    *("inputTokens", "promptTokens", "tokens", "outputTokens", "completionTokens", "cachedInputTokens", "reasoningTokens"),
)
_SAID_TWICE: Final = ("operation.name", "ai.model.id", "ai.model.provider")


class Vercel(Dialect):
    name = "vercel"
    marks = frozenset({OPERATION})

    def knows(self, raw: RawSpan) -> bool:
        operation = raw.attributes.get(OPERATION)
        return isinstance(operation, str) and operation.startswith("ai.")

    def read(self, reader: SpanReader) -> Operation | None:
        raw = reader.raw
        if raw.status == "error" and _TRANSLATOR in raw.attributes and _FINISHED in raw.attributes and not raw.events:
            # OpenInference's exporter copies the error of a tool to all spans around it. The SDK sets none without an event
            reader.raw = replace(raw, status="unset", status_message="")
        name = reader.rest.pop(OPERATION)
        _former_names.use_current_names(reader)
        if name == "ai.toolCall":
            operation = _tool(reader)
        elif "embed" in name.lower():
            operation = _embedding(reader) if ".do" in name else _agent(reader, name)
        else:
            operation = _inference(reader, name) if ".do" in name else _agent(reader, name)
        reader.drop(*_SAID_TWICE)
        reader.rename({"ai.telemetry.metadata.sessionId": sc.CONVERSATION_ID, "ai.telemetry.metadata.userId": sc.USER_ID})
        return operation


def _tool(reader: SpanReader) -> Operation:
    has_result = "ai.toolCall.result" in reader.rest
    return ToolExecution(
        reader.text("ai.toolCall.name") or "",
        parts.arguments(reader.rest.pop("ai.toolCall.args", reader.rest.pop("ai.toolCall.input", None))),
        result=parse_text(reader.rest.pop("ai.toolCall.result", None)),
        has_result=has_result,
        call_id=reader.text("ai.toolCall.id"),
    )


def _agent(reader: SpanReader, name: str) -> Operation:
    """Read an outer span. Its usage stays an attribute, since it is the sum of its model calls, which are counted."""
    messages = _prompt(reader.json("ai.prompt"))
    return AgentInvocation(reader.text("ai.telemetry.functionId") or name, input=messages, output=_answer(reader, finish=False))


def _prompt(prompt: JsonValue) -> tuple[Message, ...]:
    if not isinstance(prompt, Mapping):
        return _shapes.of_text("user", prompt)
    system, content = _shapes.of_text("system", prompt.get("system")), prompt.get("prompt")
    items = content if isinstance(content, list) else prompt.get("messages")
    if isinstance(items, list):
        return (*system, *_shapes.of_items(items, "user"))
    return (*system, *_shapes.of_text("user", content))


def _inference(reader: SpanReader, name: str) -> Operation:
    items = reader.json("ai.prompt.messages")
    reason = reader.text(_FINISHED)
    first = reader.seconds("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")
    return Inference(
        # the SDK writes "openai.chat"
        (reader.text(sc.PROVIDER_NAME) or reader.text("ai.model.provider") or "").partition(".")[0],
        request_model=reader.text("ai.model.id"),
        response_model=reader.text("ai.response.model"),
        response_id=reader.text("ai.response.id"),
        input=_shapes.of_items(items, "user") if isinstance(items, list) else _shapes.of_text("user", items),
        output=_answer(reader, finish=True),
        tools=_shapes.definitions(reader.json("ai.prompt.tools")),
        parameters=_settings(reader),
        finish_reasons=() if reason is None else (reason,),
        usage=_usage(reader),
        stream="stream" in name.lower(),
        time_to_first_chunk=None if first is None else first / 1000,
    )


def _answer(reader: SpanReader, *, finish: bool) -> tuple[Message, ...]:
    text = reader.text("ai.response.text", "ai.response.object", "ai.result.text", "ai.result.object")
    calls = parsed(reader.rest.pop("ai.response.toolCalls", reader.rest.pop("ai.result.toolCalls", None)))
    if not finish:
        reader.drop(_FINISHED)
    return _shapes.of_ai_sdk(text, reader.text("ai.response.reasoning"), calls)


def _settings(reader: SpanReader) -> dict[str, JsonValue]:
    settings = {name: reader.rest.pop(f"ai.settings.{name}", None) for name in _SETTINGS}
    return _shapes.parameters({**settings, "tool_choice": reader.json("ai.prompt.toolChoice")})


def _usage(reader: SpanReader) -> Usage | None:
    own = {name: reader.count(f"ai.usage.{name}") for name in _COUNTS}
    reader.drop("ai.usage.totalTokens")
    inputs, outputs = json_members.first(own, *_COUNTS[:3]), json_members.first(own, *_COUNTS[3:5])
    return _shapes.usage_of_counts(inputs, outputs, own["cachedInputTokens"], None, own["reasoningTokens"])


def _embedding(reader: SpanReader) -> Operation:
    model = reader.text("ai.model.id")
    provider = reader.text(sc.PROVIDER_NAME) or reader.text("ai.model.provider") or ""
    return Embedding(provider.partition(".")[0], request_model=model, usage=_usage(reader))


DIALECT = Vercel()
