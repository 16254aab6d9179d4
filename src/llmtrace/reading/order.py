"""Orders the spans of a run by the time at which their content became visible, whatever order they arrived in."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from llmtrace.codec import json_text
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Span, ToolExecution, ToolResult, Workflow, outermost_of


def moments(spans: Sequence[Span]) -> list[tuple[Span, bool]]:
    """Return the ends of all spans (True), and the begins of agents and workflows (False), in order.

    A run that llmtrace recorded is read in the order in which it was judged live. The spans of other writers, and those of
    several runs, are ordered by cause: an execution comes after the inference that requested it, and before the inference that
    is sent its result. This also holds if clocks are coarse, or the inference ends later than the execution.
    """
    begins = sorted((span for span in spans if isinstance(span.operation, (AgentInvocation, Workflow))), key=_rank)
    ended = [span for span in spans if span.end is not None]
    if len({span.run_id for span in spans}) == 1 and all(span.sequence is not None for span in ended):
        return _in_sequence(begins, ended)
    return _by_cause(begins, ended)


def _in_sequence(begins: Sequence[Span], ended: Sequence[Span]) -> list[tuple[Span, bool]]:
    ordered: list[tuple[Span, bool]] = []
    waiting = list(reversed(begins))
    for span in sorted(ended, key=lambda span: (span.sequence or 0, span.end or 0)):
        while waiting and waiting[-1].start <= (span.end or 0):
            ordered.append((waiting.pop(), False))
        ordered.append((span, True))
    return [*ordered, *((span, False) for span in reversed(waiting))]


def _by_cause(begins: Sequence[Span], ended: Sequence[Span]) -> list[tuple[Span, bool]]:
    askers = _askers(ended)
    latest_first = sorted(ended, key=_rank, reverse=True)
    executions = {span.operation.call_id: span for span in latest_first if isinstance(span.operation, ToolExecution)}
    by_time = [(span.start, 0, span) for span in begins]
    by_time += [(span.end or 0, 1, span) for span in ended]
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
            elif span.span_id not in visited:
                visited.add(span.span_id)
                waiting.append((span, True))
                if span.span_id in askers:
                    waiting.append((askers[span.span_id], False))
                elif isinstance(span.operation, Inference):
                    waiting += [(execution, False) for execution in _new_executions(span, span.operation, executions, visited)]
    outermost = outermost_of([*begins, *ended])
    if outermost is not None and not isinstance(outermost.operation, (Inference, FetchResponse, ToolExecution)):
        ordered.sort(key=lambda moment: moment[1] and moment[0] is outermost)  # it ends last, whatever the clocks say
    return ordered


def _askers(spans: Iterable[Span]) -> Mapping[str, Span]:
    """Return the model call that requested each execution, by the execution's span id.

    If several calls have the same id, or the same tool and arguments, the one that began last before the execution is taken.
    """
    requests: defaultdict[object, list[Span]] = defaultdict(list)
    executions: list[tuple[Span, object]] = []
    for span in sorted(spans, key=_rank):
        operation = span.operation
        if isinstance(operation, (Inference, FetchResponse)):
            for call in (call for message in operation.output for call in message.tool_calls()):
                requests[call.id or (call.name, json_text.write(call.arguments))].append(span)
        elif isinstance(operation, ToolExecution):
            executions.append((span, operation.call_id or (operation.name, json_text.write(operation.arguments))))
    askers: dict[str, Span] = {}
    for span, key in executions:
        if asking := requests.get(key):
            askers[span.span_id] = asking[max(0, bisect_right(asking, span.start, key=lambda asker: asker.start) - 1)]
    return askers


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
