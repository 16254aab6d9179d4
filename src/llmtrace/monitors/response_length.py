"""Monitors the length of answers and of turns with tool calls, in output tokens, or in characters if tokens are not known."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Inference, Span
from llmtrace.monitors._monitor import Observation, PlainMonitor, of_turn


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial:
        return ()
    tokens = None if inference.usage is None else inference.usage.output_tokens
    number, unit = (tokens, "tokens") if tokens else (sum(len(message.text()) for message in inference.output), "characters")
    return (of_turn(inference, number, "response length", "length of tool calls", unit),) if number else ()


MONITOR = PlainMonitor("response_length", observe)
