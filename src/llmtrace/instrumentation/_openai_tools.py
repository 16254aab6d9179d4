"""The tools that the client's runner of the Responses API runs (3.x): each is an execution, joined to the model's call.

What a function raises stops the runner, and goes through to the program; what a browser could not do is told to the model.
"""

from __future__ import annotations

from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import ToolStep, spanned, spanned_call
from llmtrace.instrumentation._openai_messages import arguments
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._selection import selected
from llmtrace.instrumentation._stainless import members
from llmtrace.model import TOOL_ERROR, Failure, ToolExecution, replace
from llmtrace.validation.tool_definitions import read_definition

_ABOUT = frozenset({"type", "id", "call_id", "status", "pending_safety_checks"})


class _Step(ToolStep):
    def returned(self, result: Any) -> None:
        """End the span with the item that the model gets; a browser also returns whether all went well."""
        item, is_fine = result if isinstance(result, tuple) else (result, True)
        failure = None if is_fine else Failure(TOOL_ERROR, _complaint(item["output"]))
        self.end(replace(self.operation, result=to_json(item["output"]), has_result=True), result, failure)


def _complaint(output: Any) -> str:
    answer = arguments(output[0]["text"])
    return str(answer.get("error") or "") if isinstance(answer, dict) else ""


def _function(runner: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> _Step | None:
    """Open the span of a runner's method that runs one registered function: (run, call)."""
    function = runner._functions[args[1].name]
    if hasattr(function.execute, "_self_spec"):
        return None  # decorated with `llmtrace.tool`, it makes its span itself
    return _begin(args[1], function.tool)


def _browser(toolset: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> _Step | None:
    return _begin(args[0], next((tool for tool in toolset.tools if tool["name"] == args[0].name), None))


def _computer(_toolset: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> _Step | None:
    return _begin(args[0])


def _begin(call: Any, tool: Any = None) -> _Step | None:
    if "openai" in selected:
        return None  # a runner does not say which client it works for
    return _Step.begin(
        ToolExecution(
            getattr(call, "name", "computer"),
            arguments(call.arguments) if hasattr(call, "arguments") else _actions(call),
            call_id=call.call_id,
            definition=None if tool is None else read_definition(tool),
        )
    )


def _actions(call: Any) -> dict[str, Any]:
    return {name: to_json(value) for name, value in members(call).items() if value is not None and name not in _ABOUT}


_RUNNER, _BROWSER, _COMPUTER = "openai.lib.responses_tool_runner", "openai.lib.browser", "openai.lib.computer"

TOOLS = (
    Patch(_RUNNER, "ResponsesToolRunner._execute_function", spanned_call(_function)),
    Patch(_RUNNER, "AsyncResponsesToolRunner._execute_function", spanned(_function)),
    Patch(_BROWSER, "BrowserToolset._dispatch", spanned_call(_browser)),
    Patch(_BROWSER, "AsyncBrowserToolset._dispatch", spanned(_browser)),
    Patch(_COMPUTER, "ComputerToolset._dispatch", spanned_call(_computer)),
    Patch(_COMPUTER, "AsyncComputerToolset._dispatch", spanned(_computer)),
)
