"""LlamaIndex: agents and workflows, their tools, query engines and retrievers.

``run()`` of an agent or workflow returns a handler at once; its span ends with the handler. Model calls are recorded by the
instrumentor of the client that the model uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._traced_functions import (
    POSITIONAL,
    TracedFunction,
    read_input,
    read_output,
    traced_function,
)
from llmtrace.model import (
    TOOL_ERROR,
    AgentInvocation,
    Failure,
    Message,
    Operation,
    Retrieval,
    Text,
    ToolDefinition,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "llama_index.core", "llama-index-core"
SUPPORTED = ">=0.14.10,<1"
"""Versions of the library that are tested."""


class WorkflowRun(TracedFunction):
    """``workflow.run(…)`` of a workflow of the program's own."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        inputs = {name: value for name, value in arguments.items() if name not in ("ctx", "run_id") and value is not None}
        return Workflow(type(instance).__name__, input=read_input(inputs or None))

    def complete(self, operation: Operation, result: Any) -> Operation:
        answer = getattr(result, "result", result)
        answer = getattr(answer, "response", answer)
        output = (_message(answer),) if _is_message(answer) else read_output(answer)
        return replace(operation, output=output) if isinstance(operation, (AgentInvocation, Workflow)) else operation

    def end_later(self, result: Any, end: Callable[[Any, BaseException | None], None]) -> bool:
        """``result``: a handler, which holds the task that waits for the run's last event."""
        task = getattr(result, "_result_task", None)
        if not isinstance(task, asyncio.Future):
            return False
        task.add_done_callback(lambda done: _end_with(done, end))
        return True


class AgentRun(WorkflowRun):
    """``agent.run(user_msg)`` of one agent, or of an `AgentWorkflow` of several."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        positional = arguments.get(POSITIONAL) or (None,)
        question = arguments.get("user_msg") or (None if type(positional[0]).__name__ == "Context" else positional[0])
        history = tuple(map(_message, arguments.get("chat_history") or ()))
        messages = (*history, *((_message(question),) if _is_message(question) else read_input(question)))
        if hasattr(instance, "agents"):
            return Workflow(type(instance).__name__, input=messages)
        return AgentInvocation(instance.name, instance.description or None, messages)

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return getattr(arguments.get("memory"), "session_id", None)


class AgentStep(TracedFunction):
    """One turn of an agent of an `AgentWorkflow`."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:  # noqa: ARG002
        event = arguments["ev"]
        return AgentInvocation(event.current_agent_name, input=tuple(map(_message, event.input[-1:])))

    def complete(self, operation: Operation, result: Any) -> Operation:
        return replace(operation, output=(_message(result.response),)) if isinstance(operation, AgentInvocation) else operation


class _ToolRun(TracedFunction):
    def complete(self, operation: Operation, result: Any) -> Operation:
        output = _output_of(result)
        value = output.raw_output if type(output.raw_output) in _PLAIN else output.content
        return replace(operation, result=to_json(value), has_result=True) if isinstance(operation, ToolExecution) else operation

    def failure(self, result: Any) -> Failure | None:
        output = _output_of(result)
        return Failure(TOOL_ERROR, str(output.content)) if output.is_error else None


class ToolCallRun(_ToolRun):
    """An agent's run of a tool that the model question for."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        event = arguments["ev"]
        agents = getattr(instance, "agents", None) or {"": instance}
        tools = [tool for agent in agents.values() for tool in agent.tools or ()]
        return ToolExecution(
            event.tool_name,
            to_json(event.tool_kwargs),
            call_id=event.tool_id,
            definition=next(filter(None, (definition_of(tool, event.tool_name) for tool in tools)), None),
        )


class FunctionToolRun(_ToolRun):
    """``tool.call(…)`` by the program, or by a function of the library that picks a tool."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        name = instance.metadata.get_name()
        values = {key: value for key, value in arguments.items() if key not in (POSITIONAL, instance.ctx_param_name)}
        if POSITIONAL in arguments:
            properties = instance.metadata.get_parameters_dict().get("properties", {})
            values = {**dict(zip(properties, arguments[POSITIONAL], strict=False)), **values}
        return ToolExecution(name, to_json(values), definition=definition_of(instance, name))


class QueryRun(TracedFunction):
    """``query_engine.query(question)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return Workflow(type(instance).__name__, input=read_input(_query(arguments.get("str_or_query_bundle"))))

    def complete(self, operation: Operation, result: Any) -> Operation:
        return replace(operation, output=read_output(str(result))) if isinstance(operation, Workflow) else operation


class RetrieverRun(TracedFunction):
    """``retriever.retrieve(question)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        top = getattr(instance, "similarity_top_k", None)
        query = _query(arguments.get("str_or_query_bundle"))
        return Retrieval(type(instance).__name__, query, top_k=top if isinstance(top, int) else None)

    def complete(self, operation: Operation, result: Any) -> Operation:
        documents = [
            {
                "id": scored.node.node_id,
                "content": scored.node.get_content(),
                "score": to_json(scored.score),
                "metadata": to_json(scored.node.metadata),
            }
            for scored in result
        ]
        return replace(operation, documents=documents) if isinstance(operation, Retrieval) else operation


_PLAIN = frozenset({str, int, float, bool, dict, list, type(None)})


def definition_of(tool: Any, name: str) -> ToolDefinition | None:
    """Read the definition that the framework sends to a model, if the tool has this name."""
    metadata = getattr(tool, "metadata", None)
    return read_definition(metadata.to_openai_tool()) if metadata is not None and metadata.name == name else None


def _output_of(result: Any) -> Any:
    return getattr(result, "tool_output", result)


def _query(query: Any) -> str | None:
    return query if isinstance(query, str) else getattr(query, "query_str", None)


def _is_message(value: Any) -> bool:
    return hasattr(value, "blocks") and hasattr(value, "role")


def _message(message: Any) -> Message:
    return Message(str(getattr(message.role, "value", message.role)), (Text(message.content or ""),))


def _end_with(task: Any, end: Callable[[Any, BaseException | None], None]) -> None:
    """End a span as a task ended."""
    # `exception()` would tell asyncio that the program has seen the exception, and asyncio reports those that nobody saw.
    error = asyncio.CancelledError() if task.cancelled() else task._exception
    end(None if error is not None else task.result(), error)


_BASE, _MULTI = "llama_index.core.agent.workflow.base_agent", "llama_index.core.agent.workflow.multi_agent_workflow"
_QUERY, _RETRIEVER = "llama_index.core.base.base_query_engine", "llama_index.core.base.base_retriever"

PATCHES = (
    Patch("workflows.workflow", "Workflow.run", traced_function(WorkflowRun())),
    Patch(_BASE, "BaseWorkflowAgent.run", traced_function(AgentRun())),
    Patch(_BASE, "BaseWorkflowAgent.call_tool", traced_function(ToolCallRun())),
    Patch(_MULTI, "AgentWorkflow.run", traced_function(AgentRun())),
    Patch(_MULTI, "AgentWorkflow.run_agent_step", traced_function(AgentStep())),
    Patch(_MULTI, "AgentWorkflow.call_tool", traced_function(ToolCallRun())),
    *(
        Patch("llama_index.core.tools.function_tool", f"FunctionTool.{name}", traced_function(FunctionToolRun()))
        for name in ("call", "acall")
    ),
    *(Patch(_QUERY, f"BaseQueryEngine.{name}", traced_function(QueryRun())) for name in ("query", "aquery")),
    *(Patch(_RETRIEVER, f"BaseRetriever.{name}", traced_function(RetrieverRun())) for name in ("retrieve", "aretrieve")),
)
