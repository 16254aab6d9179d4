"""A made-up agent run, turn by turn, as the spans that the live path would see. For tests of lineage and diagnosis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmtrace.lineage import LineageTracker, LiveLineage, ValueUse
from llmtrace.model import (
    AgentInvocation,
    Failure,
    Inference,
    Message,
    Operation,
    Part,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
)

TRACE_ID = "a" * 32
ROOT = "f" * 16


def tool(name: str, *, description: str = "", **properties: Any) -> ToolDefinition:
    """A tool whose arguments are strings, or as the given schemas say."""
    schemas = {key: value if isinstance(value, dict) else {"type": value} for key, value in properties.items()}
    return ToolDefinition(name, {"type": "object", "properties": schemas}, description, cache={})


class Story:
    """Each method is one thing that happens; the model is sent everything that was said so far."""

    def __init__(self, system: str = "", *, tools: Sequence[ToolDefinition] = ()) -> None:
        self.messages: list[Message] = [Message("system", (Text(system),))] if system else []
        self.spans: list[Span] = []
        self.tools = tuple(tools)
        self._calls = 0

    def user(self, text: str, *parts: Part) -> Story:
        self.messages.append(Message("user", (Text(text), *parts)))
        return self

    def says(self, *parts: Part | str, **inference: Any) -> Story:
        """The model answers; nothing is run."""
        message = Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))
        fields: dict[str, Any] = {"input": tuple(self.messages), "output": (message,), "tools": self.tools} | inference
        self.span(Inference("openai", **fields))
        self.messages.append(message)
        return self

    def calls(self, name: str, result: Any = None, *, failure: Failure | None = None, **arguments: Any) -> Story:
        """The model asks for a tool, which runs and answers (or fails), and the model is told."""
        self._calls += 1
        call_id = f"call_{self._calls}"
        self.says(ToolCall(name, arguments, call_id))
        self.span(ToolExecution(name, arguments, result, failure is None, call_id), failure=failure)
        text = result if isinstance(result, str) else json.dumps(result)
        self.messages.append(Message("tool", (ToolResult(failure.message if failure else text, call_id),)))
        return self

    def span(self, operation: Operation, **fields: Any) -> Span:
        number = len(self.spans)
        name = getattr(operation, "name", "chat")
        span = Span(TRACE_ID, f"{number + 1:016x}", name, number * 10 + 1, number * 10 + 9, ROOT, operation=operation, **fields)
        self.spans.append(span)
        return span

    def trace(self, **root: Any) -> Trace:
        """The run inside the span of its agent."""
        end = len(self.spans) * 10 + 10
        fields: dict[str, Any] = {"operation": AgentInvocation("helper"), "end": end} | root
        return Trace([*self.spans, Span(TRACE_ID, ROOT, "helper", 0, **fields)])

    def uses(self) -> list[ValueUse]:
        """Every value that the model said, with its provenance."""
        tracker = LineageTracker(self.spans)
        return [use for span in self.spans for use in tracker.add(span)]

    def live(self) -> list[ValueUse]:
        """The ungrounded identifiers that are found while the program runs."""
        lineage = LiveLineage()
        return [use for span in self.spans for use in lineage.add(span)]

    def use(self, pointer: str) -> ValueUse:
        """The last value of this argument."""
        return [use for use in self.uses() if use.pointer == pointer][-1]
