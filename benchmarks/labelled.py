"""Failed runs that people have labelled, as traces: Who&When, AgentRx and TRAIL. Nothing of them is kept anywhere else.

A run that comes as a list of what was said becomes one inference a step, each inside its agent's span and sent all that was
said before; what a terminal answered becomes a tool execution, what a person said a message of the user.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from llmtrace.validation.schema import read_definition
from planted.recorded import Run, steps_of, trace_of

TRACE_ID = "6" * 32
FAILED = Evaluation("outcome", "error", "the task was not solved", "failure")
_EXIT = re.compile(r"exitcode: [1-9]")


@dataclass
class Labelled:
    set: str
    name: str
    task: str
    trace: Trace
    steps: dict[str, list[int]]
    """Of each span the steps that it is; a turn of the user that it was sent first as ``~step``."""
    agents: list[str]
    """Of each step, who acted."""
    truth: int
    """The step at which the decisive mistake was made."""
    agent: str = ""
    """Who made it."""
    others: list[int] = field(default_factory=list)
    """Other steps at which something went wrong."""


@dataclass
class Said:
    agent: str
    text: str
    kind: str = "model"
    """``model``, ``user`` or ``tool``."""


def trace_of_chat(said: Sequence[Said]) -> tuple[Trace, dict[str, list[int]]]:
    spans: list[Span] = []
    steps: dict[str, list[int]] = {}
    heard: list[tuple[str, Message]] = []
    unsent: list[int] = []

    def add(operation: Any, name: str, parent: str, **fields: Any) -> Span:
        number = len(spans) + 1
        times = (number * 10, number * 10 + 5, parent)
        spans.append(Span(TRACE_ID, f"{number:016x}", name, *times, operation=operation, sequence=number, **fields))
        return spans[-1]

    for at, one in enumerate(said):
        if one.kind == "user":
            unsent.append(at)
            heard.append(("", Message("user", (Text(one.text),))))
        elif one.kind == "tool":
            failed = _EXIT.match(one.text) is not None
            operation = ToolExecution(one.agent, None, None if failed else one.text, not failed, f"t{at}")
            failure = Failure("NonZeroExit", one.text) if failed else None
            steps[add(operation, f"execute_tool {one.agent}", ROOT, failure=failure).span_id] = [at]
            heard.append((one.agent, Message("tool", (ToolResult(one.text, f"t{at}"),))))
        else:
            agent = add(AgentInvocation(one.agent), f"invoke_agent {one.agent}", ROOT)
            answer = Message("assistant", (Text(one.text),))
            sent = tuple(message if who != one.agent else replace(message, role="assistant") for who, message in heard)
            span = add(Inference("unknown", input=sent, output=(answer,)), "chat", agent.span_id)
            steps[span.span_id] = [at, *(~turn for turn in unsent)]
            unsent.clear()
            heard.append((one.agent, Message("user", (Text(one.text),))))
    root = Span(TRACE_ID, ROOT, "team", 0, len(spans) * 10 + 20, operation=AgentInvocation("team"), evaluations=(FAILED,))
    return Trace([*spans, root]), steps


ROOT = "e" * 16


def who_and_when(data: Path) -> Iterator[Labelled]:
    folder = report.folder(data, "who_and_when")
    for split in ("algorithm_generated", "hand_crafted"):
        for row in report.rows(folder / f"{split}.jsonl"):
            said = [_said(step["agent"], step["content"]) for step in row["steps"]]
            trace, steps = trace_of_chat(said)
            agents = [step["agent"] for step in row["steps"]]
            truth, agent = int(row["mistake_step"]), row["mistake_agent"]
            yield Labelled(split, f"{split} {row['id']}", _task(row["question"]), trace, steps, agents, truth, agent)


def _task(question: str) -> str:
    """Runs of one question, in whichever set, are one task."""
    return hashlib.sha256(" ".join(question.casefold().split()).encode()).hexdigest()[:16]


def _said(agent: str, text: str) -> Said:
    terminal = "terminal" in agent.casefold()
    return Said(agent, text or "", "user" if agent == "human" else "tool" if terminal else "model")


def agentrx(data: Path) -> Iterator[Labelled]:
    folder = report.folder(data, "agentrx")
    for row in report.rows(folder / "magentic_one.jsonl"):
        agents = [step["role"].split(" (")[0] for step in row["history"]]
        trace, steps = trace_of_chat(
            [_said(agent, step["content"]) for agent, step in zip(agents, row["history"], strict=True)]
        )
        yield from _rooted("magentic_one", row, trace, steps, agents)
    definitions = json.loads((report.folder(data, "tau_bench") / "retail_tools.json").read_text())
    tools = tuple(replace(read_definition(raw), cache={}) for raw in definitions)
    for row in report.rows(folder / "tau_retail_failed.jsonl"):
        made = steps_of(row["traj"])
        trace, steps = trace_of(Run(str(row["trajectory_id"]), made, tools))
        root = replace(trace.root, evaluations=(FAILED,))
        trace = Trace([root if span is trace.root else span for span in trace.spans])
        yield from _rooted("tau_retail", row, trace, steps, [step.role for step in made])


def _rooted(name: str, row: dict[str, Any], trace: Trace, steps: dict[str, list[int]], agents: list[str]) -> Iterator[Labelled]:
    labels = row["labels"]
    failures = {failure["failure_id"]: failure["step_number"] - 1 for failure in labels["failures"]}
    truth = failures.get(labels["root_cause"]["failure_id"])
    if truth is not None and truth < len(agents):
        case = f"{name} {row['trajectory_id']}"
        task = _task(row["history"][0]["content"]) if "history" in row else f"retail {row['trajectory_id']}"
        yield Labelled(name, case, task, trace, steps, agents, truth, agents[truth], sorted(failures.values()))
