"""Agno: agents, teams and workflows, whole and streamed, and their tools.

Model calls are recorded by the instrumentor of the client that the model uses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import AsyncGeneratorType, GeneratorType, SimpleNamespace
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import TOOL_ERROR, AgentInvocation, Failure, Operation, Workflow

LIBRARY, DISTRIBUTION = "agno", "agno"
SUPPORTED = ">=3.0,<4"


class AgentRun(TracedFunction):
    """``agent.run(input)`` and ``agent.arun(input)``."""

    events = "Run"
    """Prefix of the names of its own events; a team's stream also has those of its members."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = instance.name or type(instance).__name__
        return AgentInvocation(name, getattr(instance, "description", None), read_input(arguments.get("input")))

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:
        return arguments.get("session_id") or instance.session_id

    def answer(self, result: Any) -> Any:
        """``result``: a run's output, or the last event of its stream with the content so far."""
        return None if self.failure(result) else getattr(result, "content", None)

    def fold(self, folded: Any, item: Any) -> Any:
        """Join the pieces of the content, until an event, or the run's output, has all of it."""
        event = getattr(item, "event", None)
        if event == f"{self.events}Content":
            piece, before = getattr(item, "content", None), getattr(folded, "content", None)
            return SimpleNamespace(content=(before or "") + piece) if isinstance(piece, str) else item
        return item if event in (None, f"{self.events}Completed", f"{self.events}Error") else folded

    def failure(self, result: Any) -> Failure | None:
        """Return the failure of a run that ended with an error that the framework does not raise."""
        status = str(getattr(getattr(result, "status", None), "value", "")).lower()
        is_error = status == "error" or str(getattr(result, "event", "")).endswith("Error")
        return Failure("agent_error", str(getattr(result, "content", None) or "")) if is_error else None


class WorkflowRun(AgentRun):
    """``workflow.run(input)`` and ``workflow.arun(input)``."""

    events = "Workflow"

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return Workflow(instance.name or type(instance).__name__, input=read_input(arguments.get("input")))


class TeamRun(WorkflowRun):
    """``team.run(input)`` and ``team.arun(input)``."""

    events = "TeamRun"


class ToolRun(TracedFunction):
    """``function_call.execute()`` and ``function_call.aexecute()``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:  # noqa: ARG002
        function = instance.function
        return execution(function.name, instance.arguments or {}, function.to_dict(), instance.call_id)

    def follow_stream(self, instance: Any, result: Any, follow: Callable[[Any], Any]) -> bool:
        """A team's tool for a member returns a generator, in which the member runs."""
        if not isinstance(result.result, (GeneratorType, AsyncGeneratorType)):
            return False
        instance.result = result.result = follow(result.result)
        return True

    def fold(self, folded: Any, item: Any) -> Any:
        """Join the pieces of the text that the framework gives to the model."""
        event, content = getattr(item, "event", None), getattr(item, "content", None)
        if event is None:
            content = str(item)
        elif event not in ("RunContent", "TeamRunContent", "WorkflowCompleted"):
            content = None
        piece = content if isinstance(content, str) or content is None else json.dumps(to_json(content), ensure_ascii=False)
        return SimpleNamespace(result=getattr(folded, "result", "") + (piece or ""))

    def answer(self, result: Any) -> Any:
        """``result``: what the framework returns; of a generator the joined text, or the empty list of its items."""
        return getattr(result, "result", "")

    def failure(self, result: Any) -> Failure | None:
        is_failure = getattr(result, "status", None) == "failure"
        return Failure(TOOL_ERROR, str(result.error or "")) if is_failure else None

    def on_answer(self, instance: Any, result: Any) -> None:
        """Set the outcome on the call, from which the framework reads it."""
        instance.result, instance.error = result.result, result.error


PATCHES = (
    *patches("agno.agent.agent", AgentRun(), "Agent.run", "Agent.arun"),
    *patches("agno.team.team", TeamRun(), "Team.run", "Team.arun"),
    *patches("agno.workflow.workflow", WorkflowRun(), "Workflow.run", "Workflow.arun"),
    *patches("agno.tools.function", ToolRun(), "FunctionCall.execute", "FunctionCall.aexecute"),
)
