"""The tools that the client's runner of the Responses API runs (3.x): each is an execution, joined to the model's call.

What a function raises stops the runner, and goes through to the program; what a browser could not do is told to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._openai_messages import arguments as read_arguments
from llmtrace.instrumentation._selection import selected
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import TOOL_ERROR, Failure, Operation, ToolExecution
from llmtrace.validation.tool_definitions import read_definition

_ABOUT = frozenset({"type", "id", "call_id", "status", "pending_safety_checks"})


class FunctionRun(TracedFunction):
    """A runner's method that runs one registered function: (run, call)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        _, call = arguments.values()
        function = instance._functions[call.name]
        # a runner does not say which client it works for; what is decorated with `llmtrace.tool` makes its span itself
        if "openai" in selected or hasattr(function.execute, "_self_spec"):
            return None
        return ToolExecution(
            call.name, read_arguments(call.arguments), call_id=call.call_id, definition=read_definition(function.tool)
        )

    def answer(self, result: Any) -> Any:
        """Read the item that the model gets."""
        return result["output"]


class BrowserRun(TracedFunction):
    """A method that runs one call of a browser: (call, …). It also returns whether all went well."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        call = next(iter(arguments.values()))
        if "openai" in selected:
            return None
        definition = next((read_definition(tool) for tool in instance.tools if tool["name"] == call.name), None)
        return ToolExecution(call.name, read_arguments(call.arguments), call_id=call.call_id, definition=definition)

    def answer(self, result: Any) -> Any:
        return result[0]["output"]

    def failure(self, result: Any) -> Failure | None:
        item, is_fine = result
        if is_fine:
            return None
        answer = read_arguments(item["output"][0]["text"])
        return Failure(TOOL_ERROR, str(answer.get("error") or "") if isinstance(answer, dict) else "")


class ComputerRun(FunctionRun):
    """A method that runs one call of a computer: (call, …)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        call = next(iter(arguments.values()))
        actions = {name: to_json(value) for name, value in members(call).items() if value is not None and name not in _ABOUT}
        return None if "openai" in selected else ToolExecution("computer", actions, call_id=call.call_id)


TOOLS = (
    *patches(
        "openai.lib.responses_tool_runner",
        FunctionRun(),
        "ResponsesToolRunner._execute_function",
        "AsyncResponsesToolRunner._execute_function",
    ),
    *patches("openai.lib.browser", BrowserRun(), "BrowserToolset._dispatch", "AsyncBrowserToolset._dispatch"),
    *patches("openai.lib.computer", ComputerRun(), "ComputerToolset._dispatch", "AsyncComputerToolset._dispatch"),
)
