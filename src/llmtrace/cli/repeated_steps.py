"""Finds siblings in a trace that repeat the steps before them, so that ``llmtrace show`` prints the steps once.

The rule is the viewer's (``foldRepeats`` in ``viewer/static/tree.js``): the same steps, at least four times in a row, with at
most half of their arguments different. A step that failed or broke its schema in another way than the first does not repeat it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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
    distinct: int
    """Number of different arguments, including those of the first occurrence."""
    last: Span
    """The last repeating sibling."""


class _Step(NamedTuple):
    sign: Hashable
    """Key of a step: two steps with equal keys differ at most in their arguments."""
    arguments: str | None
    """Arguments of a call; None for any other step."""
    is_tool: bool


def repetitions(trace: Trace) -> dict[str, Repetition | None]:
    """Return the spans that repeat the siblings before them, by id.

    The first span of a repetition has its `Repetition`, the others have None.
    """
    repeated: dict[str, Repetition | None] = {}
    for siblings in (trace.roots, *map(trace.children, trace.spans)):
        steps = [_step(span) for span in siblings]
        start = 0
        while start < len(steps):
            period, times, distinct = _repetition(steps, start)
            end = start + period * times
            if times > 1:
                first, *rest = siblings[start + period : end]
                repeated[first.span_id] = Repetition(period, times - 1, distinct, siblings[end - 1])
                repeated.update({span.span_id: None for span in rest})
            start = end
    return repeated


def _step(span: Span) -> _Step:
    operation = span.operation
    state = (span.failure and span.failure.type, span.end is None, *(violation.code for violation in span.violations))
    if isinstance(operation, ToolExecution):
        sign = ("tool", operation.name, operation.executed, state)
        return _Step(sign, json_text.write(operation.arguments), True)
    if isinstance(operation, Inference):
        calls = [call for message in operation.output for call in message.tool_calls()]
        tools = tuple(dict.fromkeys(call.name for call in calls))
        arguments = json_text.write([[call.name, call.arguments] for call in calls]) if calls else None
        return _Step(("model", operation.title, tools, state), arguments, False)
    return _Step((type(operation).__name__, getattr(operation, "name", span.name), state), None, False)


def _repetition(steps: Sequence[_Step], start: int) -> tuple[int, int, int]:
    """Return the repetition that begins at ``start``: steps of the group, occurrences, different arguments.

    ``(1, 1, 0)``: the step is not repeated.
    """
    for period in range(1, min(_LONGEST_PERIOD, len(steps) - start) + 1):
        first = steps[start : start + period]
        has_tools = any(step.is_tool for step in first)  # without tool executions, the model's tool calls are compared
        calls = [place for place, step in enumerate(first) if (step.is_tool if has_tools else step.arguments is not None)]
        if not calls:
            continue
        signs = [step.sign for step in first]
        different: set[Hashable] = set()
        repeats = best_repeats = best_different = 0
        at = start
        while [step.sign for step in steps[at : at + period]] == signs:
            different.update((steps[at + place].sign, steps[at + place].arguments) for place in calls)
            repeats += 1
            if len(different) * 2 <= repeats * len(calls):
                best_repeats, best_different = repeats, len(different)
            elif repeats * len(calls) >= _LOOK_AHEAD:
                break
            at += period
        if repeats >= _FEWEST_REPEATS:
            return (period, best_repeats, best_different) if best_repeats >= _FEWEST_REPEATS else (1, 1, 0)
    return 1, 1, 0
