"""Finds out what used up a run's budget."""

from __future__ import annotations

from collections import Counter

from llmtrace.diagnosis.finding import plural
from llmtrace.diagnosis.flow import Flow
from llmtrace.model import Inference, Span, Text, ToolExecution, ToolResult

_MOST = 0.5
"""Share of the whole from which on one thing took most of it."""


def who_spent(flow: Flow, stop: Span, message: str) -> str:
    """What took most of the budget until then: a long result that was sent again and again, a slow step, a tool that was called
    often, or prompts that grew. Empty if nothing did. ``message``: what the budget says."""
    until = stop.end or stop.start
    spans = [span for span in flow.trace.spans if span.start <= until and span.end is not None]
    inferences = [span.operation for span in spans if isinstance(span.operation, Inference)]
    if "second" in message:
        return _slowest_step(spans)
    return _longest_result(flow, inferences) or _most_called(flow) or _growing_prompts(inferences)


def _slowest_step(spans: list[Span]) -> str:
    steps = [span for span in spans if isinstance(span.operation, (Inference, ToolExecution))]
    slowest = max(steps, key=lambda span: span.duration or 0.0, default=None)
    if slowest is None:
        return ""
    whole = (max(span.end or 0 for span in spans) - min(span.start for span in spans)) / 1e9
    return f"{slowest.name} took {slowest.duration or 0.0:,.2g} of {whole:,.2g} seconds"


def _longest_result(flow: Flow, inferences: list[Inference]) -> str:
    """A result that took most of the input tokens, by its share of the characters of each request that it was sent with."""
    sent: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    total = 0
    for inference in inferences:
        lengths = {
            part.id: len(str(part.response))
            for message in inference.input
            for part in message.parts
            if isinstance(part, ToolResult) and part.id is not None
        }
        words = sum(len(part.content) for message in inference.input for part in message.parts if isinstance(part, Text))
        whole = words + sum(lengths.values())
        tokens = (inference.usage.input_tokens or 0) if inference.usage is not None else 0
        total += tokens
        for call_id, length in lengths.items():
            sent[call_id] += round(tokens * length / whole) if whole else 0
            requests[call_id] += 1
    for call_id, tokens in sent.most_common(1):
        call = flow.log.find(call_id)
        if call is not None and tokens >= _MOST * total > 0:
            often = plural(requests[call_id], "request")
            return f"the result of {call.tool} was sent along with {often} and took about {tokens:,} of {total:,} input tokens"
    return ""


def _most_called(flow: Flow) -> str:
    tools = Counter(node.tool for node in flow.calls)
    for tool, times in tools.most_common(1):
        if times > 2:
            ways = len({node.call.key for node in flow.calls if node.tool == tool and node.call is not None})
            how = "each time with other arguments" if ways == times else f"with {plural(ways, 'set')} of arguments"
            return f"{tool} was called {times} times, {how}"
    return ""


def _growing_prompts(inferences: list[Inference]) -> str:
    tokens = [inference.usage.input_tokens for inference in inferences if inference.usage is not None]
    counts = [count for count in tokens if count is not None]
    if len(counts) < 2:
        return ""
    return (
        f"{len(counts)} model calls were sent {sum(counts):,} input tokens in all, {counts[0]:,} first and {counts[-1]:,} last"
    )
