"""Automatic function calling: the Python functions that the SDK runs for the model, each an execution of a tool.

What a function raises becomes the answer to the model inside the SDK; here it is the span's failure. A function that is
llmtrace's own ``@tool`` records itself.
"""

from __future__ import annotations

from typing import Any

from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._framework import spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.model import ToolCall, ToolExecution, replace
from llmtrace.recorder import Recording, active, current
from llmtrace.recorder.guard import guard


class _Execution:
    """A function that the SDK runs for the model."""

    def __init__(self, recording: Recording, operation: ToolExecution) -> None:
        self.recording = recording
        self.context = recording.context
        self.operation = operation

    def returned(self, result: Any) -> None:
        self.recording.end(replace(self.operation, result=to_json(result), has_result=True))

    def raised(self, error: BaseException) -> None:
        self.recording.end(self.operation, exception=error)


def _begin(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Execution | None:
    """Both functions of the SDK are called with (arguments, function)."""
    given = dict(zip(("args", "function_to_invoke"), args, strict=False)) | kwargs
    function, recorder, around = given["function_to_invoke"], active(), current()
    if recorder is None or hasattr(function, "_self_spec"):
        return None
    call = ToolCall(function.__name__, to_json(given["args"]))
    call_id = None if around is None else guard(around.run.match, call.name, call.arguments)
    operation = ToolExecution(call.name, call.arguments, call_id=call_id, inferred=call_id is not None)
    return _Execution(recorder.start(operation), operation)


def _run(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function of the SDK that runs a plain function."""
    execution = guard(_begun, instance, args, kwargs)
    if execution is None:
        return wrapped(*args, **kwargs)
    if isinstance(execution, LlmtraceError):
        raise execution
    token = execution.recording.attach()
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        Recording.detach(token)
        guard(execution.raised, error)
        raise
    Recording.detach(token)
    guard(execution.returned, result)
    return result


def _begun(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Execution | LlmtraceError | None:
    try:
        return _begin(instance, args, kwargs)
    except LlmtraceError as refusal:
        return refusal


_MODULE = "google.genai._extra_utils"

FUNCTIONS = (
    Patch(_MODULE, "invoke_function_from_dict_args", _run),
    Patch(_MODULE, "invoke_function_from_dict_args_async", spanned(_begin)),
)
