"""`AgentRun` builds the spans of an agent's run step by step, for tests of lineage, signals and diagnosis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from typing_extensions import Self

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

TRACE_ID = "b" * 32
ROOT = "e" * 16


def tool(
    name: str, *required: str, description: str = "", changes: bool | None = None, polls: bool = False, **properties: Any
) -> ToolDefinition:
    """A tool. ``required``: names of required string arguments. ``properties``: other arguments, a JSON type or schema each."""
    schemas: dict[str, Any] = {key: {"type": "string"} for key in required}
    schemas |= {key: kind if isinstance(kind, dict) else {"type": kind} for key, kind in properties.items()}
    schema = {"type": "object", "properties": schemas, "required": list(required)}
    return ToolDefinition(name, schema, description, cache={}, changes=changes, polls=polls)


class AgentRun:
    """A run of one agent. Each method is one step. The model is sent all messages so far."""

    def __init__(self, *tools: ToolDefinition, system: str = "", traced: bool = True) -> None:
        """``traced``: executions have spans of their own; else only the messages show their results."""
        self.tools = tools
        self.traced = traced
        self.messages: list[Message] = [Message("system", (Text(system),))] if system else []
        self.spans: list[Span] = []
        self._calls = 0

    def user(self, text: str, *parts: Part) -> Self:
        self.messages.append(Message("user", (Text(text), *parts)))
        return self

    def answer(self, *parts: Part | str, failure: Failure | None = None, **fields: Any) -> Self:
        """Add a model call that is answered with texts or other parts. ``fields``: of the `Inference`."""
        message = Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))
        output = (message,) if parts else ()
        self.span(
            Inference("openai", **({"input": tuple(self.messages), "output": output, "tools": self.tools} | fields)), failure
        )
        self.messages.append(message)
        return self

    def call(
        self, name: str, result: Any = None, *, failure: Failure | None = None, ran: bool = True, **arguments: Any
    ) -> Self:
        """Add a tool call by the model. The tool answers, fails, or is refused (``ran`` False), and the model is sent that."""
        return self.calls((name, arguments, result), failure=failure, ran=ran)

    def calls(
        self,
        *calls: tuple[str, dict[str, Any], Any],
        failure: Failure | None = None,
        ran: bool = True,
        words: Sequence[Any] = (),
    ) -> Self:
        """Add one model call that requests several tools: name, arguments and result of each."""
        first = self._calls + 1
        self._calls += len(calls)
        parts = [ToolCall(name, arguments, f"call_{first + at}") for at, (name, arguments, _) in enumerate(calls)]
        self.answer(*words, *parts)
        for part, (name, arguments, result) in zip(parts, calls, strict=True):
            definition = next((definition for definition in self.tools if definition.name == name), None)
            execution = ToolExecution(
                name, arguments, result, failure is None and ran, part.id, definition=definition, executed=ran
            )
            if self.traced:
                self.span(execution, failure or (None if ran else Failure("Refused", "not allowed")))
            text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
            text = failure.message if failure is not None else text if ran else "refused"
            self.messages.append(Message("tool", (ToolResult(text, part.id),)))
        return self

    def span(self, operation: Operation, failure: Failure | None = None, **fields: Any) -> Span:
        """Add any other span below the agent."""
        number = len(self.spans)
        name = f"execute_tool {operation.name}" if isinstance(operation, ToolExecution) else getattr(operation, "name", "chat")
        place: dict[str, Any] = {"parent_id": ROOT, "run_id": TRACE_ID, "sequence": number} | fields
        times = (number * 10 + 1, number * 10 + 9)
        span = Span(TRACE_ID, f"{number + 1:016x}", name, *times, operation=operation, failure=failure, **place)
        self.spans.append(span)
        return span

    def trace(self, *, ended: bool = True, alive: bool = False, **root: Any) -> Trace:
        """The run below the span of its agent. ``ended`` False: the agent never ended. ``root``: fields of the agent's span."""
        end = len(self.spans) * 10 + 10 if ended else None
        fields = {"end": end, "operation": AgentInvocation("helper"), "run_id": TRACE_ID, "sequence": len(self.spans)} | root
        return Trace([*self.spans, Span(TRACE_ID, ROOT, "helper", 0, **fields)], alive=frozenset({ROOT} if alive else ()))
