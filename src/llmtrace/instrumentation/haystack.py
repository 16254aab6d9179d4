"""Haystack: pipelines, agents, tools, and the retrievers of a pipeline.

Model calls are recorded by the instrumentor of the client that the generator uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import context as otel_context

from llmtrace.content import to_json
from llmtrace.instrumentation._patches import Patch, after
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import AgentInvocation, Operation, Retrieval, Workflow

LIBRARY, DISTRIBUTION = "haystack", "haystack-ai"
SUPPORTED = ">=3.4,<4"


class PipelineRun(TracedFunction):
    """``pipeline.run(data)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return Workflow(type(instance).__name__, input=read_input(to_json(arguments.get("data"))))

    def fold(self, folded: Any, item: Any) -> Any:
        return {**(folded or {}), **item} if isinstance(item, dict) else folded

    def answer(self, result: Any) -> Any:
        return to_json(result)


class AgentRun(TracedFunction):
    """``agent.run(messages)``. An agent has no name except that of its component in a pipeline."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = getattr(instance, "__component_name__", None) or type(instance).__name__
        return AgentInvocation(name, input=read_input(arguments.get("messages") or None))

    def answer(self, result: Any) -> Any:
        return result.get("last_message")

    def stopped_at(self, instance: Any, result: Any) -> str:
        is_stopped = result.get("exit_reason") == "max_agent_steps"
        return f"Haystack stopped it before it had an answer: {instance.max_agent_steps} steps" if is_stopped else ""


class ToolRun(TracedFunction):
    """``tool.invoke(…)`` and ``tool.invoke_async(…)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        calls: Any = otel_context.get_value(_CALL) or []
        call_id = calls.pop().id if calls and calls[0].tool_name == instance.name else None
        return execution(instance.name, dict(arguments), instance.tool_spec, call_id)


_CALL = "llmtrace-haystack-call"
"""Key in the context: a list of the model's call that an agent runs next; empty once it runs."""


def _note_call(_span: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the call whose span an agent opens around its tool, in a copy of the context or a task that only this call uses."""
    call = kwargs.get("tool_call", args[1] if len(args) > 1 else None)
    otel_context.attach(otel_context.set_value(_CALL, [] if call is None else [call]))


class ComponentRun(TracedFunction):
    """A pipeline's run of a component. Only retrievers are recorded."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        kind = type(arguments["component"]["instance"]).__name__
        if not kind.endswith("Retriever"):
            return None
        inputs = arguments.get("inputs") or arguments.get("component_inputs") or {}
        query, top = inputs.get("query"), inputs.get("top_k")
        return Retrieval(kind, query if isinstance(query, str) else None, top_k=top if isinstance(top, int) else None)

    def answer(self, result: Any) -> Iterator[Any]:
        for found in result.get("documents") or ():
            yield {"id": found.id, "content": found.content, "score": found.score, "metadata": found.meta}


_PIPELINE = "haystack.core.pipeline.pipeline"

PATCHES = (
    *patches(_PIPELINE, PipelineRun(), "Pipeline.run", "Pipeline.run_async", "Pipeline.run_async_generator"),
    *patches(_PIPELINE, ComponentRun(), "Pipeline._run_component", "Pipeline._run_component_async"),
    *patches("haystack.components.agents.agent", AgentRun(), "Agent.run", "Agent.run_async"),
    Patch("haystack.components.agents.tool_calling", "_create_tool_span", after(_note_call)),
    *patches("haystack.tools.tool", ToolRun(), "Tool.invoke", "Tool.invoke_async"),
)
