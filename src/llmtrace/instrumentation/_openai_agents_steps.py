"""What each kind of step of openai-agents is as an operation, from what the framework's own span says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json as dump

from llmtrace import instrumentation, semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._openai_items import read_item
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._openai_responses import read_response, read_response_usage
from llmtrace.instrumentation._stainless import members
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Inference,
    JsonValue,
    Message,
    Operation,
    Text,
    ToolDefinition,
    ToolExecution,
    Usage,
    replace,
)
from llmtrace.recorder.guard import guard
from llmtrace.validation.parse_arguments import parse_arguments

_MASK = "Agent run"
"""What the framework puts over the program's span where its own tracing is disabled for one run."""
MODELS = frozenset({"generation", "response"})
"""Kinds of steps that are a call of a model."""


def started(said: Any, given: Any) -> tuple[Operation, str | None] | None:
    """The operation of a step that starts, and its span's name if it is not the usual one; None for a step without a span.

    ``said``: the framework's data of it. ``given``: what the run was given as its input.
    """
    kind = said.type
    if kind == "agent":
        return AgentInvocation(said.name, input=guard(read_input, given) or ()), None
    if kind == "function":
        return ToolExecution(said.name), None
    if kind == "handoff":
        return Custom({"from": said.from_agent}), "handoff"
    if kind == "guardrail":
        return Custom(), f"guardrail {said.name}"
    if kind == "custom" and said.name != _MASK and getattr(said, "data", {}).get("sdk_span_type") is None:
        return Custom(to_json(said.data) or None), said.name
    if kind in MODELS and not _seen_below(said):
        return Inference(_provider(said), request_model=getattr(said, "model", None)), None
    return None


def ended(operation: Operation, said: Any, output: Any) -> Operation:
    """The operation, complete. ``output``: what the agent came to, if that is known."""
    if isinstance(operation, AgentInvocation):
        return replace(operation, output=read_output(output))
    if isinstance(operation, ToolExecution):
        return _execution(operation, said)
    if isinstance(operation, Inference):
        return _inference(operation, said)
    if said.type == "handoff":
        return Custom({"from": said.from_agent, "to": said.to_agent})
    if said.type == "guardrail":
        return Custom(result={"triggered": bool(said.triggered)}, has_result=True)
    return Custom(to_json(said.data) or None)


# -- agents


def read_input(given: Any) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message("user", (Text(given),)),)
    return tuple(map(read_item, given)) if isinstance(given, (list, tuple)) else ()  # the state of a run that goes on


def read_output(output: Any) -> tuple[Message, ...]:
    if output is None:
        return ()
    snapshot = to_json(output)
    return (Message("assistant", (Text(snapshot if isinstance(snapshot, str) else dump(snapshot).decode()),)),)


# -- tools


def definition_of(tool: Any) -> ToolDefinition | None:
    schema = getattr(tool, "params_json_schema", None)
    if schema is None:
        return None
    strict = getattr(tool, "strict_json_schema", False) is True
    return ToolDefinition(tool.name, to_json(schema), getattr(tool, "description", None) or None, strict=strict)


def _execution(operation: ToolExecution, said: Any) -> ToolExecution:
    if said.input is None:  # the program told the framework to keep tools' data out of traces
        return replace(operation, definition=None)
    arguments: JsonValue = parse_arguments(said.input) if isinstance(said.input, str) else to_json(said.input)
    operation = replace(operation, arguments=arguments)
    if said.output is None:
        return operation
    result = to_json(said.output)
    if isinstance(result, dict) and result.keys() == {"type", "text"}:  # what an MCP server answered
        result = result["text"]
    return replace(operation, result=result, has_result=True)


# -- models


def _seen_below(said: Any) -> bool:
    """Whether the SDK by which the model makes its request is instrumented: the inference is its span then."""
    settings = getattr(said, "model_config", None) or {}
    if settings.get("model_impl") == "litellm":
        return instrumentation.is_on("litellm")
    return (said.type == "response" or "base_url" in settings) and instrumentation.is_on("openai")


def _provider(said: Any) -> str:
    settings = getattr(said, "model_config", None) or {}
    model = getattr(said, "model", None)
    if settings.get("model_impl") == "litellm" and isinstance(model, str) and "/" in model:
        return model.partition("/")[0]
    return "openai" if said.type == "response" or "base_url" in settings else str(settings.get("model_impl") or "unknown")


def _inference(operation: Inference, said: Any) -> Inference:
    if said.type == "response":
        fields = {} if said.response is None else read_response(members(said.response))
        fields.pop("failure", None)
        asked = guard(read_input, said.input) or ()
        known = {name: held for name, held in fields.items() if name in Inference.__dataclass_fields__}
        return replace(operation, **{"input": asked, "request_model": fields.get("response_model"), **known})
    settings: Mapping[str, Any] = said.model_config or {}
    return replace(
        operation,
        operation=semconv.CHAT,
        input=tuple(map(read_message, said.input or ())),
        output=tuple(map(read_message, said.output or ())),
        usage=_usage(said.usage),
        parameters={
            name: to_json(settings[name]) for name in ("temperature", "top_p", "max_tokens") if settings.get(name) is not None
        },
    )


def _usage(said: Mapping[str, Any] | None) -> Usage | None:
    """As a response tells it; the framework has 0 for each detail that nobody told it."""
    found = read_response_usage(said) if said else None
    if found is None:
        return None
    return replace(
        found,
        cache_read_input_tokens=found.cache_read_input_tokens or None,
        cache_write_input_tokens=found.cache_write_input_tokens or None,
        reasoning_output_tokens=found.reasoning_output_tokens or None,
    )
