"""Failed runs that people have labelled, as traces: Who&When, AgentRx and TRAIL.

A run that comes as a list of messages becomes one inference a step, inside its agent's span, which is sent all messages before
it. A terminal's output becomes a tool execution, a person's words become a message of the user. TRAIL's spans are imported as
they are; people annotated every error in them, and the earliest is taken for the decisive one. Nothing of these runs is kept in
the project.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import report
from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    Failure,
    Inference,
    Message,
    Span,
    Text,
    ToolExecution,
    ToolResult,
    Trace,
    replace,
)
from llmtrace.validation.tool_definitions import read_definition
from planted.recorded import Run, steps_of, trace_of
from recorded import annotated

SETS = ("algorithm_generated", "hand_crafted", "magentic_one", "tau_retail", "trail")
FAMILIES = (("algorithm_generated",), ("hand_crafted", "magentic_one"), ("tau_retail",), ("trail",))
"""Sets of one system. Hand-crafted and Magentic-One share some of their runs."""
TRACE_ID = "6" * 32
ROOT = "e" * 16
FAILED = Evaluation("outcome", "error", "the task was not solved", "failure")
_EXIT_CODE = re.compile(r"exitcode: [1-9]")


@dataclass
class LabelledRun:
    set: str
    name: str
    task: str
    """Runs of one question have the same task, whichever set they are in."""
    trace: Trace
    steps: dict[str, list[int]]
    """By span id, the steps that the span is. A turn of the user that it was the first to be sent is ``~step``."""
    agents: list[str]
    """By step, who acted."""
    truth: int
    """The step of the decisive mistake."""
    agent: str = ""
    """Who made it."""


@dataclass
class Turn:
    agent: str
    text: str
    kind: Literal["model", "user", "tool"] = "model"


def trace_of_chat(turns: Sequence[Turn]) -> tuple[Trace, dict[str, list[int]]]:
    """The trace of a list of messages, and which steps each span is."""
    spans: list[Span] = []
    steps: dict[str, list[int]] = {}
    history: list[tuple[str, Message]] = []
    unsent: list[int] = []

    def add(operation: Any, name: str, parent: str, **fields: Any) -> Span:
        number = len(spans) + 1
        times = (number * 10, number * 10 + 5, parent)
        spans.append(Span(TRACE_ID, f"{number:016x}", name, *times, operation=operation, sequence=number, **fields))
        return spans[-1]

    for step, turn in enumerate(turns):
        if turn.kind == "user":
            unsent.append(step)
            history.append(("", Message("user", (Text(turn.text),))))
        elif turn.kind == "tool":
            failed = _EXIT_CODE.match(turn.text) is not None
            operation = ToolExecution(turn.agent, None, None if failed else turn.text, not failed, f"t{step}")
            failure = Failure("NonZeroExit", turn.text) if failed else None
            steps[add(operation, f"execute_tool {turn.agent}", ROOT, failure=failure).span_id] = [step]
            history.append((turn.agent, Message("tool", (ToolResult(turn.text, f"t{step}"),))))
        else:
            agent = add(AgentInvocation(turn.agent), f"invoke_agent {turn.agent}", ROOT)
            answer = Message("assistant", (Text(turn.text),))
            sent = tuple(replace(message, role="assistant") if who == turn.agent else message for who, message in history)
            span = add(Inference("unknown", input=sent, output=(answer,)), "chat", agent.span_id)
            steps[span.span_id] = [step, *(~number for number in unsent)]
            unsent.clear()
            history.append((turn.agent, Message("user", (Text(turn.text),))))
    root = Span(TRACE_ID, ROOT, "team", 0, len(spans) * 10 + 20, operation=AgentInvocation("team"), evaluations=(FAILED,))
    return Trace([*spans, root]), steps


def labelled_runs(data: Path) -> Iterator[LabelledRun]:
    yield from _who_and_when(report.folder(data, "who_and_when"))
    yield from _agentrx(report.folder(data, "agentrx"), report.folder(data, "tau_bench"))
    yield from _trail(report.folder(data, "trail"))


def _who_and_when(folder: Path) -> Iterator[LabelledRun]:
    for split in ("algorithm_generated", "hand_crafted"):
        for row in report.rows(folder / f"{split}.jsonl"):
            agents = [step["agent"] for step in row["steps"]]
            trace, steps = trace_of_chat([_turn(step["agent"], step["content"]) for step in row["steps"]])
            truth, agent = int(row["mistake_step"]), row["mistake_agent"]
            yield LabelledRun(split, f"{split} {row['id']}", _task(row["question"]), trace, steps, agents, truth, agent)


def _agentrx(folder: Path, tau_bench: Path) -> Iterator[LabelledRun]:
    for row in report.rows(folder / "magentic_one.jsonl"):
        agents = [step["role"].split(" (")[0] for step in row["history"]]
        texts = [step["content"] for step in row["history"]]
        trace, steps = trace_of_chat([_turn(agent, text) for agent, text in zip(agents, texts, strict=True)])
        yield from _with_root_cause("magentic_one", _task(texts[0]), row, trace, steps, agents)
    definitions = json.loads((tau_bench / "retail_tools.json").read_text())
    tools = tuple(replace(read_definition(raw), cache={}) for raw in definitions)
    for row in report.rows(folder / "tau_retail_failed.jsonl"):
        recorded = steps_of(row["traj"])
        trace, steps = trace_of(Run(str(row["trajectory_id"]), recorded, tools))
        root = replace(trace.root, evaluations=(FAILED,))
        trace = Trace([root if span is trace.root else span for span in trace.spans])
        agents = [step.role for step in recorded]
        yield from _with_root_cause("tau_retail", f"retail {row['trajectory_id']}", row, trace, steps, agents)


def _trail(folder: Path) -> Iterator[LabelledRun]:
    """Each model call and each tool execution is a step."""
    for name in ("gaia", "swe_bench"):
        for trace, errors in annotated(folder / name):
            spans = [span for span in trace.spans if isinstance(span.operation, (Inference, ToolExecution))]
            spans.sort(key=lambda span: (span.start, span.sequence or 0))
            truth = next((step for step, span in enumerate(spans) if span.span_id in errors), None)
            if truth is not None:
                steps = {span.span_id: [step] for step, span in enumerate(spans)}
                agents = [span.name for span in spans]
                yield LabelledRun("trail", f"{name} {trace.trace_id}", trace.trace_id, trace, steps, agents, truth)


def _with_root_cause(
    name: str, task: str, row: dict[str, Any], trace: Trace, steps: dict[str, list[int]], agents: list[str]
) -> Iterator[LabelledRun]:
    labels = row["labels"]
    failures = {failure["failure_id"]: failure["step_number"] - 1 for failure in labels["failures"]}
    truth = failures.get(labels["root_cause"]["failure_id"])
    if truth is not None and truth < len(agents):
        yield LabelledRun(name, f"{name} {row['trajectory_id']}", task, trace, steps, agents, truth, agents[truth])


def _task(question: str) -> str:
    return hashlib.sha256(" ".join(question.casefold().split()).encode()).hexdigest()[:16]


def _turn(agent: str, text: str) -> Turn:
    return Turn(agent, text or "", "user" if agent == "human" else "tool" if "terminal" in agent.casefold() else "model")
