"""The tools that Anthropic's beta tool runner runs, and the spans that the SDK would make itself.

The SDK can trace its own calls (1.x and 2.x, where the program has a TracerProvider). One call has one span: while ours is open
the SDK's own is left out, unless the program gave the client a TracerProvider of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import ToolStep, spanned, spanned_call
from llmtrace.instrumentation._provider import current_call
from llmtrace.instrumentation._selection import is_left_out, selected
from llmtrace.instrumentation._stainless import members
from llmtrace.model import TOOL_ERROR, Failure, ToolExecution, replace
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard
from llmtrace.validation.tool_definitions import read_definition


class _Step(ToolStep):
    def returned(self, result: Any) -> None:
        """End the span with the ``tool_result`` block. The runner does not raise what its tool raises."""
        block = members(result)
        content = to_json(block.get("content"))
        if block.get("is_error"):
            self.end(self.operation, result, Failure(TOOL_ERROR, content if isinstance(content, str) else ""))
        else:
            self.end(replace(self.operation, result=content, has_result=True), result)


def _begin(runner: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> _Step | None:
    """Open the span of the runner's method that runs one tool: (tool, tool_use)."""
    if selected and is_left_out(runner._client):
        return None
    tool, tool_use = args
    function = getattr(tool, "func", None)
    if type(function).__module__.startswith("llmtrace."):
        return None  # a function decorated with `llmtrace.tool` makes its span itself
    definition = read_definition(tool.to_dict())
    return _Step.begin(ToolExecution(tool_use.name, to_json(tool_use.input), call_id=tool_use.id, definition=definition))


run_tool, run_tool_async = spanned_call(_begin), spanned(_begin)


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
    return (_UNTRACED, tool), kwargs


_UNTRACED = SimpleNamespace(_tracer=None)


def _has_own_provider(client: Any) -> bool:
    options = getattr(client, "_open_telemetry", None)
    return isinstance(options, Mapping) and options.get("tracer_provider") is not None
