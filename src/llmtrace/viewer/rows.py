"""What a list shows: a trace in one row, a span in one row. Small, so that ten thousand of them load at once. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from llmtrace.codec import json_text
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
    Plan,
    Retrieval,
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
"""Characters of a call or an answer that a row keeps."""
MOST_AGENTS = 3
"""Agents of a trace that are named; how many more there are is the last name."""

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
    FetchResponse: "model",
    Custom: "step",
}


def trace_row(summary: TraceSummary) -> Row:
    """Times in milliseconds: ``start`` since the Unix epoch."""
    return {
        "id": summary.trace_id,
        "name": summary.name,
        "start": summary.start / 1e6,
        "duration": None if summary.duration is None else summary.duration * 1e3,
        "spans": summary.spans,
        "health": summary.health,
        "task": summary.task,
        "answer": summary.answer,
        "agents": _some(summary.agents),
        "models": list(summary.models),
        "errors": summary.errors,
        "findings": [name for name in summary.findings if name != INVALID_TOOL_CALL] or list(summary.findings),
        "input": summary.input_tokens,
        "output": summary.output_tokens,
        "cost": summary.cost_usd,
        "service": summary.service,
    }


def _some(names: Sequence[str]) -> list[str]:
    more = len(names) - MOST_AGENTS
    return [*names[:MOST_AGENTS], *([f"+{more}"] if more > 0 else [])]


def span_row(span: Span, trace: Trace) -> Row:
    """Times in milliseconds since the trace began. What is None, empty or false is left out."""
    operation = span.operation
    zero = trace.spans[0].start
    marked = marks(span)
    row: Row = {
        "id": span.span_id,
        "parent": span.parent_id,
        "name": title(span),
        "kind": _KINDS[type(operation)],
        "start": (span.start - zero) / 1e6,
        "end": None if span.end is None else (span.end - zero) / 1e6,
        "state": _state(span, trace, marked),
        "error": span.failure.type if span.failure is not None else None,
        "marks": marked,
        **_told(span, trace),
    }
    return {name: held for name, held in row.items() if held is not None and held != [] and held is not False}


def title(span: Span) -> str:
    """What a span is called in a row; a tool execution's arguments follow it as ``said``."""
    operation = span.operation
    if isinstance(operation, Inference):
        return operation.response_model or operation.request_model or operation.operation
    if isinstance(operation, (ToolExecution, AgentInvocation, Workflow)):
        return operation.name
    return span.name


def marks(span: Span) -> list[list[str]]:
    """Severity and name of each thing that was found, errors first, each once."""
    if not span.violations and not span.evaluations:
        return []
    found: list[tuple[str, str]] = [(one.severity, one.code) for one in span.violations]
    told = {OUTCOME, INVALID_TOOL_CALL} if found else {OUTCOME}  # the violations say it
    found += [(one.severity, one.name) for one in span.evaluations if one.name not in told and one.severity != "info"]
    found.sort(key=lambda mark: mark[0])
    return [list(mark) for mark in dict.fromkeys(found)]


def _state(span: Span, trace: Trace, marked: list[list[str]]) -> str:
    if span.end is None:
        return "interrupted" if trace.interrupted(span) else "running"
    if has_error(span):
        return "error"
    return "warning" if marked else "ok"


def arguments_of(span: Span, trace: Trace) -> JsonValue:
    """The arguments of a tool execution; while it has not ended, those that the model asked for."""
    operation: Any = span.operation
    if operation.arguments is None and span.end is None and operation.call_id is not None:
        outputs = (getattr(one.operation, "output", ()) for one in reversed(trace.spans))
        asked = (call for output in outputs for call in _asked(output) if call.id == operation.call_id)
        return next((call.arguments for call in asked), None)
    return operation.arguments


def _told(span: Span, trace: Trace) -> Row:
    operation: Any = span.operation
    if isinstance(operation, Inference):
        return _of_inference(operation)
    if isinstance(operation, ToolExecution):
        arguments = arguments_of(span, trace)
        said, refused = _arguments(arguments), not operation.executed
        snippet = None if arguments is None else said[:SNIPPET]
        return {"said": snippet, "call": operation.call_id, "same": _same(said), "refused": refused}
    if isinstance(operation, Embedding) and operation.usage is not None:
        return {"in": operation.usage.input_tokens}
    output = getattr(operation, "output", ())
    return {"said": _snippet(output, _called(_asked(output)))}


def _of_inference(inference: Inference) -> Row:
    usage = inference.usage
    first = inference.time_to_first_chunk
    asked = _asked(inference.output)
    called = _called(asked)
    row: Row = {
        "said": _snippet(inference.output, called),
        "cost": inference.cost_usd,
        "first": None if first is None else first * 1e3,
        "partial": inference.partial,
        "calls": [call.id for call in asked if call.id is not None],
        "asks": list(dict.fromkeys(call.name for call in asked)),
        "same": _same(" ".join(called)) if asked else None,
    }
    if usage is not None:
        row |= {"in": usage.input_tokens, "out": usage.output_tokens, "cached": usage.cache_read_input_tokens}
    return row


def _asked(messages: Iterable[Message]) -> list[ToolCall]:
    return [call for message in messages for call in message.tool_calls()]


def _called(calls: Iterable[ToolCall]) -> list[str]:
    return [f"{call.name}({_arguments(call.arguments)})" for call in calls]


def _snippet(messages: Iterable[Message], called: Iterable[str]) -> str:
    """The first words of an answer, and the calls in it."""
    pieces = [text[:SNIPPET] for message in messages if (text := message.visible_text().strip())]
    pieces += [f"→ {call[:SNIPPET]}" for call in called]
    return " ".join(" ".join(pieces).split())[:SNIPPET]


def _same(said: str) -> str:
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=6).hexdigest()


def _arguments(arguments: JsonValue) -> str:
    """As in a function call."""
    if isinstance(arguments, dict):
        return ", ".join([f"{_spelt(name)}={json_text.write(member)}" for name, member in arguments.items()])
    return "" if arguments is None else str(arguments)


@lru_cache(maxsize=4096)
def _spelt(name: str) -> str:
    return name if _NAME.fullmatch(name) else json_text.write(name)
