"""The tools that Anthropic's beta tool runner runs, and the spans that the SDK would make itself.

The SDK can trace its own calls (1.x and 2.x, where the program has a TracerProvider). One call has one span: while ours is open
the SDK's own is left out, unless the program gave the client a TracerProvider of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._coroutines import stepwise
from llmtrace.instrumentation._provider import current_call
from llmtrace.instrumentation._stainless import members
from llmtrace.model import TOOL_ERROR, Failure, ToolExecution, replace
from llmtrace.recorder import Recording, active, current
from llmtrace.recorder.guard import guard
from llmtrace.validation.schema import read_definition


def run_tool(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the runner's method that runs one tool: it gives a ``tool_result`` block and raises nothing itself."""
    recording = _begin(args)
    if recording is None:
        return wrapped(*args, **kwargs)
    try:
        with recording.use():
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        recording.end(exception=error)
        raise
    guard(_end, recording, result)
    return result


def run_tool_async(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """`run_tool` for the asynchronous runner, which awaits what this gives at once, in its own task."""
    return _awaited(wrapped(*args, **kwargs), args)


async def _awaited(running: Any, args: Any) -> Any:
    try:
        recording = _begin(args)
    except BaseException:
        running.close()
        raise
    if recording is None:
        return await running
    try:
        result = await stepwise(_Steps(recording), running)
    except BaseException as error:
        recording.end(exception=error)
        raise
    guard(_end, recording, result)
    return result


class _Steps:
    """Makes the tool's span current in each step of its coroutine."""

    def __init__(self, recording: Recording) -> None:
        self.enter, self.leave = recording.attach, recording.detach


def _begin(args: tuple[Any, ...]) -> Recording | None:
    """Open the span. None: nothing is to be recorded. Raises what a policy of the program's raises."""
    begun = guard(_started, *args)
    if isinstance(begun, LlmtraceError):
        raise begun
    return begun


def _started(tool: Any, tool_use: Any) -> Recording | LlmtraceError | None:
    recorder = active()
    function = getattr(tool, "func", None)
    if recorder is None or type(function).__module__.startswith("llmtrace."):
        return None  # a function decorated with `llmtrace.tool` makes its span itself
    outer = current()
    if outer is not None:
        outer.run.answered(tool_use.id)
    definition = read_definition(tool.to_dict())
    try:
        return recorder.start(ToolExecution(tool_use.name, to_json(tool_use.input), call_id=tool_use.id, definition=definition))
    except LlmtraceError as refusal:
        return refusal


def _end(recording: Recording, result: Any) -> None:
    block = members(result)
    told = to_json(block.get("content"))
    if block.get("is_error"):
        recording.end(failure=Failure(TOOL_ERROR, told if isinstance(told, str) else ""))
    else:
        recording.end(replace(recording.operation, result=told, has_result=True))


def without_own_span(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the SDK's function that starts the span of a call; None is what it gives when there is to be none."""
    call = current_call()
    if call is None or guard(_has_own_provider, call.client) is not False:
        return wrapped(*args, **kwargs)
    return None


def without_own_tool_span(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the SDK's block around the run of a tool: for a client without a tracer, it makes no span."""
    return wrapped(*(guard(_untraced, *args) or args), **kwargs)


def _untraced(client: Any, tool: Any) -> tuple[Any, ...] | None:
    """None where its span is wanted: nothing is recorded, or not this (a toolset), or the program asked for it."""
    if active() is None or not hasattr(tool, "call") or _has_own_provider(client):
        return None
    return _UNTRACED, tool


_UNTRACED = SimpleNamespace(_tracer=None)


def _has_own_provider(client: Any) -> bool:
    own = getattr(client, "_open_telemetry", None)
    return isinstance(own, Mapping) and own.get("tracer_provider") is not None
