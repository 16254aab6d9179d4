"""The rows of the viewer's lists: one row per trace or span. They are small, so that ten thousand load at once. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from llmtrace.codec import json_text
from llmtrace.listing import Session
from llmtrace.model import (
    INVALID_TOOL_CALL,
    OUTCOME,
    AgentInvocation,
    Custom,
    Embedding,
    FetchResponse,
    Inference,
    JsonValue,
    Memory,
    Message,
    Operation,
    Plan,
    Retrieval,
    Review,
    Span,
    ToolCall,
    ToolExecution,
    Trace,
    Workflow,
    has_error,
)
from llmtrace.store import TraceSummary

Row = dict[str, Any]
SNIPPET = 160
"""Maximum number of characters of a call or an answer in a row."""
MOST_AGENTS = 3
"""Maximum number of a trace's agents that are named. If it has more, their number follows as ``+N``."""

_NAME = re.compile(r"[\w$.-]+")

_KINDS: dict[type, str] = {
    Inference: "model",
    ToolExecution: "tool",
    AgentInvocation: "agent",
    Workflow: "workflow",
    Plan: "plan",
    Retrieval: "retrieval",
    Embedding: "embedding",
    Memory: "memory",
    Review: "review",
    FetchResponse: "model",
    Custom: "step",
}


def trace_row(summary: TraceSummary, waiting: Collection[str] = ()) -> Row:
    """Return a trace as a row. ``start`` is in milliseconds since the Unix epoch, ``duration`` in milliseconds.

    ``waiting``: ids of the traces that wait for a person. A run whose program died meanwhile has failed.
    """
    names = summary.title if summary.agents or summary.workflows else ()
    more = len(names) - MOST_AGENTS
    return {
        "id": summary.trace_id,
        "name": summary.name,
        "start": summary.start / 1e6,
        "duration": None if summary.duration is None else summary.duration * 1e3,
        "spans": summary.spans,
        "health": summary.health,
        "task": summary.task,
        "answer": summary.answer,
        "agents": [*names[:MOST_AGENTS], *([f"+{more}"] if more > 0 else [])],
        "waits": summary.trace_id in waiting and summary.health != "failed",
        "models": list(summary.models),
        "errors": summary.errors,
        "findings": [name for name in summary.findings if name != INVALID_TOOL_CALL] or list(summary.findings),
        "input": summary.input_tokens,
        "output": summary.output_tokens,
        "cost": summary.cost_usd,
        "service": summary.service,
        "replayOf": summary.replay_of,
    }


def session_row(session: Session, waiting: Collection[str]) -> Row:
    duration = session.total(lambda turn: turn.duration)
    return {
        "conversation": session.conversation,
        "health": session.health,
        "duration": None if duration is None else duration * 1e3,
        "input": session.total(lambda turn: turn.input_tokens),
        "output": session.total(lambda turn: turn.output_tokens),
        "cost": session.total(lambda turn: turn.cost_usd),
        "turns": [trace_row(turn, waiting) for turn in session.turns],
    }


def span_row(span: Span, trace: Trace) -> Row:
    """Return a span as a row. Times are milliseconds since the trace started. Members that are None, [] or False are absent."""
    operation = span.operation
    zero = trace.spans[0].start
    marked = marks(span)
    if span.end is None:
        state = "interrupted" if trace.interrupted(span) else "running"
    else:
        state = "error" if has_error(span) else "warning" if marked else "ok"
    row: Row = {
        "id": span.span_id,
        "parent": span.parent_id,
        "name": title(span),
        "kind": _KINDS[type(operation)],
        "start": (span.start - zero) / 1e6,
        "end": None if span.end is None else (span.end - zero) / 1e6,
        "state": state,
        "error": span.failure.type if span.failure is not None else None,
        "marks": marked,
        **_operation_fields(span, trace),
    }
    return {name: value for name, value in row.items() if value is not None and value != [] and value is not False}


def title(span: Span) -> str:
    """Return the title of a span's row. A tool execution's arguments are in the row's member ``said``."""
    operation = span.operation
    if isinstance(operation, Inference):
        return operation.model or operation.operation
    if isinstance(operation, (ToolExecution, AgentInvocation, Workflow)):
        return operation.name
    if isinstance(operation, Review):
        return operation.tool or operation.question
    return span.name


def marks(span: Span) -> list[list[str]]:
    """Return severity and name of each finding, errors first, without repeats."""
    if not span.violations and not span.evaluations:
        return []
    findings: list[tuple[str, str]] = [(violation.severity, violation.code) for violation in span.violations]
    already_shown = {OUTCOME, INVALID_TOOL_CALL} if findings else {OUTCOME}  # the violations show the invalid call already
    findings += [
        (evaluation.severity, evaluation.name)
        for evaluation in span.evaluations
        if evaluation.name not in already_shown and evaluation.severity != "info"
    ]
    findings.sort(key=lambda mark: mark[0])
    return [list(mark) for mark in dict.fromkeys(findings)]


def arguments_of(span: Span, trace: Trace) -> JsonValue:
    """Return the arguments of a tool execution. Before it has ended, they are taken from the model's tool call."""
    operation = span.operation
    if not isinstance(operation, ToolExecution):
        return None
    call_id = operation.call_id
    if operation.arguments is None and span.end is None and call_id is not None:
        outputs = (_output(earlier.operation) for earlier in reversed(trace.spans))
        calls = (call for output in outputs for call in _tool_calls(output))
        return next((call.arguments for call in calls if (call.id, call.name) == (call_id, operation.name)), None)
    return operation.arguments


def _output(operation: Operation) -> tuple[Message, ...]:
    return operation.output if isinstance(operation, (Inference, FetchResponse, AgentInvocation, Workflow)) else ()


def _operation_fields(span: Span, trace: Trace) -> Row:
    operation = span.operation
    if isinstance(operation, Inference):
        return _of_inference(operation)
    if isinstance(operation, ToolExecution):
        arguments = arguments_of(span, trace)
        written, refused = arguments_text(arguments), not operation.executed and span.failure is not None
        snippet = None if arguments is None else written[:SNIPPET]
        return {"said": snippet, "call": operation.call_id, "same": _same(written), "refused": refused}
    if isinstance(operation, Review):
        value = "" if operation.value is None else f" → {arguments_text(operation.value)}"
        return {"said": (operation.outcome + value)[:SNIPPET]}
    if isinstance(operation, Embedding) and operation.usage is not None:
        return {"in": operation.usage.input_tokens}
    output = _output(operation)
    return {"said": _snippet(output, _called(_tool_calls(output)))}


def _of_inference(inference: Inference) -> Row:
    usage = inference.usage
    first = inference.time_to_first_chunk
    calls = _tool_calls(inference.output)
    called = _called(calls)
    row: Row = {
        "said": _snippet(inference.output, called),
        "cost": inference.cost_usd,
        "first": None if first is None else first * 1e3,
        "partial": inference.partial,
        "calls": [call.id for call in calls if call.id is not None],
        "asks": list(dict.fromkeys(call.name for call in calls)),
        "same": _same(" ".join(called)) if calls else None,
    }
    if usage is not None:
        row |= {"in": usage.input_tokens, "out": usage.output_tokens, "cached": usage.cache_read_input_tokens}
    return row


def _tool_calls(messages: Iterable[Message]) -> list[ToolCall]:
    return [call for message in messages for call in message.tool_calls()]


def _called(calls: Iterable[ToolCall]) -> list[str]:
    return [f"{call.name}({arguments_text(call.arguments)})" for call in calls]


def _snippet(messages: Iterable[Message], called: Iterable[str]) -> str:
    """Return the first words of an answer, and its tool calls."""
    pieces = [text[:SNIPPET] for message in messages if (text := message.visible_text().strip())]
    pieces += [f"→ {call[:SNIPPET]}" for call in called]
    return " ".join(" ".join(pieces).split())[:SNIPPET]


def _same(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def arguments_text(arguments: JsonValue) -> str:
    """Return the arguments, written as in a function call."""
    if isinstance(arguments, dict):
        return ", ".join([f"{_spelt(name)}={json_text.write(member)}" for name, member in arguments.items()])
    return "" if arguments is None else str(arguments)


@lru_cache(maxsize=4096)
def _spelt(name: str) -> str:
    return name if _NAME.fullmatch(name) else json_text.write(name)
