"""Writers that give each span a kind, an input and an output: Laminar, AgentOps, LangWatch."""

from __future__ import annotations

from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Inference,
    Message,
    Operation,
    Scope,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Usage,
    Workflow,
)
from tests.codec.dialects import reading
from tests.codec.dialects.reading import CALL

TASK, ANSWER = (Message("user", (Text("Where is A1?"),)),), (Message("assistant", (Text("Sent."),)),)


def read(attributes: dict[str, Any], parent: str | None = "2" * 16, **fields: Any) -> Span:
    return reading.read(attributes, parent_id=parent, **fields)


@pytest.mark.parametrize(
    ("attributes", "operation"),
    [
        (
            {"lmnr.span.type": "TOOL", "lmnr.span.input": {"order_id": "A1"}, "lmnr.span.output": '"sent"'},
            ToolExecution("look_up", {"order_id": "A1"}, result="sent", has_result=True),
        ),
        (
            {
                "agentops.span.kind": "tool",
                "agentops.tool.input": {"args": [], "kwargs": {"order_id": "A1"}},
                "agentops.tool.output": {"state": "sent"},
            },
            ToolExecution("look_up", {"order_id": "A1"}, result={"state": "sent"}, has_result=True),
        ),
        ({"agentops.span.kind": "AgentOpsSpanKindValues.TOOL", "tool.name": "look_up"}, Custom()),
        (
            {
                "langwatch.span.type": "tool",
                "langwatch.input": {"type": "json", "value": {"order_id": "A1"}},
                "langwatch.output": {"type": "text", "value": "sent"},
            },
            ToolExecution("look_up", {"order_id": "A1"}, result="sent", has_result=True),
        ),
        (
            {
                "langwatch.span.type": "agent",
                "langwatch.input": {"type": "text", "value": "Where is A1?"},
                "langwatch.output": {"type": "text", "value": "Sent."},
            },
            AgentInvocation("look_up", input=TASK, output=ANSWER),
        ),
    ],
)
def test_tools_and_agents(attributes: dict[str, Any], operation: Operation) -> None:
    assert read(attributes, name="look_up").operation == operation


def test_the_outermost_span_is_the_workflow() -> None:
    """It has a session, and so does the trace."""
    laminar = {"lmnr.span.input": "Where is A1?", "lmnr.span.output": '"Sent."'}
    values = {"langwatch.input": {"value": {"task": "Where is A1?"}}, "langwatch.output": {"value": "Sent."}}
    sessions = {"lmnr.association.properties.session_id": "s1"}, {"metadata": {"thread_id": "s1"}}
    for attributes, session in zip((laminar, values), sessions, strict=True):
        span = read({**attributes, **session}, None)
        assert isinstance(span.operation, Workflow)
        assert span.operation.output == ANSWER
        assert "Where is A1?" in str(span.operation.input)
        assert span.attributes[sc.CONVERSATION_ID] == "s1"


def test_model_calls() -> None:
    """Laminar's have the names of the conventions, LangWatch's its own beside former ones."""
    laminar = {"lmnr.span.type": "LLM", "gen_ai.system": "openai", sc.OUTPUT_MESSAGES: [{"message": {"tool_calls": [CALL]}}]}
    langwatch = {
        "langwatch.span.type": "llm",
        "gen_ai.request.model": "openai/gpt-4o-mini",
        "langwatch.input": {"type": "chat_messages", "value": [{"role": "user", "content": "Where is A1?"}]},
        "langwatch.output": {"type": "chat_messages", "value": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        "langwatch.params": {"tools": [{"type": "function", "function": {"name": "look_up"}}]},
        "langwatch.metrics": {"type": "json", "value": {"promptTokens": 10, "completionTokens": 2}},
    }
    for attributes in (laminar, langwatch):
        operation = read(attributes).operation
        assert isinstance(operation, Inference)
        assert operation.output[0].tool_calls() == (ToolCall("look_up", {"order_id": "A1"}, "c1"),)
    assert (operation.request_model, operation.input, operation.usage) == ("openai/gpt-4o-mini", TASK, Usage(10, 2))
    assert [tool.name for tool in operation.tools] == ["look_up"]


def test_parallel_calls_that_langfuse_merged_are_not_judged() -> None:
    """Its wrapper of openai for JavaScript writes the arguments of all calls of a stream after the name of the first."""
    call = {"function": {"name": "look_up", "arguments": '{"order_id":"A1"}{"order_id":"A2"}'}}
    attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.output": {"role": "assistant", "content": None, "tool_calls": [call]},
        "langfuse.observation.completion_start_time": '"1970-01-01T00:00:00.001Z"',
    }
    operation = read(attributes, scope=Scope("langfuse-sdk")).operation
    assert isinstance(operation, Inference)
    assert [message.parts for message in operation.output] in ([()], [])
