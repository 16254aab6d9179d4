"""Spans for the tests of statistics: numbered, in seconds, of one trace each."""

from __future__ import annotations

from typing import Any

from llmtrace.model import Inference, Operation, Span, Trace, Usage

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND


def span(
    number: int, operation: Operation, *, parent: int | None = None, at: float = 0, took: float | None = 1, **more: Any
) -> Span:
    start = BEGIN + round(at * SECOND)
    fields: dict[str, Any] = {"name": f"span {number}", "parent_id": None if parent is None else f"{parent:016x}"} | more
    end = None if took is None else start + round(took * SECOND)
    return Span("a" * 32, f"{number:016x}", start=start, end=end, operation=operation, **fields)


def call(output: int | None = 10, *, model: str = "m", **more: Any) -> Inference:
    """A model call of so many output tokens, and ten times as many input tokens; None: its usage is not known."""
    usage = None if output is None else Usage(10 * output, output)
    return Inference("openai", request_model="asked", response_model=model, **({"usage": usage} | more))


def trace(*spans: Span) -> Trace:
    return Trace(list(spans))
