"""Monitors the seconds for each output token: after the first chunk if the answer was streamed, else over the whole call.

The time per token does not grow with the length of the answer, so a change shows a faster or slower server. Turns that call
tools are short, so the fixed time of a call weighs more: they have a stream of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Inference, Span
from llmtrace.monitors._monitor import Observation, PlainMonitor, of_turn


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial:
        return ()
    seconds = _per_token(inference, span.duration)
    if seconds is None:
        return ()
    return (of_turn(inference, seconds, "time per output token", "time per token of tool calls", "s"),)


def _per_token(inference: Inference, duration: float | None) -> float | None:
    tokens = None if inference.usage is None else inference.usage.output_tokens
    if not tokens or not duration:
        return None
    first = inference.time_to_first_chunk
    if first is None:
        return None if inference.stream else duration / tokens
    return max(0.0, duration - first) / (tokens - 1) if tokens > 1 else None


MONITOR = PlainMonitor("token_latency", observe)
