"""AutoGen: agents, teams and tools of ``autogen-agentchat``.

AutoGen writes spans of its own, without inputs and results: those of tools stay as plain spans below ours. An agent that a team
runs is recorded only by AutoGen's span. Model calls are recorded by the instrumentor of the client that the model uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import AgentInvocation, Message, Operation, Workflow

LIBRARY, DISTRIBUTION = "autogen_agentchat", "autogen-agentchat"
SUPPORTED = ">=0.7,<1"
REDUNDANT_SCOPES = ("autogen SingleThreadedAgentRuntime",)
"""Of the messages between the agents of a team: four in five spans of a team's run."""


class AgentRun(TracedFunction):
    """``agent.run(task=…)`` and ``agent.run_stream(task=…)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return AgentInvocation(instance.name, instance.description, _messages(arguments.get("task")))

    def answer(self, result: Any) -> Any:
        """``result``: a ``TaskResult``, which is also the last item of a stream."""
        return _content(result.messages[-1]) if result.messages else None


class TeamRun(AgentRun):
    """``team.run(task=…)`` and ``team.run_stream(task=…)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return Workflow(instance.name or type(instance).__name__, input=_messages(arguments.get("task")))


class ToolRun(TracedFunction):
    """``tool.run_json(arguments, …, call_id)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return execution(instance.name, arguments["args"], instance.schema, arguments.get("call_id"))


def _messages(task: Any) -> tuple[Message, ...]:
    tasks = task if isinstance(task, (list, tuple)) else () if task is None else (task,)
    return tuple([message for item in tasks for message in read_input(_content(item))])


def _content(message: Any) -> Any:
    return getattr(message, "content", message)


_AGENT, _TOOL = "autogen_agentchat.agents._base_chat_agent", "autogen_core.tools._base"
_TEAM = "autogen_agentchat.teams._group_chat._base_group_chat"

PATCHES = (
    *patches(_AGENT, AgentRun(), "BaseChatAgent.run", "BaseChatAgent.run_stream"),
    *patches(_TEAM, TeamRun(), "BaseGroupChat.run", "BaseGroupChat.run_stream"),
    *patches(_TOOL, ToolRun(), "BaseTool.run_json", "BaseStreamTool.run_json_stream"),
)
