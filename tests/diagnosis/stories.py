"""A made-up agent run, told step by step, as the spans that llmtrace records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import (
    AgentInvocation,
    Failure,
    Inference,
    Message,
    Operation,
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


def tool(name: str, *required: str, changes: bool | None = None, polls: bool = False, **properties: Any) -> ToolDefinition:
    """A tool whose arguments are strings, or as the given JSON types say."""
    schemas = {key: {"type": "string"} for key in required} | {key: {"type": kind} for key, kind in properties.items()}
    schema = {"type": "object", "properties": schemas, "required": list(required)}
    return ToolDefinition(name, schema, f"{name}.", cache={}, changes=changes, polls=polls)


class Story:
    """Each method is one thing that happens. The model is sent everything that was said so far."""

    def __init__(self, *tools: ToolDefinition, system: str = "") -> None:
        self.tools = tools
        self.messages: list[Message] = [Message("system", (Text(system),))] if system else []
        self.spans: list[Span] = []
        self._calls = 0

    def user(self, text: str) -> Story:
        self.messages.append(Message("user", (Text(text),)))
        return self

    def answer(self, *parts: Any, failure: Failure | None = None, **fields: Any) -> Story:
        """The model answers in words, or in the given parts."""
        message = Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))
        output = (message,) if parts else ()
        of_inference = {"input": tuple(self.messages), "output": output, "tools": self.tools} | fields
        self._span(Inference("openai", **of_inference), "chat", failure)
        self.messages.append(message)
        return self

    def call(
        self, name: str, result: Any = None, *, failure: Failure | None = None, ran: bool = True, **arguments: Any
    ) -> Story:
        """The model asks for a tool. It runs and answers, fails, or is refused (``ran`` False), and the model is told."""
        return self.calls((name, arguments, result), failure=failure, ran=ran)

    def calls(
        self,
        *calls: tuple[str, dict[str, Any], Any],
        failure: Failure | None = None,
        ran: bool = True,
        words: Sequence[Any] = (),
    ) -> Story:
        """The model asks for several tools at once."""
        first = self._calls + 1
        self._calls += len(calls)
        asked = [ToolCall(name, arguments, f"call_{first + at}") for at, (name, arguments, _) in enumerate(calls)]
        self.answer(*words, *asked)
        for part, (name, arguments, result) in zip(asked, calls, strict=True):
            definition = next((one for one in self.tools if one.name == name), None)
            execution = ToolExecution(
                name, arguments, result, failure is None and ran, part.id, definition=definition, executed=ran
            )
            self._span(execution, f"execute_tool {name}", failure or (None if ran else Failure("Refused", "not allowed")))
            text = result if isinstance(result, str) else json.dumps(result)
            text = failure.message if failure is not None else text if ran else "refused"
            self.messages.append(Message("tool", (ToolResult(text, part.id),)))
        return self

    def _span(self, operation: Operation, name: str, failure: Failure | None = None) -> None:
        number = len(self.spans)
        self.spans.append(
            Span(
                TRACE_ID,
                f"{number + 1:016x}",
                name,
                number * 10 + 1,
                number * 10 + 9,
                ROOT,
                operation=operation,
                failure=failure,
                run_id=TRACE_ID,
                sequence=number,
            )
        )

    def trace(self, *, ended: bool = True, alive: bool = False, **root: Any) -> Trace:
        """The run inside the span of its agent. ``ended`` False: the agent never ended."""
        fields = {"operation": AgentInvocation("helper"), "run_id": TRACE_ID, "sequence": len(self.spans)} | root
        end = len(self.spans) * 10 + 10 if ended else None
        agent = Span(TRACE_ID, ROOT, "helper", 0, end, **fields)
        return Trace([*self.spans, agent], alive=frozenset({ROOT} if alive else ()))

    def diagnosis(self, **root: Any) -> Diagnosis:
        """The diagnosis of the run as its reader sees it: evaluated, then diagnosed."""
        evaluated, _ = evaluate_trace(self.trace(**root))
        return diagnose(evaluated)
