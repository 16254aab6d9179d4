"""What each kind of step of openai-agents is as an operation, from what the framework's own span says of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from llmtrace import instrumentation, semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._framework import APPROVED, REJECTED
from llmtrace.instrumentation._openai_items import read_item
from llmtrace.instrumentation._openai_messages import arguments as read_arguments
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._openai_responses import read_response, read_response_usage
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._traced_functions import read_output
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Inference,
    Message,
    Operation,
    Review,
    Text,
    ToolDefinition,
    ToolExecution,
    replace,
)
from llmtrace.recorder.guard import guard

_MASK = "Agent run"
"""What the framework puts over the program's span where its own tracing is disabled for one run."""
MODELS = frozenset({"generation", "response"})
"""Kinds of steps that are a call of a model."""


def started(data: Any, run_input: Any) -> tuple[Operation, str | None] | None:
    """Return the operation of a new step, and its span's name if it is not the default; None for no span.

    ``data``: the framework's data of it. ``run_input``: what the run was given as its input.
    """
    kind = data.type
    if kind == "agent":
        return AgentInvocation(data.name, input=guard(read_input, run_input) or ()), None
    if kind == "function":
        return ToolExecution(data.name), None
    if kind == "handoff":
        return Custom({"from": data.from_agent}), "handoff"
    if kind == "guardrail":
        return Custom(), f"guardrail {data.name}"
    if kind == "custom" and data.name != _MASK and getattr(data, "data", {}).get("sdk_span_type") is None:
        return Custom(to_json(data.data) or None), data.name
    return (_started_inference(data), None) if kind in MODELS and not _seen_below(data) else None


def _started_inference(data: Any) -> Inference:
    model, settings = getattr(data, "model", None), getattr(data, "model_config", None) or {}
    maker = settings.get("model_impl")
    if maker == "litellm" and isinstance(model, str) and "/" in model:
        return Inference(model.partition("/")[0], request_model=model)
    is_openai = data.type == "response" or "base_url" in settings
    return Inference("openai" if is_openai else str(maker or "unknown"), request_model=model)


def read_input(run_input: Any) -> tuple[Message, ...]:
    if isinstance(run_input, str):
        return (Message("user", (Text(run_input),)),)
    return tuple(map(read_item, run_input)) if isinstance(run_input, (list, tuple)) else ()  # the state of a run that goes on


def ended(operation: Operation, data: Any, output: Any) -> Operation:
    """Return the complete operation. ``output``: the agent's final output, if it is known."""
    if isinstance(operation, AgentInvocation):
        return replace(operation, output=read_output(output))
    if isinstance(operation, ToolExecution):
        return _execution(operation, data)
    if isinstance(operation, Inference):
        return _inference(operation, data)
    if data.type == "handoff":
        return Custom({"from": data.from_agent, "to": data.to_agent})
    if data.type == "guardrail":
        return Custom(result={"triggered": bool(data.triggered)}, has_result=True)
    return Custom(to_json(data.data) or None)


# -- tools


def definition_of(tool: Any) -> ToolDefinition | None:
    schema = getattr(tool, "params_json_schema", None)
    if schema is None:
        return None
    strict = getattr(tool, "strict_json_schema", False) is True
    return ToolDefinition(tool.name, to_json(schema), getattr(tool, "description", None) or None, strict=strict)


def _execution(operation: ToolExecution, data: Any) -> ToolExecution:
    if data.input is None:  # the program told the framework to keep tools' data out of traces
        return replace(operation, definition=None)
    operation = replace(operation, arguments=read_arguments(data.input))
    if data.output is None:
        return operation
    result = to_json(data.output)
    if isinstance(result, dict) and result.keys() == {"type", "text"}:  # what an MCP server answered
        result = result["text"]
    return replace(operation, result=result, has_result=True)


def decisions_in(run_input: Any, config: Any) -> list[Review]:
    """Return what was decided on the calls that an interrupted run waits for, if ``run_input`` is its state.

    ``config``: the run's; it may keep tools' data out of traces.
    """
    if not hasattr(run_input, "get_interruptions"):
        return []
    has_content = (config or sys.modules["agents"].RunConfig()).trace_include_sensitive_data
    decided = []
    for item in run_input.get_interruptions():
        call = item.raw_item if isinstance(item.raw_item, Mapping) else members(item.raw_item)
        call_id = call.get("call_id") or call.get("id")
        approved = run_input._context.is_tool_approved(item.tool_name, call_id)
        if approved is not None:
            note = None if approved else run_input._context.get_rejection_message(item.tool_name, call_id)
            payload, note = (read_arguments(call.get("arguments")), note) if has_content else (None, None)
            review = Review(item.tool_name, tool=item.tool_name, call_id=call_id, payload=payload, note=note)
            decided.append(replace(review, decision=APPROVED if approved else REJECTED))
    return decided


# -- models


def _seen_below(data: Any) -> bool:
    """Return True if the SDK that makes the model's request is instrumented and records the inference."""
    settings = getattr(data, "model_config", None) or {}
    if settings.get("model_impl") == "litellm":
        return instrumentation.is_on("litellm")
    return (data.type == "response" or "base_url" in settings) and instrumentation.is_on("openai")


def _inference(operation: Inference, data: Any) -> Inference:
    if data.type == "response":
        fields = {} if data.response is None else read_response(members(data.response))
        fields.pop("failure", None)
        messages = guard(read_input, data.input) or ()
        answer_fields = {name: value for name, value in fields.items() if name in Inference.__dataclass_fields__}
        return replace(operation, **{"input": messages, "request_model": fields.get("response_model"), **answer_fields})
    settings: Mapping[str, Any] = data.model_config or {}
    parameters = {name: to_json(settings.get(name)) for name in ("temperature", "top_p", "max_tokens")}
    usage = read_response_usage(data.usage) if data.usage else None
    if usage is not None:  # the framework writes 0 for each detail that it does not know
        details = ("cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")
        usage = replace(usage, **{name: getattr(usage, name) or None for name in details})
    return replace(
        operation,
        operation=semconv.CHAT,
        input=tuple(map(read_message, data.input or ())),
        output=tuple(map(read_message, data.output or ())),
        usage=usage,
        parameters={name: value for name, value in parameters.items() if value is not None},
    )
