"""CrewAI: crews and flows, agents and their tools.

A tool runs by a tool call of the model, by a parsed text if the model writes prose, or by the program. Model calls are recorded
by the instrumentor of the client that the model uses.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._framework import POSITIONAL, tool_arguments
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import TOOL_ERROR, AgentInvocation, Failure, Operation, ToolDefinition, Workflow
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "crewai", "crewai"
SUPPORTED = ">=1.15,<2"

_UTILITIES = "crewai.utilities.agent_utils"
_EXECUTOR, _STEPS = "crewai.agents.agent_executor", "crewai.agents.step_executor"


class CrewRun(TracedFunction):
    """``crew.kickoff(inputs)`` and its async forms, of a crew or a flow."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        if getattr(instance, "stream", False):
            return None  # it runs itself once more without, in a thread
        if type(instance).__module__ == _EXECUTOR:
            return None  # an agent's own loop, which is a flow
        name = getattr(instance, "name", None) or type(instance).__name__
        return Workflow(name, input=read_input(arguments.get("inputs")))

    def answer(self, result: Any) -> Any:
        return getattr(result, "raw", result)


class AgentRun(CrewRun):
    """``agent.execute_task(task)`` in a crew, and ``agent.kickoff(messages)`` without one."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        task = arguments.get("task")
        task_text = arguments.get("messages") if task is None else task.description
        return AgentInvocation(instance.role.strip(), instance.goal, read_input(task_text))


class CallRun(TracedFunction):
    takes_answer = False

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        read = sys.modules[_UTILITIES].extract_tool_call_info(arguments["tool_call"])
        if read is None:
            return None
        call_id, name, values = read
        tools = arguments.get("original_tools") or getattr(instance, "original_tools", None) or ()
        declared = next((tool for tool in map(definition_of, tools) if tool is not None and tool.name == name), None)
        return execution(name, values, declared, call_id)

    def answer(self, result: Any) -> Any:
        return _part(result, "result")

    def failure(self, result: Any) -> Failure | None:
        """Return the failure of a call that did not reach a tool: its arguments are not JSON, or the tool does not exist."""
        text = _part(result, "result")
        refused = _part(result, "tool_failure") is not None or text == "Tool not found"
        return Failure(TOOL_ERROR, str(text)) if refused else None


class ToolRun(TracedFunction):
    """``tool.run(…)``, and ``invoke(input)`` of the framework's form of the tool."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        definition = definition_of(instance)
        name = definition.name if definition is not None else instance.name
        if isinstance(arguments.get("input"), dict):
            return execution(name, arguments["input"], definition)
        values = tool_arguments(arguments, instance.args_schema.model_fields if POSITIONAL in arguments else ())
        return execution(name, values, definition)

    def failure(self, result: Any) -> Failure | None:
        """Return the failure that the tool reports in its result."""
        module = sys.modules.get("crewai.tools.tool_failure")
        return Failure(TOOL_ERROR, result.message) if module is not None and isinstance(result, module.ToolFailure) else None


def definition_of(tool: Any) -> ToolDefinition | None:
    schemas = sys.modules[_UTILITIES].convert_tools_to_openai_schema([tool])[0]
    return read_definition(schemas[0]) if schemas else None


def _part(result: Any, name: str) -> Any:
    return result.get(name) if isinstance(result, dict) else getattr(result, name, None)


_KICKOFFS = ("kickoff", "kickoff_async", "akickoff")

PATCHES = (
    *patches("crewai.crew", CrewRun(), *(f"Crew.{name}" for name in _KICKOFFS)),
    *patches("crewai.flow.runtime", CrewRun(), *(f"Flow.{name}" for name in _KICKOFFS)),
    *patches("crewai.agent.core", AgentRun(), *(f"Agent.{name}" for name in ("execute_task", "aexecute_task", *_KICKOFFS))),
    *patches(_EXECUTOR, CallRun(), "AgentExecutor._execute_single_native_tool_call"),
    *patches(_STEPS, CallRun(), "execute_single_native_tool_call"),
    *patches("crewai.tools.base_tool", ToolRun(), "BaseTool.run", "BaseTool.arun", "Tool.run", "Tool.arun"),
    *patches("crewai.tools.structured_tool", ToolRun(), "CrewStructuredTool.invoke", "CrewStructuredTool.ainvoke"),
)
