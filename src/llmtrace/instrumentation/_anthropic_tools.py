"""The tools that Anthropic's beta tool runner runs, and the spans that the SDK would make itself.

The SDK can trace its own calls (1.x and 2.x, where the program has a TracerProvider). One call has one span: while ours is open
the SDK's own is left out, unless the program gave the client a TracerProvider of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._provider import current_call
from llmtrace.instrumentation._selection import is_left_out, selected
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._traced_functions import TracedFunction
from llmtrace.model import TOOL_ERROR, Failure, Operation, ToolExecution
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard
from llmtrace.validation.tool_definitions import read_definition


class ToolRun(TracedFunction):
    """A runner's method that runs one tool: (tool, tool_use). It does not raise what the tool raises."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        tool, call = arguments.values()
        # a function decorated with `llmtrace.tool` makes its span itself
        is_decorated = type(getattr(tool, "func", None)).__module__.startswith("llmtrace.")
        if is_decorated or (selected and is_left_out(instance._client)):
            return None
        return ToolExecution(call.name, to_json(call.input), call_id=call.id, definition=read_definition(tool.to_dict()))

    def answer(self, result: Any) -> Any:
        return members(result).get("content")

    def failure(self, result: Any) -> Failure | None:
        content = self.answer(result)
        is_error = members(result).get("is_error")
        return Failure(TOOL_ERROR, content if isinstance(content, str) else "") if is_error else None


def without_own_span(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the SDK's function that starts its own span of a call: returns None, which means no span."""
    call = current_call()
    if call is None or guard(_has_own_provider, call.client) is not False:
        return wrapped(*args, **kwargs)
    return None


def without_own_tool_span(_instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Pass a client without a tracer to the SDK's own span of a tool run, which is none then; None if it should stay."""
    client, tool = args
    if active() is None or not hasattr(tool, "call") or _has_own_provider(client) or is_left_out(client):
        return None
    return (SimpleNamespace(_tracer=None), tool), kwargs


def _has_own_provider(client: Any) -> bool:
    options = getattr(client, "_open_telemetry", None)
    return isinstance(options, Mapping) and options.get("tracer_provider") is not None
