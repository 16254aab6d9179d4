"""Spans for the store's tests: small, numbered, with one resource and scope, as one process has them."""

from __future__ import annotations

from typing import Any

from llmtrace.model import AgentInvocation, Inference, Message, Scope, Span, Text, Usage

RESOURCE = {"service.name": "shop", "process.pid": 1}
SCOPE = Scope("llmtrace", "1")
SECOND = 1_000_000_000


def trace_id(number: int) -> str:
    return f"{number:032x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def span(trace: int, number: int = 1, *, parent: int | None = None, ended: bool = True, **more: Any) -> Span:
    """Span ``number`` of trace ``trace``; traces begin a second after each other, spans a microsecond."""
    start = 1_700_000_000 * SECOND + trace * SECOND + number * 1000
    made: dict[str, Any] = {
        "trace_id": trace_id(trace),
        "span_id": span_id(number),
        "name": f"step {number}",
        "start": start,
        "end": start + 500 if ended else None,
        "parent_id": None if parent is None else span_id(parent),
        "resource": RESOURCE,
        "scope": SCOPE,
        "run_id": f"{trace:032x}",
    }
    return Span(**(made | more))


def agent(name: str, **more: Any) -> AgentInvocation:
    return AgentInvocation(name, **more)


def inference(question: str, answer: str, **more: Any) -> Inference:
    return Inference(
        "openai",
        request_model="gpt-4o",
        input=(Message("user", (Text(question),)),),
        output=(Message("assistant", (Text(answer),)),),
        usage=Usage(10, 5),
        **more,
    )
