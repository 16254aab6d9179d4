"""What is recorded of each framework: the table in docs/how_to/frameworks.md is what these tests find.

Each program (`programs`) runs in a process of its own: an agent that asks for two tools at once, one of them wrongly, and
answers; whole, streamed, and with a model that cannot be reached. Each framework needs its own environment, which
scripts/test --all makes.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import AgentInvocation, Inference, Span, ToolExecution, Trace
from llmtrace.semconv import CONVERSATION_ID
from tests.frameworks.running import is_here, of, run_program, skip_if_absent, traces_in

PROGRAMS = Path(__file__).parent / "programs"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how_to/frameworks.md"
NAMES = sorted(path.stem.removeprefix("with_") for path in PROGRAMS.glob("with_*.py"))
TITLES = {
    "ag2": "AG2",
    "agent_framework": "Agent Framework",
    "agno": "Agno",
    "autogen": "AutoGen",
    "crewai": "CrewAI",
    "dspy": "DSPy",
    "google_adk": "Google ADK",
    "haystack": "Haystack",
    "langchain": "LangChain, LangGraph",
    "llama_index": "LlamaIndex",
    "openai_agents": "openai-agents",
    "pydantic_ai": "Pydantic AI",
    "smolagents": "smolagents",
    "strands": "Strands",
}
NATIVE = set(NAMES) - {"ag2", "agent_framework", "strands"}
"""Frameworks with an instrumentor of ours: they need no line."""
ANSWER = "KS-1 is on its way."
AGENTS = ("support", "Agent", "ReAct")
"""Names of agents: of some frameworks they have none but that of their class."""
WAYS = ("configured first", "imported first")
OTHERS = {
    ("langchain", "openinference"): "openinference.instrumentation.langchain.LangChainInstrumentor().instrument()",
    ("langchain", "openllmetry"): "opentelemetry.instrumentation.langchain.LangchainInstrumentor().instrument()",
    ("openai_agents", "logfire"): "logfire.configure(send_to_logfire=False, console=False).instrument_openai_agents()",
    ("openai_agents", "openinference"): "openinference.instrumentation.openai_agents.OpenAIAgentsInstrumentor().instrument()",
    ("openai_agents", "openllmetry"): "opentelemetry.instrumentation.openai_agents.OpenAIAgentsInstrumentor().instrument()",
}
"""Others that listen to the same events of a framework as an instrumentor of ours: whose it is, and the line for it."""

pytestmark = pytest.mark.all


@functools.cache
def run(name: str, *arguments: str, launcher: str = "") -> tuple[list[Any], list[Trace]]:
    """Run a program once, and return what it saw and what was recorded; with the argument "again", of its replay."""
    skip_if_absent(name)
    if arguments[1:] and "openinference" in source_of(name) and not is_here(f"openinference.instrumentation.{name}"):
        pytest.skip(f"OpenInference's instrumentor of {name} is not installed here")
    python = [sys.executable]
    if launcher == "llmtrace run":
        python += ["-m", "llmtrace", "run", "--quiet"]
    elif launcher:
        if not is_here("opentelemetry.distro"):
            pytest.skip("opentelemetry-distro is not installed here")
        python = [str(Path(sys.executable).with_name(launcher)), *python]
    program = [*python, str(PROGRAMS / "run.py"), f"with_{name}", *arguments[:2]]
    commands = [program]
    if arguments[2:]:
        commands.append([sys.executable, "-m", "llmtrace", "replay", "last", "--", *program])
    with tempfile.TemporaryDirectory() as home:
        for command in commands:
            ran = run_program(command, Path(home))
        # A framework's own thread may write behind a line of the program's before its end.
        lines = [line for line in ran.stdout.splitlines() if line.startswith(('["', "[["))]
        seen = [json.JSONDecoder().raw_decode(line)[0] for line in lines]
        return seen, traces_of(Path(home))


def source_of(name: str) -> str:
    return (PROGRAMS / f"with_{name}.py").read_text(encoding="utf-8")


def traces_of(home: Path) -> list[Trace]:
    """The traces of the three runs, in order. A framework may write others: that it made an agent, say."""
    return [trace for trace in traces_in(home) if of(trace, AgentInvocation) or of(trace, Inference)]


def has_model_calls(trace: Trace, source: str) -> bool:
    """Each of the calls once, with its answer and, where it is whole, its tokens: of a stream they must be asked for."""
    calls = [call for call in (span.operation for span in of(trace, Inference)) if isinstance(call, Inference)]
    number = re.search(r"^MODEL_CALLS = (\d)", source, re.MULTILINE)
    return len(calls) == (int(number[1]) if number else 2) and all(
        call.output and (call.usage or call.stream) for call in calls
    )


def has_tools(trace: Trace, source: str) -> bool:
    """The right call once, by its id, with arguments and result; the wrong one with its verdict."""
    steps = [(span.operation, span) for span in of(trace, ToolExecution)]
    runs = [(tool, span) for tool, span in steps if isinstance(tool, ToolExecution) and tool.name == "look_up"]
    ids = [tool.call_id for tool, _ in runs]
    right = [tool for tool, _ in runs if tool.arguments == {"order_id": "KS-1"} and "to Bonn" in str(tool.result)]
    wrong = [span for tool, span in runs if tool.arguments == {"order_id": 2}]
    is_judged = [[found.code for found in span.violations] for span in wrong] == [["wrong_type"]]
    expected = ["None", "None"] if "HAS_CALL_IDS = False" in source else ["call_look_up_0", "call_look_up_1"]
    return len(right) == 1 and is_judged and sorted(map(str, ids)) == expected


def has_agents(trace: Trace, source: str) -> bool:
    """The agent once, with what it was asked and what it answered, around all calls of models and tools."""
    agents = [
        span for span in of(trace, AgentInvocation) if getattr(span.operation, "name", "") in ("support", "Agent", "ReAct")
    ]
    if len(agents) != 1 or len(of(trace, AgentInvocation)) != 1 or len(trace.roots) != 1:
        return False
    agent = agents[0].operation
    assert isinstance(agent, AgentInvocation)
    said = [message.text() for message in (*agent.input, *agent.output)]
    calls = [span for span in trace.spans if isinstance(span.operation, (Inference, ToolExecution))]
    are_below = all(agents[0] in above(trace, call) for call in calls)
    return are_below and "Where are my orders?" in " ".join(said) and bool(said) and ANSWER in said[-1]


def above(trace: Trace, span: Span) -> Iterator[Span]:
    """The spans around a span, the nearest first."""
    parent = trace.parent(span)
    while parent is not None:
        yield parent
        parent = trace.parent(parent)


def has_conversation(trace: Trace) -> bool:
    steps = [span for span in trace.spans if isinstance(span.operation, (AgentInvocation, Inference, ToolExecution))]
    return bool(steps) and all(span.attributes.get(CONVERSATION_ID) == "c-1" for span in steps)


def has_errors(trace: Trace) -> bool:
    """The call that failed says why, and so does the agent; the run has failed."""
    failed = [span.failure is not None for span in trace.spans if isinstance(span.operation, (AgentInvocation, Inference))]
    return trace.health == "failed" and trace.root.failure is not None and all(failed) and len(failed) >= 1


def found(traces: list[Trace], source: str) -> Iterator[str]:
    """The cells of a row."""
    conversation = "–" if "HAS_CONVERSATIONS = False" in source else ""
    if len(traces) != 3:  # there is nothing around the calls of models
        calls = [trace for trace in traces if trace.health != "failed" and of(trace, Inference)]
        has_all = yes(len(calls) == 4 == sum(len(of(trace, Inference)) for trace in calls))
        yield from (has_all, "no", "no", conversation or "no", has_all, yes(bool(traces) and has_errors(traces[-1])))
        return
    whole, streamed, failed = traces
    cells, streamed_cells = (
        [check(trace, source) for check in (has_model_calls, has_tools, has_agents)] for trace in (whole, streamed)
    )
    yield from map(yes, cells)
    yield conversation or yes(has_conversation(whole))
    is_same = streamed_cells == cells and any(cells) and len(streamed.roots) == 1
    yield "–" if "HAS_STREAMS = False" in source else yes(is_same)
    yield yes(has_errors(failed))


def yes(cell: bool) -> str:
    return "yes" if cell else "no"


def row_of(name: str, line: str) -> str:
    """The row of the table in the docs."""
    rows = [re.split(r"\s*\|\s*", row.strip("| ")) for row in PAGE.read_text(encoding="utf-8").splitlines() if row[:1] == "|"]
    (row,) = [row for row in rows if row[:2] == [TITLES[name], "one" if line else "none"] and len(row) == 8]
    return " | ".join(row[2:])


@pytest.mark.parametrize("line", ["", "line"], ids=["no line", "one line"])
@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_what_is_recorded(name: str, line: str) -> None:
    if line and "def line()" not in source_of(name):
        pytest.skip("needs no line")
    _, traces = run(name, "configured first", *([line] if line else []))
    assert " | ".join(found(traces, source_of(name))) == row_of(name, line)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_program_sees_no_difference(name: str, way: str) -> None:
    """Answers and exceptions are those of the program without llmtrace. In either order, all of it is recorded of a framework
    with an instrumentor of ours."""
    without, nothing = run(name, "off")
    seen, traces = run(name, way)
    assert (len(without), nothing) == (3, [])
    assert seen == without
    assert name not in NATIVE or "no" not in found(traces, source_of(name))


@pytest.mark.parametrize(
    ("name", "launcher"),
    [
        ("autogen", "llmtrace run"),
        ("haystack", "opentelemetry-instrument"),
        ("smolagents", "llmtrace run"),
        ("smolagents", "opentelemetry-instrument"),
    ],
)
def test_a_launcher_is_enough(name: str, launcher: str) -> None:
    """Of a program without a line of ours all is recorded: three runs of the agent, the last one without an answer."""
    seen, traces = run(name, "off", launcher=launcher)
    assert seen == run(name, "off")[0]
    counts = [sum(len(of(trace, kind)) for trace in traces) for kind in (AgentInvocation, Inference, ToolExecution)]
    tools = 2 * len(of(run(name, "configured first")[1][0], ToolExecution))
    assert counts == [3, 5, tools]


@pytest.mark.parametrize("way", ["configured first", "line first", "llmtrace run"])
@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_another_instrumentation_beside_ours_adds_nothing(name: str, other: str, way: str) -> None:
    """The same traces as of ours alone, in either order and without a line of ours: each step once, all of it in one trace."""
    line = OTHERS[name, other]
    module = re.split(r"\.[A-Z]|\.configure", line)[0]
    if not is_here(module):
        pytest.skip(f"{module} is not installed here; scripts/test --all has an environment for it")
    is_launched = way == "llmtrace run"
    ours = run(name, "off", launcher=way) if is_launched else run(name, "configured first")
    prepared = "import agents; agents.set_tracing_disabled(False); " if name == "openai_agents" else ""
    arguments = ("off" if is_launched else way, f"{prepared}import {module}; {line}")
    seen, traces = run(name, *arguments, launcher=way if is_launched else "")
    assert seen == ours[0]
    assert [outline(trace) for trace in traces] == [outline(trace) for trace in ours[1]]


def outline(trace: Trace) -> tuple[str, list[tuple[str, str, list[str]]]]:
    """Health, and the spans with those around them; tools that run at once may start in any order."""
    spans = [(span.name, span.scope.name, [outer.name for outer in above(trace, span)]) for span in trace.spans]
    return trace.health, sorted(spans)


@pytest.mark.timeout(300)  # two processes, each of which imports a framework
@pytest.mark.parametrize("name", [name for name in NAMES if name != "dspy"])  # whose own engine does not send by httpx
def test_a_replay_is_the_same(name: str) -> None:
    """Models and tools are answered from the recording, and the framework's own code gives the program what it gave."""
    assert run(name, "configured first", "", "again")[0] == run(name, "configured first")[0]
