"""The functions that a run of a conversation (``beta.conversations.run_async``) runs for the model: each is an execution,
joined to the model's call by its id.

What a function raises goes on as the SDK's own error, or is told to the model where the run is to go on; here it is the span's
failure. The SDK opens a span of its own inside ours, which stays as a plain one.
"""

from __future__ import annotations

from typing import Any

from llmtrace.instrumentation._framework import ToolStep, spanned
from llmtrace.instrumentation._openai_messages import arguments
from llmtrace.instrumentation._patches import Patch
from llmtrace.model import TOOL_ERROR, Failure, ToolExecution, replace
from llmtrace.validation.tool_definitions import read_definition

_COMPLAINT = "Error while executing {}: "
"""How the SDK begins what it tells the model of an error."""


class _Step(ToolStep):
    def returned(self, result: Any) -> None:
        """End the span with the entry that the model gets."""
        content, complaint = result.result, _COMPLAINT.format(self.operation.name)
        failed = isinstance(content, str) and content.startswith(complaint)
        failure = Failure(TOOL_ERROR, content[len(complaint) :]) if failed else None
        self.end(replace(self.operation, result=content, has_result=True), result, failure)

    def raised(self, error: BaseException) -> None:
        super().raised(error.__cause__ or error)


def _begin(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Step | None:
    """Open the span of the SDK's function (function_call, run_tool, continue_on_fn_error)."""
    parameters = dict(zip(("function_call", "run_tool"), args, strict=False)) | kwargs
    call, tool = parameters["function_call"], parameters["run_tool"]
    function = getattr(tool, "callable", None) or getattr(tool, "awaitable", None)
    if hasattr(function, "_self_spec"):
        return None  # decorated with `llmtrace.tool`, it makes its span itself
    definition = read_definition(tool.tool)
    return _Step.begin(ToolExecution(call.name, arguments(call.arguments), call_id=call.tool_call_id, definition=definition))


TOOLS = (Patch("mistralai.extra.run.context", "create_function_result", spanned(_begin)),)
"""Where the SDK's run takes the function from; it is defined in a module beside it."""
