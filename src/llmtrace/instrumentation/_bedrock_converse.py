"""Requests and answers of Bedrock's Converse; Nova's own form, in ``invoke_model``, is the same but for some names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from llmtrace.content import to_json
from llmtrace.instrumentation._bedrock_chunks import traced_fields
from llmtrace.instrumentation._bedrock_messages import FINISH_REASONS, read_blocks, read_message, read_tools, read_usage
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._provider import Fields
from llmtrace.model import JsonValue, replace

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
    finish = FINISH_REASONS.get(reason, reason) if reason else None
    message = read_message(_of(_of(answer, "output"), "message"), finish)
    parts = list(message.parts)
    traced = traced_fields(_of(answer, "trace"), parts)
    return {
        "usage": read_usage(answer.get("usage")),
        "output": (replace(message, parts=tuple(parts)),),
        "finish_reasons": (finish or "error",),
        **traced,
    }
