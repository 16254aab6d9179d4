"""Orders the spans of a trace by the time at which their content became visible, whatever order they arrived in."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from llmtrace.codec import json_text
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Span, ToolCall, ToolExecution, ToolResult, Workflow


class CallJoins:
    """Finds the inference that requested an execution: by call id, else by the tool's name and equal arguments."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._calls: defaultdict[object, list[tuple[Span, ToolCall]]] = defaultdict(list)
        for span in sorted(spans, key=_rank):
            if isinstance(span.operation, (Inference, FetchResponse)):
                for call in (call for message in span.operation.output for call in message.tool_calls()):
                    if call.id is not None:
                        self._calls[call.id].append((span, call))
                    self._calls[call.name, json_text.write(call.arguments)].append((span, call))

    def find(self, span: Span) -> tuple[Span, ToolCall] | None:
        """Return the inference that requested an execution, and its call; None if it is not found.

        If several calls share the id, the inference that began last before the execution is taken.
        """
        if not isinstance(span.operation, ToolExecution):
            return None
        execution = span.operation
        by_words = (execution.name, json_text.write(execution.arguments)) if execution.call_id is None else None
        calls = self._calls.get(by_words or execution.call_id, [])
        return calls[max(0, bisect_right(calls, span.start, key=lambda pair: pair[0].start) - 1)] if calls else None


def moments(spans: Sequence[Span]) -> list[tuple[Span, bool]]:
    """Return the ends of all spans (True), and the begins of agents and workflows with input (False), in order of time.

    An execution comes after the inference that requested it, and before the inference that is sent its result. This also holds
    if clocks are coarse, or the inference ends later than the execution.
    """
    joins = CallJoins(spans)
    askers = {span.span_id: pair[0] for span in spans if (pair := joins.find(span))}
    latest_first = sorted(spans, key=_rank, reverse=True)
    executions = {span.operation.call_id: span for span in latest_first if isinstance(span.operation, ToolExecution)}
    holders = [span for span in spans if isinstance(span.operation, (AgentInvocation, Workflow))]
    by_time = [(span.start, 0, span) for span in holders if getattr(span.operation, "input", ())]
    by_time += [(span.end, 1, span) for span in spans if span.end is not None]
    by_time.sort(key=lambda moment: (*moment[:2], _rank(askers.get(moment[2].span_id, moment[2])), _rank(moment[2])))
    ordered: list[tuple[Span, bool]] = []
    visited: set[str] = set()
    for _, is_end, moment in by_time:
        # Depth first: an end waits on the stack until the spans that must come before it are placed.
        waiting = [(moment, not is_end)]
        while waiting:
            span, is_ready = waiting.pop()
            if is_ready:
                ordered.append((span, bool(is_end)))
            elif span.span_id not in visited and span.end is not None:
                visited.add(span.span_id)
                waiting.append((span, True))
                if span.span_id in askers:
                    waiting.append((askers[span.span_id], False))
                elif isinstance(span.operation, Inference):
                    waiting += [(execution, False) for execution in _new_executions(span, span.operation, executions, visited)]
    return ordered


def _new_executions(span: Span, inference: Inference, executions: dict[str | None, Span], visited: set[str]) -> list[Span]:
    """Return the new executions whose results a request contains, the last first."""
    new: list[Span] = []
    for message in reversed(inference.input):
        for part in message.parts:
            if isinstance(part, ToolResult) and part.id in executions:
                if executions[part.id].span_id in visited:
                    return new
                if executions[part.id].start <= span.start:
                    new.append(executions[part.id])
    return new


def _rank(span: Span) -> tuple[int, int, int, str]:
    """Return a sort key that does not depend on the order of arrival. In a conversation, the longer request is later."""
    length = len(span.operation.input) if isinstance(span.operation, Inference) else 0
    return span.start, -1 if span.sequence is None else span.sequence, length, span.span_id
