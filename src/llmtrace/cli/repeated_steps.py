"""Finds steps of a trace that repeat the steps before them, so that ``llmtrace show`` prints the steps once.

The rule is the viewer's (``foldRepeats`` in ``viewer/static/tree.js``): the same steps, at least four times in a row, with at
most half of their arguments different. Steps are the same if all steps inside them are, so the nodes of a graph fold like the
calls in them. A step that failed or broke its schema in another way than the first does not repeat it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import NamedTuple

from llmtrace.codec import json_text
from llmtrace.model import Inference, Span, ToolExecution, Trace

_LONGEST_PERIOD = 4
"""Maximum number of steps that repeat as a group."""
_FEWEST_REPEATS = 4
_LOOK_AHEAD = 24
"""Number of calls after which the search stops if more than half of them have different arguments."""


class Repetition(NamedTuple):
    """Siblings that repeat, ``times`` times, the group of ``steps`` steps before them."""

    steps: int
    times: int
    names: tuple[str, ...]
    """The models and tools that one occurrence calls, in order; else the names of its steps."""
    arguments: int
    """Number of occurrences with different arguments, including the first."""
    results: int
    """Number of occurrences with different results, including the first; 0 if no tool ran."""
    last: Span
    """The last repeating sibling."""


class _Step(NamedTuple):
    """What a span and all spans below it have in common with its repetitions. The numbers are equal if the contents are."""

    sign: int
    """Everything but the arguments and results."""
    ran: int | None
    """The arguments of tools that ran; None if none ran."""
    requested: int | None
    """The tool calls that models requested; None if there are none."""
    is_apart: bool
    """True if one of the spans must be shown."""


def repetitions(trace: Trace, *, apart: Collection[str] = ()) -> dict[str, Repetition | None]:
    """Return the spans that repeat the siblings before them, by id. ``apart``: ids of spans that must be shown.

    The first span of a repetition has its `Repetition`, the others have None.
    """
    all_steps = _steps(trace, apart)
    repeated: dict[str, Repetition | None] = {}
    for siblings in (trace.roots, *map(trace.children, trace.spans)):
        steps = [all_steps[span.span_id] for span in siblings]
        start = 0
        while start < len(siblings):
            period, times = _repetition(steps, start)
            starts = range(start, start + period * times, period)
            # an occurrence that must be shown ends the repetition, and is the first of the next one
            end = next((at for at in starts[1:] if any(step.is_apart for step in steps[at : at + period])), starts.stop)
            if end - start > period:
                first, *rest = siblings[start + period : end]
                repeated[first.span_id] = _describe(trace, siblings[start:end], steps[start:end], period)
                repeated.update({span.span_id: None for span in rest})
            start = end
    return repeated


def _describe(trace: Trace, siblings: Sequence[Span], steps: Sequence[_Step], period: int) -> Repetition:
    starts = range(0, len(siblings), period)
    rounds = [siblings[at : at + period] for at in starts]
    has_tools = any(step.ran is not None for step in steps)
    arguments = {tuple([step.ran if has_tools else step.requested for step in steps[at : at + period]]) for at in starts}
    results = {tuple(_results(trace, spans)) for spans in rounds}
    names = tuple(dict.fromkeys(_names(trace, rounds[0])))
    return Repetition(period, len(rounds) - 1, names, len(arguments), 0 if results == {()} else len(results), siblings[-1])


def _steps(trace: Trace, apart: Collection[str]) -> dict[str, _Step]:
    numbers: dict[Hashable, int] = {}
    steps: dict[str, _Step] = {}

    def number(*content: Hashable) -> int:
        return numbers.setdefault(content, len(numbers))

    for _, span in reversed(list(trace.walk())):  # children first
        inner = [steps[child.span_id] for child in trace.children(span) if child.span_id in steps]
        sign, ran, requested = _describe_span(span)
        all_ran = (ran, *(step.ran for step in inner))
        all_requested = (requested, *(step.requested for step in inner))
        steps[span.span_id] = _Step(
            number(sign, *(step.sign for step in inner)),
            number(*all_ran) if any(each is not None for each in all_ran) else None,
            number(*all_requested) if any(each is not None for each in all_requested) else None,
            span.span_id in apart or any(step.is_apart for step in inner),
        )
    return steps


def _describe_span(span: Span) -> tuple[Hashable, str | None, str | None]:
    """Return the sign of a span, its arguments as a tool's execution, and the tool calls that it requests as an inference."""
    operation = span.operation
    state = (span.failure and span.failure.type, span.end is None, *(violation.code for violation in span.violations))
    if isinstance(operation, ToolExecution):
        return ("tool", operation.name, operation.executed, state), json_text.write(operation.arguments), None
    if isinstance(operation, Inference):
        calls = [call for message in operation.output for call in message.tool_calls()]
        tools = tuple(dict.fromkeys(call.name for call in calls))
        requested = json_text.write([[call.name, call.arguments] for call in calls]) if calls else None
        return ("model", operation.title, tools, state), None, requested
    return (type(operation).__name__, getattr(operation, "name", span.name), state), None, None


def _within(trace: Trace, siblings: Sequence[Span]) -> Iterator[Span]:
    """Yield spans and all spans below them, parents first."""
    waiting = list(reversed(siblings))
    while waiting:
        span = waiting.pop()
        yield span
        waiting += reversed(trace.children(span))


def _results(trace: Trace, siblings: Sequence[Span]) -> Iterator[str]:
    for span in _within(trace, siblings):
        if isinstance(span.operation, ToolExecution) and span.operation.has_result:
            yield json_text.write(span.operation.result)


def _names(trace: Trace, siblings: Sequence[Span]) -> Iterator[str]:
    for span in _within(trace, siblings):
        if isinstance(span.operation, (Inference, ToolExecution)):
            yield span.operation.title if isinstance(span.operation, Inference) else span.operation.name
        elif not trace.children(span):
            yield span.name


def _repetition(steps: Sequence[_Step], start: int) -> tuple[int, int]:
    """Return the repetition that begins at ``start``: steps of the group, and occurrences. ``(1, 1)``: it is not repeated."""
    for period in range(1, min(_LONGEST_PERIOD, len(steps) - start) + 1):
        first = steps[start : start + period]
        has_tools = any(step.ran is not None for step in first)  # without tools that ran, the requested calls are compared
        calls = [place for place, step in enumerate(first) if (step.ran if has_tools else step.requested) is not None]
        if not calls:
            continue
        signs = [step.sign for step in first]
        different: set[Hashable] = set()
        repeats = best = 0
        at = start
        while [step.sign for step in steps[at : at + period]] == signs:
            group = [(place, steps[at + place]) for place in calls]
            different.update((place, step.ran if has_tools else step.requested) for place, step in group)
            repeats += 1
            if len(different) * 2 <= repeats * len(calls):
                best = repeats
            elif repeats * len(calls) >= _LOOK_AHEAD:
                break
            at += period
        if repeats >= _FEWEST_REPEATS:
            return (period, best) if best >= _FEWEST_REPEATS else (1, 1)
    return 1, 1
