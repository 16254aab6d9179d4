"""Seconds for each output token: after the first chunk where the answer was streamed, else of the whole call.

An answer that is longer takes longer and is no slower; so a change here is the server's, not the answers'. Turns that ask for
tools are short, and what a call takes besides weighs more in them: they are followed apart.
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
