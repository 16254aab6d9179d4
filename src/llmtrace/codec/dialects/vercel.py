"""The Vercel AI SDK (JavaScript): ``ai.generateText``, its model calls ``ai.generateText.doGenerate``, and ``ai.toolCall``.

Known by ``ai.operationId``. The outer span runs the loop of model and tools, so it is an agent's; each of its inner ``do…``
spans is one model call. They carry official names for model and usage beside their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import parts
from llmtrace.codec.dialects import _former_names, _message_shapes, _tool_shapes
from llmtrace.codec.dialects._dialect import Dialect
from llmtrace.codec.dialects._span_reader import SpanReader, bare, parsed
from llmtrace.model import (
    AgentInvocation,
    Embedding,
    Inference,
    JsonValue,
    Message,
    Operation,
    Part,
    RawSpan,
    Text,
    ToolCall,
    ToolExecution,
    Usage,
)

OPERATION: Final = "ai.operationId"
_SETTINGS: Final = {
    "temperature": "temperature",
    "maxTokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
_SAID_TWICE: Final = ("operation.name", "ai.model.id", "ai.model.provider")


class Vercel(Dialect):
    name = "vercel"
    marks = frozenset({OPERATION})

    def knows(self, raw: RawSpan) -> bool:
        held = raw.attributes.get(OPERATION)
        return isinstance(held, str) and held.startswith("ai.")

    def read(self, reader: SpanReader) -> Operation | None:
        name = reader.rest.pop(OPERATION)
        _former_names.renew(reader)
        if name == "ai.toolCall":
            operation = _tool(reader)
        elif "embed" in name.lower():
            operation = _embedding(reader) if ".do" in name else _outer(reader, name)
        else:
            operation = _inference(reader, name) if ".do" in name else _outer(reader, name)
        reader.drop(*_SAID_TWICE)
        reader.rename({"ai.telemetry.metadata.sessionId": sc.CONVERSATION_ID, "ai.telemetry.metadata.userId": sc.USER_ID})
        return operation


def _tool(reader: SpanReader) -> Operation:
    has_result = "ai.toolCall.result" in reader.rest
    return ToolExecution(
        reader.text("ai.toolCall.name") or "",
        parts.arguments(reader.rest.pop("ai.toolCall.args", reader.rest.pop("ai.toolCall.input", None))),
        result=bare(reader.rest.pop("ai.toolCall.result", None)),
        has_result=has_result,
        call_id=reader.text("ai.toolCall.id"),
    )


def _outer(reader: SpanReader, name: str) -> Operation:
    """Usage stays an attribute: it is the sum of the model calls', which count theirs."""
    asked = parsed(reader.rest.pop("ai.prompt", None))
    given = _prompt(asked)
    return AgentInvocation(reader.text("ai.telemetry.functionId") or name, input=given, output=_answer(reader, finish=False))


def _prompt(asked: JsonValue) -> tuple[Message, ...]:
    if not isinstance(asked, Mapping):
        return _message_shapes.of_text("user", asked)
    listed = asked.get("messages")
    system = _message_shapes.of_text("system", asked.get("system"))
    held = asked.get("prompt")
    listed = held if isinstance(held, list) else listed
    if isinstance(listed, list):
        return (*system, *_message_shapes.of_items(listed, "user"))
    return (*system, *_message_shapes.of_text("user", held))


def _inference(reader: SpanReader, name: str) -> Operation:
    listed = parsed(reader.rest.pop("ai.prompt.messages", None))
    given = _message_shapes.of_items(listed, "user") if isinstance(listed, list) else _message_shapes.of_text("user", listed)
    offered = reader.rest.pop("ai.prompt.tools", None)
    offered = parsed(offered) if isinstance(offered, str) else offered
    tools = [_tool_shapes.definition(item) for item in offered] if isinstance(offered, (list, tuple)) else []
    model = reader.text("ai.model.id")
    reason = reader.text("ai.response.finishReason")
    first = reader.number("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")
    return Inference(
        (reader.text(sc.PROVIDER_NAME) or reader.text("ai.model.provider") or "").partition(".")[0],
        request_model=reader.text(sc.REQUEST_MODEL) or model,
        response_model=reader.text(sc.RESPONSE_MODEL, "ai.response.model"),
        response_id=reader.text(sc.RESPONSE_ID, "ai.response.id"),
        input=given,
        output=_answer(reader, finish=True),
        tools=tuple([tool for tool in tools if tool is not None]),
        parameters=_settings(reader),
        finish_reasons=() if sc.RESPONSE_FINISH_REASONS in reader.rest or reason is None else (reason,),
        usage=_usage(reader),
        stream="stream" in name.lower(),
        time_to_first_chunk=None if first is None else first / 1000,
    )


def _answer(reader: SpanReader, *, finish: bool) -> tuple[Message, ...]:
    held: list[Part] = []
    thought = reader.text("ai.response.reasoning")
    if thought is not None:
        held.append(parts.read({"type": "reasoning", "content": thought}))
    said = reader.text("ai.response.text", "ai.response.object", "ai.result.text", "ai.result.object")
    if said is not None:
        held.append(Text(said))
    calls = reader.rest.pop("ai.response.toolCalls", reader.rest.pop("ai.result.toolCalls", None))
    calls = parsed(calls)
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping):
            given: Any = call.get("input", call.get("args"))
            called, call_id = call.get("toolName"), call.get("toolCallId")
            held.append(
                ToolCall(
                    called if isinstance(called, str) else "",
                    parts.arguments(given),
                    call_id if isinstance(call_id, str) else None,
                )
            )
    if not finish:
        reader.drop("ai.response.finishReason")
    return (Message("assistant", tuple(held)),) if held else ()


def _settings(reader: SpanReader) -> dict[str, JsonValue]:
    found = {}
    for name, ours in _SETTINGS.items():
        value = reader.rest.pop(f"ai.settings.{name}", None)
        if value is not None and f"{sc.REQUEST_PREFIX}{ours}" not in reader.rest:
            found[ours] = value
    choice = parsed(reader.rest.pop("ai.prompt.toolChoice", None))
    if choice is not None:
        found["tool_choice"] = choice
    return {**_official(reader), **found}


def _official(reader: SpanReader) -> dict[str, JsonValue]:
    """What stands under official names, since parameters are taken as one."""
    keys: dict[str, Callable[..., Any]] = {
        "max_tokens": reader.count,
        "top_k": reader.count,
        "temperature": reader.number,
        "top_p": reader.number,
        "frequency_penalty": reader.number,
        "presence_penalty": reader.number,
    }
    found = {name: take(sc.REQUEST_PREFIX + name) for name, take in keys.items()}
    stops = reader.rest.pop(f"{sc.REQUEST_PREFIX}stop_sequences", None)
    found["stop_sequences"] = list(stops) if isinstance(stops, (list, tuple)) else None
    return {name: value for name, value in found.items() if value is not None}


def _usage(reader: SpanReader) -> Usage | None:
    names = {
        "input": (sc.USAGE_INPUT_TOKENS, "ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        "output": (sc.USAGE_OUTPUT_TOKENS, "ai.usage.outputTokens", "ai.usage.completionTokens"),
        "cached": (sc.USAGE_CACHE_READ, "ai.usage.cachedInputTokens"),
        "reasoning": (sc.USAGE_REASONING, "ai.usage.reasoningTokens"),
    }
    counts = {name: reader.count(*keys) for name, keys in names.items()}
    reader.drop("ai.usage.totalTokens", *(key for keys in names.values() for key in keys))
    if all(count is None for count in counts.values()):
        return None
    return Usage(counts["input"], counts["output"], counts["cached"], None, counts["reasoning"])


def _embedding(reader: SpanReader) -> Operation:
    model = reader.text(sc.REQUEST_MODEL, "ai.model.id")
    provider = reader.text(sc.PROVIDER_NAME) or reader.text("ai.model.provider") or ""
    return Embedding(provider.partition(".")[0], request_model=model, usage=_usage(reader))


DIALECT = Vercel()
