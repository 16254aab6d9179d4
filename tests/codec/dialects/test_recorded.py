"""What libraries really emit reads as what really happened: an agent that calls a tool once, and answers."""

from __future__ import annotations

import pytest

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.codec.dialects import decode
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import AgentInvocation, Custom, Inference, Message, Text, ToolExecution, Trace, Usage, Workflow
from tests.codec.dialects.recordings import NAMES, raws_of, trace_of

SPOKEN = {"dspy"}
"""Libraries whose models say in their text, not by the API, which tool they want."""

WITHOUT_MODEL_CALLS = {"claude_agent_sdk"}
"""Libraries whose model calls are made in another program, and have no spans."""


def of(trace: Trace, kind: type) -> list[object]:
    return [span.operation for span in trace.spans if isinstance(span.operation, kind)]


def test_every_library_is_there() -> None:
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_reading_again_changes_nothing(name: str) -> None:
    """A decoded span, encoded, decodes to the same: by the conventions alone, and where a dialect is asked once more."""
    for raw in raws_of(name):
        span = decode(raw)
        assert genai.decode(genai.encode(span)) == span
        assert decode(genai.encode(span)) == span
        assert (span.trace_id, span.span_id, span.parent_id, span.name) == (
            raw.trace_id,
            raw.span_id,
            raw.parent_id,
            raw.name,
        )


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_MODEL_CALLS))
def test_model_calls(name: str) -> None:
    """Each model call is one inference, with the question in its input; the first asks for the tool, the last answers."""
    inferences = of(trace_of(name), Inference)
    assert len(inferences) == (3 if name in ("smolagents", "dspy") else 2)
    first, last = inferences[0], inferences[-1]
    assert isinstance(first, Inference)
    assert isinstance(last, Inference)
    assert "KS-1" in "".join(message.text() for message in first.input)
    assert first.request_model in ("fake-1", "gpt-4o-mini", "dummy")
    if name not in SPOKEN:
        (call,) = first.output[0].tool_calls()
        assert (call.name, call.arguments) == ("look_up", {"order_id": "KS-1"})
        assert call.id is not None
        offered = {tool.name: tool.parameters for tool in first.tools}
        if name != "strands":  # which then tells of a tool's schema on its execution only
            assert offered["look_up"]["required"] == ["order_id"]
    said = last.output[-1].tool_calls()[0].arguments["answer"] if name == "smolagents" else last.output[-1].text()
    assert "It is on its way." in said


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"dspy", "llama_index"} - WITHOUT_MODEL_CALLS))
def test_usage(name: str) -> None:
    """Tokens are counted once, on the model call, with their parts where the library tells them."""
    first = of(trace_of(name), Inference)[0]
    assert isinstance(first, Inference)
    assert first.usage is not None
    assert (first.usage.input_tokens, first.usage.output_tokens) == (21, 5)
    if name in ("crewai", "openllmetry"):
        assert first.usage == Usage(21, 5, 4, None, 2)
        assert first.response_id == "chatcmpl-1"


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_MODEL_CALLS))
def test_tools(name: str) -> None:
    """The execution has its arguments as an object, its result, its place below the run, and the id of the call it answers."""
    trace, _ = evaluate_trace(trace_of(name))
    execution = of(trace, ToolExecution)[0]
    assert isinstance(execution, ToolExecution)
    assert (execution.name, execution.arguments) == ("look_up", {"order_id": "KS-1"})
    assert execution.has_result
    assert "on its way to Bonn" in str(execution.result)
    if name not in SPOKEN:
        assert execution.call_id == next(
            call.id
            for one in of(trace, Inference)
            for message in one.output
            for call in message.tool_calls()  # type: ignore[attr-defined]
        )
    assert len(trace.roots) == 1


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"dspy", "llama_index"} - WITHOUT_MODEL_CALLS))
def test_agents(name: str) -> None:
    """There is one agent, by the name that the program gave it."""
    assert [agent.name for agent in of(trace_of(name), AgentInvocation)] == ["support"]  # type: ignore[attr-defined]


def test_what_an_agent_was_asked_and_answered() -> None:
    """Out of Pydantic AI's whole conversation: the question, and the final result."""
    for name in ("pydantic_ai", "pydantic_ai_v2"):
        (agent,) = of(trace_of(name), AgentInvocation)
        assert isinstance(agent, AgentInvocation)
        assert agent.input == (Message("user", (Text("Where is order KS-1?"),)),)
        assert agent.output == (Message("assistant", (Text("It is on its way."),)),)


def test_an_agent_whose_model_is_elsewhere() -> None:
    """The Claude Agent SDK: no model call has a span, so the agent says which model it was and how many tokens it took; the
    executions are joined by the model's own ids."""
    trace = trace_of("claude_agent_sdk")
    assert of(trace, Inference) == []
    assert trace.root.operation == AgentInvocation(
        "ClaudeAgentSDK",
        input=(Message("user", (Text("Where is order KS-1?"),)),),
        output=(Message("assistant", (Text("It is on its way."),)),),
    )
    told = trace.root.attributes
    assert (told[sc.PROVIDER_NAME], told[sc.REQUEST_MODEL], told[sc.CONVERSATION_ID]) == ("anthropic", "fake-1", "session-1")
    assert (told[sc.USAGE_INPUT_TOKENS], told[sc.USAGE_OUTPUT_TOKENS], told[sc.USAGE_CACHE_READ]) == (42, 10, 18)
    (execution,) = of(trace, ToolExecution)
    assert isinstance(execution, ToolExecution)
    assert (execution.name, execution.arguments, execution.call_id) == ("mcp__shop__look_up", {"order_id": "KS-1"}, "toolu_1")
    assert "on its way to Bonn" in str(execution.result)
    assert len(trace.roots) == 1


def test_a_chain_without_a_parent_is_the_workflow() -> None:
    for name in ("crewai", "dspy", "llama_index", "openllmetry", "google_adk"):
        trace = trace_of(name)
        assert isinstance(trace.root.operation, Workflow)
    assert not [span for span in trace_of("crewai").spans[1:] if isinstance(span.operation, Custom)]


@pytest.mark.parametrize("name", NAMES)
def test_verdicts(name: str) -> None:
    """The one call with an argument that its schema does not have is found, as a warning, and nothing else."""
    judged, unknown = evaluate_trace(trace_of(name))
    found = {(one.code, one.severity, one.pointer) for span in judged.spans for one in span.violations}
    assert found == ({("unexpected", "warning", "/country")} if name == "smolagents" else set())
    assert unknown == ()


def test_a_failed_step_keeps_its_exception() -> None:
    """A step that a framework ended in error has the exception's type."""
    failed = [span.failure.type for span in trace_of("smolagents").spans if span.failure is not None]
    assert failed == ["smolagents.utils.AgentToolCallError"]
