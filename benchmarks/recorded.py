"""Recorded runs of agents as the spans that llmtrace makes of them, for the benchmarks of verdicts.

Customer-service runs (tau-bench) and coding runs (Terminal-Bench) are message lists: every answer becomes an inference that was
sent all messages before it, every result an execution, below one agent's span. TRAIL's spans are imported as they are.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report
from llmtrace.cli import main as llmtrace
from llmtrace.model import (
    AgentInvocation,
    Failure,
    Inference,
    Message,
    Reasoning,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
)
from llmtrace.store import Query, open_store
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import read_definition

TAU = (("airline", "gpt-4o-airline.jsonl", "airline_tools.json"), ("retail", "retail_agentrx.jsonl", "retail_tools.json"))
TERMINAL = (("Claude Code, 4 models", "claude_code_4models.jsonl"), ("Claude Code, Kimi K2.5", "kimi_k2.5_claude_code.jsonl"))
ROOT = "f" * 16


@dataclass
class Run:
    """A run under construction: messages in, spans out."""

    tools: tuple[ToolDefinition, ...] = ()
    messages: list[Message] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    asked: dict[str, ToolCall] = field(default_factory=dict)

    def said(self, message: Message) -> None:
        """The user, the system or a tool says something."""
        self.messages.append(message)

    def answered(self, message: Message) -> None:
        """The model says something."""
        self._add(Inference("recorded", input=tuple(self.messages), output=(message,), tools=self.tools))
        self.messages.append(message)
        self.asked |= {call.id: call for call in message.tool_calls() if call.id is not None}

    def returned(self, call_id: str, result: Any, *, error: bool = False) -> None:
        """A tool gives its result, or says that it failed."""
        call = self.asked.get(call_id)
        if call is not None:
            failure = Failure("tool_error", str(result)[:200]) if error else None
            self._add(ToolExecution(call.name, call.arguments, result, not error, call_id), failure=failure)
        self.messages.append(Message("tool", (ToolResult(result, call_id),)))

    def trace(self, trace_id: str, *, ended: bool = True) -> Trace:
        """``ended`` False: the program was gone before its end."""
        last = 10 * len(self.spans) + 20
        root = Span(trace_id, ROOT, "agent", 0, last if ended else None, operation=AgentInvocation("agent"), run_id=trace_id)
        spans = [*self.spans, Span(**{**_fields(root), "sequence": len(self.spans)})]
        return Trace([Span(**{**_fields(span), "trace_id": trace_id, "run_id": trace_id}) for span in spans])

    def _add(self, operation: Any, failure: Failure | None = None) -> None:
        number = len(self.spans)
        span_id, start = f"{number + 1:016x}", 10 * number + 10
        times = {"start": start, "end": start + 5, "parent_id": ROOT, "sequence": number}
        self.spans.append(Span("0" * 32, span_id, "s", operation=operation, failure=failure, **times))  # type: ignore[arg-type]


def _fields(span: Span) -> dict[str, Any]:
    return {name: getattr(span, name) for name in Span.__dataclass_fields__}


# -- tau-bench


def customer_service(folder: Path) -> Iterator[tuple[str, Trace, bool]]:
    """The set, the run, and whether it earned its reward."""
    for name, file, tools in TAU:
        definitions = tuple(map(read_definition, json.loads((folder / tools).read_text(encoding="utf-8"))))
        for number, row in enumerate(report.rows(folder / file)):
            run = Run(definitions)
            for raw in row["traj"]:
                if raw["role"] == "assistant":
                    run.answered(_assistant(raw))
                elif raw["role"] == "tool":
                    run.returned(raw["tool_call_id"], raw["content"])
                else:
                    run.said(Message(raw["role"], (Text(raw["content"]),)))
            yield name, run.trace(f"{number + 1:032x}"), row["reward"] == 1


def _assistant(raw: dict[str, Any]) -> Message:
    parts: list[Any] = [Text(raw["content"])] if raw.get("content") else []
    calls = [(call["function"], call["id"]) for call in raw.get("tool_calls") or ()]
    parts += [ToolCall(function["name"], parse_arguments(function["arguments"]), call_id) for function, call_id in calls]
    return Message("assistant", tuple(parts))


# -- runs of many sources, as chat messages


def mixed(folder: Path) -> Iterator[tuple[str, str, Trace, bool | None, dict[str, Any]]]:
    """The source, the run's id, the run, whether it went well (None: nobody can say), and what is known of its label."""
    number = 0
    for file in sorted(folder.glob("*.jsonl")):
        for row in report.rows(file):
            number += 1
            detail = row["label_detail"]
            made_up = "synth" in str(detail.get("tools_origin", ""))
            definitions = tuple(map(read_definition, row.get("tools") or ()))
            run = Run(tuple(ToolDefinition(tool.name) for tool in definitions) if made_up else definitions)
            for raw in row["messages"]:
                if raw["role"] == "assistant":
                    run.answered(_assistant(raw))
                elif raw["role"] == "tool":
                    run.returned(raw["tool_call_id"], raw.get("content"), error=bool(raw.get("error")))
                else:
                    run.said(Message(raw["role"], (Text(raw.get("content") or ""),)))
            yield row["source"], row["id"], run.trace(f"{number:032x}"), row["good"], detail


# -- Terminal-Bench


def terminal(folder: Path) -> Iterator[tuple[str, Trace, bool]]:
    """The set, the run, and whether the task was solved; runs that were not graded are left out."""
    for name, file in TERMINAL:
        for number, row in enumerate(report.rows(folder / file)):
            solved = row["resolved"] if "resolved" in row else row["reward"] == 1
            if solved is not None:
                made = _streamed(row) if "messages" in row else _stepped(row)
                yield name, made.trace(f"{number + 1:032x}", ended=row.get("final", True) is not None), solved


def _streamed(row: dict[str, Any]) -> Run:
    """Messages as Claude Code streams them: the blocks of one answer come as messages of one id."""
    run = Run(tuple(ToolDefinition(name) for name in row["init"]["tools"]) if row.get("init") else ())
    run.said(Message("user", (Text(row["instruction"]),)))
    waiting: list[Any] = []
    for place, message in enumerate(row["messages"]):
        content = message["content"] if isinstance(message["content"], list) else []
        if message["role"] == "assistant":
            waiting += [part for block in content if (part := _block(block)) is not None]
            later = row["messages"][place + 1] if place + 1 < len(row["messages"]) else None
            if later is None or later["role"] != "assistant":
                run.answered(Message("assistant", tuple(waiting)))
                waiting = []
        else:
            for block in content:
                if block["type"] == "tool_result":
                    run.returned(block["tool_use_id"], block.get("content"), error=bool(block.get("is_error")))
                elif block["type"] == "text":
                    run.said(Message("user", (Text(block["text"]),)))
    return run


def _block(block: dict[str, Any]) -> Text | ToolCall | None:
    if block["type"] == "text":
        return Text(block["text"])
    return ToolCall(block["name"], block["input"], block["id"]) if block["type"] == "tool_use" else None


def _stepped(row: dict[str, Any]) -> Run:
    """The steps of an ATIF trajectory: those with tool calls hold their results too."""
    run = Run()
    for step in row["steps"]:
        text: tuple[Any, ...] = (Text(step["message"]),) if step.get("message") else ()
        if step["source"] != "agent":
            run.said(Message(step["source"], text))
            continue
        calls = [
            ToolCall(call["function_name"], call["arguments"], call["tool_call_id"]) for call in step.get("tool_calls") or ()
        ]
        thought = (Reasoning(step["reasoning_content"]),) if step.get("reasoning_content") else ()
        run.answered(Message("assistant", (*thought, *(() if calls else text), *calls)))
        for result in (step.get("observation") or {}).get("results") or ():
            run.returned(result.get("source_call_id") or "", result.get("content"))
    return run


# -- TRAIL


def annotated(folder: Path) -> Iterator[tuple[Trace, dict[str, set[str]]]]:
    """Each trace, and by span id the categories of the errors that people saw in it."""
    seen: dict[str, dict[str, set[str]]] = {}
    files = sorted(folder.glob("*.json"))
    for file in files:
        held = json.loads(file.read_bytes())
        if held["spans"]:
            errors = seen[held["trace_id"]] = {}
            for error in held["errors"]:
                errors.setdefault(error["location"], set()).add(error["category"])
    with tempfile.TemporaryDirectory() as home:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            llmtrace(["import", *map(str, files), "--store", home])
        store = open_store(home)
        for found in store.traces(Query(limit=10_000)):
            yield store.trace(found.trace_id), seen[found.trace_id]
        store.close()
