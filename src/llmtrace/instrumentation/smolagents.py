"""smolagents: ``agent.run``, whole and streamed, managed agents, and tools of both kinds of agents.

A `ToolCallingAgent` runs tools by name, and refuses some calls itself; a `CodeAgent` calls them as functions in its code. Model
calls are recorded by the instrumentor of the client that the model uses.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._framework import POSITIONAL, tool_arguments
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import AgentInvocation, Operation

LIBRARY, DISTRIBUTION = "smolagents", "smolagents"
SUPPORTED = ">=1.20,<2"


class AgentRun(TracedFunction):
    """``agent.run(task)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = getattr(instance, "name", None) or type(instance).__name__
        return AgentInvocation(name, getattr(instance, "description", None), read_input(arguments.get("task")))

    def answer(self, result: Any) -> Any:
        """``result``: the last item of a stream, which is the final answer, or a full result that contains it."""
        kinds = (module := sys.modules.get("smolagents.agents")) and (module.FinalAnswerStep, module.RunResult)
        return result.output if kinds and isinstance(result, kinds) else result

    def stopped_at(self, instance: Any, result: Any) -> str:  # noqa: ARG002
        """Return the step limit at which the agent was stopped. It then asks the model for an answer without tools, and returns
        that like any other."""
        steps = instance.memory.steps
        is_stopped = bool(steps) and type(getattr(steps[-1], "error", None)).__name__ == "AgentMaxStepsError"
        return f"smolagents stopped it before it had an answer: {steps[-1].step_number - 1} steps" if is_stopped else ""


class ToolCallRun(TracedFunction):
    """``agent.execute_tool_call(name, arguments)``, which also refuses calls."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = arguments["tool_name"]
        return execution(name, arguments.get("arguments"), definition_of(getattr(instance, "tools", {}).get(name)))


class ToolRun(TracedFunction):
    """``tool(…)``, with its inputs by name, by position, or as one dict."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        values = tool_arguments(arguments, instance.inputs, "sanitize_inputs_outputs")
        only = next(iter(values.values()), None)
        is_alone = len(arguments.get(POSITIONAL, ())) == len(values) == 1
        if is_alone and isinstance(only, dict) and only.keys() <= instance.inputs.keys():
            values = only
        return execution(instance.name, values, definition_of(instance))


def definition_of(tool: Any) -> Any:
    models = sys.modules.get("smolagents.models")
    return None if models is None or tool is None else models.get_tool_json_schema(tool)


_AGENTS = "smolagents.agents"

PATCHES = (
    *patches(_AGENTS, AgentRun(), "MultiStepAgent.run"),
    *patches(_AGENTS, ToolCallRun(), "ToolCallingAgent.execute_tool_call"),
    *patches("smolagents.tools", ToolRun(), "Tool.__call__"),
)
