"""Recorded runs of real agents that did their task: few of them may carry a warning, an error or a mark."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from law_cases import evaluate, run

from llmtrace.model import Inference, Message, Operation, Part, Text, ToolCall, ToolDefinition, ToolExecution, ToolResult

SETS = {"gpt-4o-airline.jsonl": "airline_tools.json", "retail_agentrx.jsonl": "retail_tools.json"}


@pytest.mark.parametrize("name", SETS)
def test_successful_runs_raise_few_alarms(name: str, data: Path) -> None:
    """At most 3 % of the runs that earned their reward have a warning, an error or a mark of any one law."""
    definitions = json.loads((data / "tau_bench" / SETS[name]).read_text())
    tools = tuple(ToolDefinition(one["function"]["name"], one["function"]["parameters"]) for one in definitions)
    alarms: Counter[str] = Counter()
    runs = 0
    for line in (data / "tau_bench" / name).read_text().splitlines():
        recorded = json.loads(line)
        if recorded["reward"] == 1:
            runs += 1
            spans = run(*_steps(recorded["traj"], tools))
            alarms.update({one.name for span in evaluate(spans) for one in span.evaluations if one.severity != "info"})
    assert runs > 30
    assert {law: count for law, count in alarms.items() if count > 0.03 * runs} == {}


def _steps(trajectory: list[dict[str, Any]], tools: tuple[ToolDefinition, ...]) -> Iterator[Operation]:
    messages = tuple(_message(said) for said in trajectory)
    asked: dict[str, Any] = {}
    for number, (message, said) in enumerate(zip(messages, trajectory, strict=True)):
        if message.role == "assistant":
            asked |= {call.id or "": call.arguments for call in message.tool_calls()}
            yield Inference("openai", input=messages[:number], output=(message,), tools=tools)
        elif message.role == "tool":
            call_id = said["tool_call_id"]
            yield ToolExecution(said["name"], asked[call_id], said["content"], has_result=True, call_id=call_id)


def _message(said: dict[str, Any]) -> Message:
    if said["role"] == "tool":
        return Message("tool", (ToolResult(said["content"], said["tool_call_id"]),))
    parts: tuple[Part, ...] = (Text(said["content"]),) if said.get("content") else ()
    return Message(said["role"], (*parts, *map(_call, said.get("tool_calls") or ())))


def _call(call: dict[str, Any]) -> ToolCall:
    return ToolCall(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])
