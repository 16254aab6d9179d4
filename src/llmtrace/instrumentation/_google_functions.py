"""Automatic function calling: the Python functions that the SDK runs for the model, each an execution of a tool; and, where
nothing else is around it, the loop of calls and executions, so that they are one run.

What a function raises becomes the answer to the model inside the SDK; here it is the span's failure. A function that is
llmtrace's own ``@tool`` records itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._framework import SpanStep, spanned, spanned_call
from llmtrace.instrumentation._generators import follow
from llmtrace.instrumentation._google_parts import python_members
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._streams import Watch
from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import Operation, ToolExecution, Workflow
from llmtrace.recorder import active, current
from llmtrace.recorder.guard import guard

LOOP = "automatic_function_calling"
"""The name of the workflow that a loop is."""


class FunctionRun(TracedFunction):
    """What runs a function for the model: (args, function_to_invoke)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        function = arguments["function_to_invoke"]
        if hasattr(function, "_self_spec"):
            return None  # decorated with `llmtrace.tool`, it makes its span itself
        return ToolExecution(function.__name__, to_json(arguments["args"]))


class _Step(SpanStep):
    """A loop of calls and executions."""

    def enter(self) -> Any:
        return self.recording.attach()

    def leave(self, token: Any) -> None:
        self.recording.detach(token)


def _loop(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Step | None:
    recorder = active()
    if recorder is None or current() is not None or not _may_loop(instance, args, kwargs):
        return None
    operation = Workflow(LOOP)
    return _Step(recorder.start(operation), operation)


def _may_loop(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Return True if the SDK can run one of the tools: a Python function or an MCP session.

    The tools stand in the configuration of the call, or in that of the chat whose method it is.
    """
    config = kwargs.get("config") or (args[1] if len(args) > 1 else None) or getattr(instance, "_config", None)
    tools = python_members(config).get("tools")
    return isinstance(tools, (list, tuple)) and any(callable(tool) or hasattr(tool, "call_tool") for tool in tools)


def _run_stream(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for a function whose generator goes through the loop."""
    inner = wrapped(*args, **kwargs)
    if active() is None or not guard(_may_loop, instance, args, kwargs):
        return inner
    return follow(inner, lambda _: _streamed(instance, args, kwargs))


def _streamed(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Watch | LlmtraceError | None:
    try:
        step = _loop(instance, args, kwargs)
    except LlmtraceError as refusal:
        return refusal
    return None if step is None else _Loop(step)


class _Loop(Watch):
    """A function-calling loop whose chunks go to the program; each of its steps runs inside its span."""

    def __init__(self, step: _Step) -> None:
        self.call: Any = step
        self.chunks = 0

    def see(self, chunk: Any) -> None:
        pass

    def _end(self, error: BaseException | None, *, partial: bool) -> None:  # noqa: ARG002
        step, self.call = self.call, None
        if step is not None:
            step.recording.end(step.operation, exception=error)


_MODULE, _MODELS, _CHATS = "google.genai._extra_utils", "google.genai.models", "google.genai.chats"

FUNCTIONS = (
    *patches(_MODULE, FunctionRun(), "invoke_function_from_dict_args", "invoke_function_from_dict_args_async"),
    Patch(_MODELS, "Models.generate_content", spanned_call(_loop)),
    Patch(_MODELS, "AsyncModels.generate_content", spanned(_loop)),
    Patch(_MODELS, "Models.generate_content_stream", _run_stream),
    Patch(_MODELS, "AsyncModels.generate_content_stream", _run_stream),
    Patch(_CHATS, "Chat.send_message", spanned_call(_loop)),
    Patch(_CHATS, "AsyncChat.send_message", spanned(_loop)),
    Patch(_CHATS, "Chat.send_message_stream", _run_stream),
    Patch(_CHATS, "AsyncChat.send_message_stream", _run_stream),
)
