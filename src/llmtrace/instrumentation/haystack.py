"""Haystack: pipelines, agents, tools, and the retrievers of a pipeline.

Model calls are recorded by the instrumentor of the client that the generator uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._traced_functions import TracedFunction, read_input, read_output, traced_function
from llmtrace.model import AgentInvocation, Message, Operation, Retrieval, Text, ToolExecution, Workflow, replace
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "haystack", "haystack-ai"
SUPPORTED = ">=3.4,<4"
"""Versions of the library that are tested."""


class PipelineRun(TracedFunction):
    """``pipeline.run(data)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return Workflow(type(instance).__name__, input=read_input(to_json(arguments.get("data"))))

    def fold(self, folded: Any, item: Any) -> Any:
        """Join what the components give, one after the other."""
        return {**(folded or {}), **item} if isinstance(item, dict) else folded

    def complete(self, operation: Operation, result: Any) -> Operation:
        return replace(operation, output=read_output(to_json(result))) if isinstance(operation, Workflow) else operation


class AgentRun(TracedFunction):
    """``agent.run(messages)``. An agent has no name but that of its component in a pipeline."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = getattr(instance, "__component_name__", None) or type(instance).__name__
        return AgentInvocation(name, input=tuple(map(_message, arguments.get("messages") or ())))

    def complete(self, operation: Operation, result: Any) -> Operation:
        answer = result.get("last_message")
        is_complete = answer is not None and isinstance(operation, AgentInvocation)
        return replace(operation, output=(_message(answer),)) if is_complete else operation


class ToolRun(TracedFunction):
    """``tool.invoke(…)`` and ``tool.invoke_async(…)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        definition = read_definition({"type": "function", "function": instance.tool_spec})
        return ToolExecution(instance.name, to_json(dict(arguments)), definition=definition)


class ComponentRun(TracedFunction):
    """A pipeline's run of one component, of which a retriever is recorded."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        kind = type(arguments["component"]["instance"]).__name__
        if not kind.endswith("Retriever"):
            return None
        inputs = arguments.get("inputs") or arguments.get("component_inputs") or {}
        query, top = inputs.get("query"), inputs.get("top_k")
        return Retrieval(kind, query if isinstance(query, str) else None, top_k=top if isinstance(top, int) else None)

    def complete(self, operation: Operation, result: Any) -> Operation:
        documents = [
            {"id": document.id, "content": document.content, "score": document.score, "metadata": to_json(document.meta)}
            for document in result.get("documents") or ()
        ]
        return replace(operation, documents=documents) if isinstance(operation, Retrieval) else operation


def _message(message: Any) -> Message:
    return Message(str(getattr(message.role, "value", message.role)), (Text(message.text or ""),))


_PIPELINE = "haystack.core.pipeline.pipeline"

PATCHES = (
    *(
        Patch(_PIPELINE, f"Pipeline.{name}", traced_function(PipelineRun()))
        for name in ("run", "run_async", "run_async_generator")
    ),
    *(
        Patch(_PIPELINE, f"Pipeline.{name}", traced_function(ComponentRun()))
        for name in ("_run_component", "_run_component_async")
    ),
    *(Patch("haystack.components.agents.agent", f"Agent.{name}", traced_function(AgentRun())) for name in ("run", "run_async")),
    *(Patch("haystack.tools.tool", f"Tool.{name}", traced_function(ToolRun())) for name in ("invoke", "invoke_async")),
)
