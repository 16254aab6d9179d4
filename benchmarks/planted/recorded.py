"""A recorded run as steps that planters change, and the trace that llmtrace would have made of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmtrace.evaluation import Evaluator
from llmtrace.model import (
    AgentInvocation,
    Failure,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
)
from llmtrace.validation.parse_arguments import parse_arguments

TRACE_ID = "5" * 32
ROOT = "f" * 16
AGENT = "assistant"


@dataclass
class Step:
    """One message: of the system, the user, the model (a text or one call), or a tool."""

    role: str
    text: str = ""
    tool: str = ""
    """Of the model's call and of its result."""
    arguments: Any = None
    failure: str = ""
    """The type of the exception that the tool raised."""
    agent: str = AGENT
    forgets: int = 0
    """From this step of the model on, so many of the first steps after the system prompt are not sent any more."""
    finish: str | None = None

    @property
    def is_call(self) -> bool:
        return self.role == "assistant" and bool(self.tool)

    @property
    def said(self) -> str:
        """All that it says, as text."""
        return f"{self.text} {json.dumps(self.arguments)}" if self.is_call else self.text


@dataclass
class Run:
    task: str
    steps: list[Step]
    tools: tuple[ToolDefinition, ...] = ()
    corpus: dict[str, list[str]] = field(default_factory=dict)
    """Results of each tool in other runs."""

    def copy(self) -> Run:
        return replace_steps(self, copy.deepcopy(self.steps))

    def calls(self) -> list[int]:
        """The steps that call a tool and have their result right after them."""
        last = len(self.steps) - 1
        return [at for at, step in enumerate(self.steps) if step.is_call and at < last and self.steps[at + 1].role == "tool"]

    def definition(self, tool: str) -> ToolDefinition | None:
        return next((definition for definition in self.tools if definition.name == tool), None)

    def before(self, at: int, *roles: str) -> str:
        return "\n".join(step.said for step in self.steps[:at] if step.role in roles)

    def replaced(self, old: str, new: str, *, start: int, roles: Sequence[str], stop: int | None = None) -> None:
        """Puts ``new`` for ``old`` in what these roles say from ``start`` on."""
        for step in self.steps[start:stop]:
            if step.role in roles:
                step.text = step.text.replace(old, new)
                if step.is_call:
                    step.arguments = exchanged(step.arguments, old, new)


def replace_steps(run: Run, steps: list[Step]) -> Run:
    return Run(run.task, steps, run.tools, run.corpus)


def exchanged(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {name: exchanged(member, old, new) for name, member in value.items()}
    if isinstance(value, list):
        return [exchanged(member, old, new) for member in value]
    if isinstance(value, str):
        return value.replace(old, new)
    return type(value)(new) if not isinstance(value, bool) and str(value) == old else value


def steps_of(trajectory: Sequence[dict[str, Any]]) -> list[Step]:
    """Of messages in OpenAI's form."""
    steps: list[Step] = []
    asked: dict[str, str] = {}
    for raw in trajectory:
        calls = raw.get("tool_calls") or ()
        if raw.get("content") and not (raw["role"] == "assistant" and calls):
            steps.append(Step(raw["role"], str(raw["content"]), asked.get(raw.get("tool_call_id", ""), raw.get("name", ""))))
        elif not calls:
            steps.append(Step(raw["role"], "", asked.get(raw.get("tool_call_id", ""), raw.get("name", ""))))
        for call in calls:
            asked[call["id"]] = call["function"]["name"]
            arguments = parse_arguments(call["function"]["arguments"])
            steps.append(Step("assistant", raw.get("content") or "", call["function"]["name"], arguments))
    for step in steps:
        step.tool = "" if step.role in ("user", "system") else step.tool
    return steps


# -- the trace


class _Teller:
    """The steps of a run as spans: what each inference is sent, and which spans a step became."""

    def __init__(self, run: Run, tools: tuple[ToolDefinition, ...]) -> None:
        self.steps, self.tools = run.steps, tools
        self.messages = [_message(run.steps, at) for at in range(len(run.steps))]
        self.spans: list[Span] = []
        self.of_span: dict[str, list[int]] = {}
        self._first = self._began = 0
        self._agent = run.steps[0].agent
        self._unsent: list[int] = []

    def tell(self) -> None:
        for at, step in enumerate(self.steps):
            if step.role == "assistant":
                self._inference(at, step)
            elif step.role == "tool":
                self._execution(at, step)
            elif step.role == "user":
                self._unsent.append(at)

    def _inference(self, at: int, step: Step) -> None:
        if step.agent != self._agent:
            self._agent, self._began = step.agent, _handed(self.steps, at)
        self._first = step.forgets or self._first
        since = max(self._began, self._first)
        sent = tuple(self.messages[n] for n in range(at) if n >= since or self.steps[n].role == "system")
        finish = (step.finish,) if step.finish else ()
        answer = Inference("openai", input=sent, output=(self.messages[at],), tools=self.tools, finish_reasons=finish)
        self._span(answer, "chat", [at, *(~turn for turn in self._unsent)])
        self._unsent.clear()

    def _execution(self, at: int, step: Step) -> None:
        arguments, call_id = self.steps[at - 1].arguments, f"c{at - 1}"
        if step.failure:
            operation = ToolExecution(step.tool, arguments, call_id=call_id)
            self._span(operation, f"execute_tool {step.tool}", [at], failure=Failure(step.failure, step.text))
        else:
            self._span(ToolExecution(step.tool, arguments, step.text, True, call_id), f"execute_tool {step.tool}", [at])

    def _span(self, operation: Any, name: str, steps: list[int], **fields: Any) -> None:
        number = len(self.spans)
        times = (number * 10 + 1, number * 10 + 9, ROOT)
        made = Span(TRACE_ID, f"{number + 1:016x}", name, *times, operation=operation, sequence=number, **fields)
        self.spans.append(made)
        self.of_span[made.span_id] = steps


def trace_of(run: Run, *, tools: bool = True) -> tuple[Trace, dict[str, list[int]]]:
    """The trace with the verdicts it would have, and which steps each span is: of an inference also the user's turns that it
    was sent first, as negative numbers (``~step``)."""
    teller = _Teller(run, run.tools if tools else ())
    teller.tell()
    spans = _evaluated(teller.spans)
    root = Span(TRACE_ID, ROOT, "invoke_agent", 0, len(spans) * 10 + 10, operation=AgentInvocation(AGENT))
    return Trace([*spans, root]), teller.of_span


def _handed(steps: Sequence[Step], at: int) -> int:
    """The first step that the agent of step ``at`` knows of: the hand-off before it."""
    return next((number for number in range(at - 1, -1, -1) if steps[number].agent != steps[at].agent), 0)


def _message(steps: Sequence[Step], at: int) -> Message:
    step = steps[at]
    if step.role == "tool":
        return Message("tool", (ToolResult(step.text, f"c{at - 1}"),))
    parts: list[Any] = [Text(step.text)] if step.text else []
    if step.is_call:
        parts.append(ToolCall(step.tool, step.arguments, f"c{at}"))
    return Message(step.role, tuple(parts), finish_reason=step.finish)


def _evaluated(spans: Sequence[Span]) -> list[Span]:
    evaluator = Evaluator()
    state = evaluator.start()
    return [evaluator.step(state, span) for span in spans]
