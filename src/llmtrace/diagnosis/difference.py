"""Aligns the steps of two traces and finds the first difference. Pure.

Law: every compared step of both traces is in exactly one pair, and the steps of each trace keep their order. A trace compared
with itself has no difference.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Literal, TypeAlias

from llmtrace.model import (
    AgentInvocation,
    FetchResponse,
    Inference,
    Message,
    Reasoning,
    Review,
    Span,
    ToolCall,
    ToolExecution,
    Trace,
    Workflow,
    has_error,
)
from llmtrace.model.traces import short_id
from llmtrace.model.value import value

MOST_STEPS = 2000
"""Number of steps of each trace that are compared, at most. The time grows with the square of it."""

What: TypeAlias = Literal["same", "changed", "left", "right"]
_WORDS = {"left": "only in the first", "right": "only in the second"}


@value
class Pair:
    """A step of the first trace and the corresponding step of the second. One of them is None if it has no counterpart."""

    what: What
    left: str | None = None
    """Span id in the first trace."""
    right: str | None = None
    """Span id in the second trace."""


@value
class Difference:
    traces: tuple[Trace, Trace]
    pairs: tuple[Pair, ...]
    first: int | None
    """Position of the first pair whose steps differ; None if all are equal."""
    left_out: int
    """Number of steps in both traces beyond `MOST_STEPS`, which were not compared."""

    def _repr_html_(self) -> str:
        from llmtrace.model.html import pairs_as_html  # for notebooks only

        before, after = self.traces
        pairs = [
            (
                _WORDS.get(pair.what, pair.what),
                before.span(pair.left) if pair.left else None,
                after.span(pair.right) if pair.right else None,
            )
            for pair in self.pairs
        ]
        same = "the same steps, with the same answers and tool calls"
        words = same if self.first is None else f"first difference at step {self.first + 1}"
        return pairs_as_html(
            "comparison", (f"{short_id(before.trace_id)} and {short_id(after.trace_id)}", words), pairs, self.first
        )


def compare(left: Trace, right: Trace) -> Difference:
    """Align the steps of two traces: first steps that are equal, then, between these, steps of the same kind and name."""
    ours, theirs = ([span for _, span in trace.walk()] for trace in (left, right))
    left_out = max(0, len(ours) - MOST_STEPS) + max(0, len(theirs) - MOST_STEPS)
    pairs = tuple(_aligned(ours[:MOST_STEPS], theirs[:MOST_STEPS], ("same", "changed")))
    first = next((at for at, pair in enumerate(pairs) if pair.what != "same"), None)
    return Difference((left, right), pairs, first, left_out)


def _aligned(ours: Sequence[Span], theirs: Sequence[Span], levels: Sequence[What]) -> Iterator[Pair]:
    """Yield pairs of steps that are equal at the first level; steps between them are paired at the next levels.

    Each level has as many pairs as possible, so that one inserted step is one difference, even among steps that repeat.
    """
    if not levels:
        yield from (Pair("left", left=span.span_id) for span in ours)
        yield from (Pair("right", right=span.span_id) for span in theirs)
        return
    key = _whole if levels[0] == "same" else _sign
    i = j = 0
    for a, b in [*_longest_common([*map(key, ours)], [*map(key, theirs)]), (len(ours), len(theirs))]:
        yield from _aligned(ours[i:a], theirs[j:b], levels[1:])
        if a < len(ours):
            yield Pair(levels[0], ours[a].span_id, theirs[b].span_id)
        i, j = a + 1, b + 1


def _longest_common(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the positions of a longest common subsequence: the common beginning, then by bit vectors (Hyyrö, 2004)."""
    begin = next((place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    common = [(place, place) for place in range(begin)]
    ours, theirs = ours[begin:], theirs[begin:]
    places: dict[Hashable, int] = {}
    for place, step in enumerate(ours):
        places[step] = places.get(step, 0) | 1 << place
    # a row has one bit for each step of `ours`; each zero bit adds one to the length of the common subsequence
    everything = (1 << len(ours)) - 1
    rows = [everything]
    for step in theirs:
        row = rows[-1]
        shared = row & places.get(step, 0)
        rows.append(((row + shared) | (row - shared)) & everything)
    pairs: list[tuple[int, int]] = []
    i, j = len(ours), len(theirs)
    # walk back through the rows to find the pairs
    while i and j:
        if ours[i - 1] == theirs[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((begin + i, begin + j))
        elif _length(rows[j], i - 1) >= _length(rows[j - 1], i):
            i -= 1
        else:
            j -= 1
    return common + pairs[::-1]


def _length(row: int, count: int) -> int:
    """Return the length of the longest common subsequence of the first ``count`` steps and the steps up to this row.

    It is the number of zeros in the row's lowest ``count`` bits.
    """
    return count - (row & ((1 << count) - 1)).bit_count()


def _sign(span: Span) -> tuple[str, str]:
    operation = span.operation
    name = getattr(operation, "name", "") or span.name
    # without the model's name, so that the same step with another model is a changed step
    return type(operation).__name__, "" if isinstance(operation, Inference) else str(name)


def _whole(span: Span) -> Hashable:
    """Return a key that is equal for equal steps: kind, name, input or output, and if the step failed; no ids, no times."""
    operation = span.operation
    content: str
    if isinstance(operation, ToolExecution):
        content = repr((operation.arguments, operation.result, operation.executed))
    elif isinstance(operation, (Inference, FetchResponse)):
        content = repr([_comparable_parts(message) for message in operation.output])
    elif isinstance(operation, (AgentInvocation, Workflow)):
        content = repr([_comparable_parts(message) for message in operation.input])
    elif isinstance(operation, Review):
        content = repr((operation.question, operation.payload, operation.decision, operation.note, operation.value))
    else:
        content = repr([getattr(operation, name, None) for name in ("arguments", "result", "query", "documents", "records")])
    return _sign(span), content, has_error(span)


def _comparable_parts(message: Message) -> list[object]:
    """Return the parts of a message without data that differs in each run: ids of tool calls, and reasoning."""
    parts = [part for part in message.parts if not isinstance(part, Reasoning)]
    return [(part.name, part.arguments) if isinstance(part, ToolCall) else part for part in parts]
