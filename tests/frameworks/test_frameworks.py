"""Frameworks really run, as in the examples: an agent that asks for two tools at once, one of them wrongly,
and answers; once whole and once streamed. Each needs its own environment, which scripts/test --all makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmtrace import semconv as sc
from llmtrace.diagnosis import diagnose
from llmtrace.model import AgentInvocation, Inference, ToolExecution, Trace
from tests.frameworks.running import of, run_program, skip_if_absent, traces_in

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "frameworks"
CLAUDE = "claude_agent_sdk"
"""Its model calls are made by a program of Anthropic's and have no spans: it has a test of its own."""
DSPY = "dspy"
"""Its models say in their text which tool they want, one at a time: it has a test of its own."""
NAMES = sorted({path.stem.removeprefix("with_") for path in FOLDER.glob("with_*.py")} - {CLAUDE, DSPY})
REFUSES_ITSELF = {"agent_framework"}
"""Frameworks that do not run, or tell of, a tool whose arguments are of the wrong type."""
RUNS_IT_ALL_THE_SAME = {"google_adk", "haystack", "llama_index"}
"""Frameworks that run a tool with wrong arguments: it answers. By the others it fails, and no later call is right."""
WRITERS = {"pydantic_ai": "pydantic-ai", "strands": "strands", "agent_framework": "agent_framework"}
"""Frameworks whose own spans tell all of it; the others have an instrumentor of ours."""

pytestmark = pytest.mark.all


def traces_of(name: str, home: Path, **environment: str) -> list[Trace]:
    """Run the program, for which two lines suffice, and read what it left."""
    skip_if_absent(name)
    ran = run_program([sys.executable, str(FOLDER / f"with_{name}.py")], home, **environment)
    assert ran.stdout.splitlines().count("KS-1 is on its way.") == 2
    return traces_in(home)


def check(name: str, trace: Trace, writer: str) -> None:
    assert [one.title for one in diagnose(trace).suspects if one.label == "in_answer"] == []
    health = "recovered" if name in RUNS_IT_ALL_THE_SAME else "suspect"
    assert (len(trace.roots), trace.health) == (1, health)
    assert len({span.run_id for span in trace.spans} - {None}) == 1
    assert all(span.sequence is not None for span in trace.spans)
    agents = ["Agent" if name == "haystack" else "support"]
    assert [span.operation.name for span in of(trace, AgentInvocation)] == agents  # type: ignore[union-attr]
    asked, answered = of(trace, Inference)
    first, last = asked.operation, answered.operation
    assert isinstance(first, Inference)
    assert isinstance(last, Inference)
    assert {asked.scope.name.partition(".")[0], answered.scope.name.partition(".")[0]} == {writer}
    assert first.request_model == "gpt-4o"
    assert writer == "strands" or first.tools[0].name == "look_up"  # which tells of a tool's schema on its execution only
    calls = first.output[0].tool_calls()
    assert [call.arguments for call in calls] == [{"order_id": "KS-1"}, {"order_id": 2}]
    assert "KS-1 is on its way." in str(last.output[-1].parts)
    wrong = [("wrong_type", "/order_id", "error")]
    assert [(one.code, one.pointer, one.severity) for one in asked.violations] == (wrong if first.tools else [])
    ran = {span.operation.call_id: span for span in of(trace, ToolExecution) if span.operation.name == "look_up"}  # type: ignore[union-attr]
    is_alone = name in REFUSES_ITSELF and writer != "llmtrace"  # its own spans tell nothing of a call that it refuses
    assert set(ran) == {call.id for call in (calls[:1] if is_alone else calls)}
    good = ran[calls[0].id].operation
    assert isinstance(good, ToolExecution)
    assert good.arguments == {"order_id": "KS-1"}
    assert "on its way to Bonn" in str(good.result)
    if name not in REFUSES_ITSELF:
        assert [(one.code, one.pointer, one.severity) for one in ran[calls[1].id].violations] == wrong


@pytest.mark.parametrize("name", NAMES)
def test_a_framework_runs(name: str, tmp_path: Path) -> None:
    """One trace a run, with one root and one run; each model call once, by the client's instrumentor, below the framework's
    span; tools joined by call id; the verdict on the call that is wrong. Streamed as whole."""
    traces = traces_of(name, tmp_path)
    assert len(traces) == 2
    for trace in traces:
        check(name, trace, "llmtrace")


@pytest.mark.parametrize("name", WRITERS)
def test_by_its_own_spans_alone(name: str, tmp_path: Path) -> None:
    """The same where no library of ours is instrumented: the framework's spans tell it all."""
    traces = traces_of(name, tmp_path, LLMTRACE_INSTRUMENT="")
    assert len(traces) == 2
    for trace in traces:
        check(name, trace, WRITERS[name])


def test_an_agent_whose_model_calls_are_not_told_of(tmp_path: Path) -> None:
    """The Claude Agent SDK, by `query` and by its client: the agent with its question, answer, model and tokens, and below it
    the executions of its tools by call id, the one that was refused in error."""
    traces = [trace for trace in traces_of(CLAUDE, tmp_path) if of(trace, AgentInvocation)]
    assert [trace.root.name for trace in traces] == ["ClaudeAgentSDK.query", "ClaudeAgentSDK.ClaudeSDKClient.receive_response"]
    for trace in traces:
        (agent,) = of(trace, AgentInvocation)
        assert (len(trace.roots), trace.root, trace.health) == (1, agent, "recovered")
        assert isinstance(agent.operation, AgentInvocation)
        assert [said.text() for said in (*agent.operation.input, *agent.operation.output)] == [
            "Where are my orders?",
            "KS-1 is on its way.",
        ]
        told = [agent.attributes[name] for name in (sc.REQUEST_MODEL, sc.USAGE_INPUT_TOKENS, sc.USAGE_OUTPUT_TOKENS)]
        assert told == ["fake-1", 42, 10]
        ran = {span.operation.call_id: span for span in of(trace, ToolExecution) if span.operation.name == "mcp__shop__look_up"}  # type: ignore[union-attr]
        good, refused = ran["toolu_1"].operation, ran["toolu_2"]
        assert isinstance(good, ToolExecution)
        assert good.arguments == {"order_id": "KS-1"}
        assert "on its way to Bonn" in str(good.result)
        assert refused.failure is not None


def test_an_agent_that_asks_in_plain_text(tmp_path: Path) -> None:
    """DSPy's agent, by its own engine and by LiteLLM: one run with four model calls and their tokens, and three tools, of which
    one refused its arguments."""
    traces = traces_of(DSPY, tmp_path)
    assert len(traces) == 2
    for trace in traces:
        assert (len(trace.roots), trace.root.name, trace.health) == (1, "invoke_agent ReAct", "suspect")
        assert len({span.run_id for span in trace.spans}) == 1
        asked = [call for call in (span.operation for span in of(trace, Inference)) if isinstance(call, Inference)]
        assert [(call.request_model, call.usage is not None) for call in asked] == [("gpt-4o", True)] * 4
        tools = [(span.operation, span.failure is None) for span in of(trace, ToolExecution)]
        ran = [(tool.name, tool.arguments, well) for tool, well in tools if isinstance(tool, ToolExecution)]
        assert ran == [("look_up", {"order_id": "KS-1"}, True), ("look_up", {"order_id": 2}, False), ("finish", {}, True)]
