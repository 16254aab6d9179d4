"""LlamaIndex: agents and workflows, their tools, query engines and retrievers.

``run()`` of an agent or workflow returns a handler at once; the span ends with the handler. Model calls are recorded by the
instrumentor of the client that the model uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmtrace.instrumentation._framework import POSITIONAL, tool_arguments
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import TOOL_ERROR, AgentInvocation, Failure, Operation, Retrieval, Workflow

LIBRARY, DISTRIBUTION = "llama_index.core", "llama-index-core"
SUPPORTED = ">=0.14.10,<1"


class WorkflowRun(TracedFunction):
    """``workflow.run(…)`` of a workflow that the program defines."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        inputs = {name: value for name, value in arguments.items() if name not in ("ctx", "run_id") and value is not None}
        return Workflow(type(instance).__name__, input=read_input(inputs or None))

    def answer(self, result: Any) -> Any:
        answer = getattr(result, "result", result)
        return getattr(answer, "response", answer)

    def end_later(self, result: Any, end: Callable[[Any, BaseException | None], None]) -> bool:
        """``result``: a handler, which holds the task that waits for the run's last event."""
        task = getattr(result, "_result_task", None)
        if not isinstance(task, asyncio.Future):
            return False

        def end_with(done: Any) -> None:
            # `exception()` would tell asyncio that the program has seen the exception; asyncio reports those that nobody saw
            error = asyncio.CancelledError() if done.cancelled() else done._exception
            end(None if error is not None else done.result(), error)

        task.add_done_callback(end_with)
        return True


class AgentRun(WorkflowRun):
    """``agent.run(user_msg)`` of one agent, or of an `AgentWorkflow` of several."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        positional = arguments.get(POSITIONAL) or (None,)
        question = arguments.get("user_msg") or (None if type(positional[0]).__name__ == "Context" else positional[0])
        messages = (*read_input(arguments.get("chat_history") or None), *read_input(question))
        if hasattr(instance, "agents"):
            return Workflow(type(instance).__name__, input=messages)
        return AgentInvocation(instance.name, instance.description or None, messages)

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return getattr(arguments.get("memory"), "session_id", None)


class AgentStep(TracedFunction):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:  # noqa: ARG002
        event = arguments["ev"]
        return AgentInvocation(event.current_agent_name, input=read_input(event.input[-1:] or None))

    def answer(self, result: Any) -> Any:
        return result.response


class _ToolRun(TracedFunction):
    def answer(self, result: Any) -> Any:
        output = _output_of(result)
        return output.raw_output if type(output.raw_output) in _PLAIN else output.content

    def failure(self, result: Any) -> Failure | None:
        output = _output_of(result)
        return Failure(TOOL_ERROR, str(output.content)) if output.is_error else None


class ToolCallRun(_ToolRun):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        event = arguments["ev"]
        agents = getattr(instance, "agents", None) or {"": instance}
        tools = [tool for agent in agents.values() for tool in agent.tools or ()]
        definition = next(filter(None, (definition_of(tool, event.tool_name) for tool in tools)), None)
        return execution(event.tool_name, event.tool_kwargs, definition, event.tool_id)


class FunctionToolRun(_ToolRun):
    """``tool.call(…)`` by the program, or by a function of the library that selects a tool."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = instance.metadata.get_name()
        properties = instance.metadata.get_parameters_dict().get("properties", {}) if POSITIONAL in arguments else ()
        values = tool_arguments(arguments, properties, instance.ctx_param_name)
        return execution(name, values, definition_of(instance, name))


class QueryRun(TracedFunction):
    """``query_engine.query(question)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return Workflow(type(instance).__name__, input=read_input(_query(arguments.get("str_or_query_bundle"))))

    def answer(self, result: Any) -> Any:
        return str(result)


class RetrieverRun(TracedFunction):
    """``retriever.retrieve(question)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        top = getattr(instance, "similarity_top_k", None)
        query = _query(arguments.get("str_or_query_bundle"))
        return Retrieval(type(instance).__name__, query, top_k=top if isinstance(top, int) else None)

    def answer(self, result: Any) -> Iterator[Any]:
        for found in result:
            node = found.node
            yield {"id": node.node_id, "content": node.get_content(), "score": found.score, "metadata": node.metadata}


_PLAIN = frozenset({str, int, float, bool, dict, list, type(None)})


def definition_of(tool: Any, name: str) -> Any:
    """Return the definition that the framework sends to a model, if the tool has this name."""
    metadata = getattr(tool, "metadata", None)
    return metadata.to_openai_tool() if metadata is not None and metadata.name == name else None


def _output_of(result: Any) -> Any:
    return getattr(result, "tool_output", result)


def _query(query: Any) -> str | None:
    return query if isinstance(query, str) else getattr(query, "query_str", None)


_BASE, _MULTI = "llama_index.core.agent.workflow.base_agent", "llama_index.core.agent.workflow.multi_agent_workflow"
_QUERY, _RETRIEVER = "llama_index.core.base.base_query_engine", "llama_index.core.base.base_retriever"

PATCHES = (
    *patches("workflows.workflow", WorkflowRun(), "Workflow.run"),
    *patches(_BASE, AgentRun(), "BaseWorkflowAgent.run"),
    *patches(_BASE, ToolCallRun(), "BaseWorkflowAgent.call_tool"),
    *patches(_MULTI, AgentRun(), "AgentWorkflow.run"),
    *patches(_MULTI, AgentStep(), "AgentWorkflow.run_agent_step"),
    *patches(_MULTI, ToolCallRun(), "AgentWorkflow.call_tool"),
    *patches("llama_index.core.tools.function_tool", FunctionToolRun(), "FunctionTool.call", "FunctionTool.acall"),
    *patches(_QUERY, QueryRun(), "BaseQueryEngine.query", "BaseQueryEngine.aquery"),
    *patches(_RETRIEVER, RetrieverRun(), "BaseRetriever.retrieve", "BaseRetriever.aretrieve"),
)
