"""Google ADK: agents, including those that an agent hands over to, and their tools. The session is the conversation.

ADK writes spans of its own around ours, which have no arguments and results by default. They are left out: as they are stored
when they end, a killed program would leave ours without a parent. Model calls are recorded by the instrumentor of the client
that the model uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._google_content import read_content, read_tools
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches
from llmtrace.model import TOOL_ERROR, AgentInvocation, Failure, Operation, ToolDefinition, Workflow, replace

LIBRARY, DISTRIBUTION = "google.adk", "google-adk"
SUPPORTED = ">=2.13,<3"
REDUNDANT_SCOPES = ("gcp.vertex.agent",)


class RunnerRun(TracedFunction):
    """``runner.run_async(user_id, session_id, new_message)``, a stream of events."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        question = arguments.get("new_message")
        return Workflow(instance.app_name, input=() if question is None else (read_content(question),))

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return arguments.get("session_id")

    def fold(self, folded: Any, item: Any) -> Any:
        return item if item.error_code or (item.content and item.is_final_response()) else folded

    def answer(self, result: Any) -> Any:
        content = getattr(result, "content", None)
        return None if content is None else replace(read_content(content), role="assistant")

    def failure(self, result: Any) -> Failure | None:
        """Return the failure of a model that ADK reports as an event."""
        code = getattr(result, "error_code", None)
        return Failure("agent_error", str(result.error_message or code)) if code else None


class AgentRun(RunnerRun):
    """``agent.run_async(context)``, a stream of events."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        question = getattr(arguments["parent_context"], "user_content", None)
        return AgentInvocation(
            instance.name, instance.description or None, () if question is None else (read_content(question),)
        )

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return arguments["parent_context"].session.id


class ToolRun(TracedFunction):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:  # noqa: ARG002
        tool, call_id = arguments["tool"], arguments["tool_context"].function_call_id
        return execution(tool.name, arguments["args"], definition_of(tool), call_id)

    def failure(self, result: Any) -> Failure | None:
        """Return the failure that ADK reports to the model: the answer has only the field ``error``."""
        is_error = isinstance(result, dict) and list(result) == ["error"]
        return Failure(TOOL_ERROR, str(result["error"])) if is_error else None


def definition_of(tool: Any) -> ToolDefinition | None:
    declared = tool._get_declaration()
    return next(iter(read_tools([{"function_declarations": [declared]}])), None) if declared is not None else None


PATCHES = (
    *patches("google.adk.runners", RunnerRun(), "Runner.run_async"),
    *patches("google.adk.agents.base_agent", AgentRun(), "BaseAgent.run_async"),
    *patches("google.adk.flows.llm_flows.tools._caller", ToolRun(), "_call_tool_async"),
)
