"""Two traces beside each other: which step of one is which of the other, and where they part first. Pure.

Law: every step of both is in exactly one pair, those of each trace in their order; a trace beside itself differs nowhere.
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
"""Steps of each trace that are compared; the time that it takes grows with the square where all are alike."""

What: TypeAlias = Literal["same", "changed", "left", "right"]
_WORDS = {"left": "only in the first", "right": "only in the second"}


@value
class Pair:
    """A step of one trace and the step of the other that stands for it; None where the other has none."""

    what: What
    left: str | None = None
    """Id of the span."""
    right: str | None = None


@value
class Difference:
    traces: tuple[Trace, Trace]
    """Those that were compared."""
    pairs: tuple[Pair, ...]
    first: int | None
    """Position of the first pair that is not the same; None where all are."""
    left_out: int
    """Steps of both that were not compared, because there are too many."""

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
    """The steps of two traces aligned: the same ones first, then, between these, those of the same kind and name."""
    ours, theirs = list(_steps(left)), list(_steps(right))
    left_out = max(0, len(ours) - MOST_STEPS) + max(0, len(theirs) - MOST_STEPS)
    ours, theirs = ours[:MOST_STEPS], theirs[:MOST_STEPS]
    whole = [_whole(span) for span in ours], [_whole(span) for span in theirs]
    pairs: list[Pair] = []
    for is_common, a, b, c, d in _matched(*whole):
        if is_common:
            pairs += [
                Pair("same", mine.span_id, counterpart.span_id)
                for mine, counterpart in zip(ours[a:b], theirs[c:d], strict=True)
            ]
        else:
            pairs += _between(ours[a:b], theirs[c:d])
    first = next((at for at, pair in enumerate(pairs) if pair.what != "same"), None)
    return Difference((left, right), tuple(pairs), first, left_out)


def _between(ours: Sequence[Span], theirs: Sequence[Span]) -> Iterator[Pair]:
    """Steps of which none is the same: those of one kind and name are changed, the others stand alone."""
    for is_common, a, b, c, d in _matched([_sign(span) for span in ours], [_sign(span) for span in theirs]):
        if is_common:
            yield from (
                Pair("changed", mine.span_id, counterpart.span_id)
                for mine, counterpart in zip(ours[a:b], theirs[c:d], strict=True)
            )
        else:
            yield from (Pair("left", left=span.span_id) for span in ours[a:b])
            yield from (Pair("right", right=span.span_id) for span in theirs[c:d])


def _matched(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> Iterator[tuple[bool, int, int, int, int]]:
    """The blocks of both, in order: True and the ends of a block that both have, or False and those of one that differs.

    As many as can be are in common, so that one inserted step is one difference, also among steps that repeat.
    """
    i = j = 0
    for a, b in [*_longest_common(ours, theirs), (len(ours), len(theirs))]:
        if a > i or b > j:
            yield False, i, a, j, b
        if a < len(ours):
            yield True, a, a + 1, b, b + 1
        i, j = a + 1, b + 1


def _longest_common(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The places of a longest common subsequence: the beginning in common first, then by bit vectors (Hyyrö, 2004)."""
    begin = next((place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    common = [(place, place) for place in range(begin)]
    ours, theirs = ours[begin:], theirs[begin:]
    places: dict[Hashable, int] = {}
    for place, step in enumerate(ours):
        places[step] = places.get(step, 0) | 1 << place
    everything = (1 << len(ours)) - 1
    rows = [everything]
    for step in theirs:
        row = rows[-1]
        shared = row & places.get(step, 0)
        rows.append(((row + shared) | (row - shared)) & everything)
    pairs: list[tuple[int, int]] = []
    i, j = len(ours), len(theirs)
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
    """The length of the common subsequence of ``count`` steps and those up to this row: the zeros in its lowest bits."""
    return count - (row & ((1 << count) - 1)).bit_count()


def _steps(trace: Trace) -> Iterator[Span]:
    """Parents before children."""
    return (span for _, span in trace.walk())


def _sign(span: Span) -> tuple[str, str]:
    operation = span.operation
    name = getattr(operation, "name", "") or span.name
    return type(operation).__name__, "" if isinstance(operation, Inference) else str(name)


def _whole(span: Span) -> Hashable:
    """What makes two steps the same: kind and name, what went in and came out, and whether it failed; no ids, no times."""
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
    """Parts of a message without what differs each time: ids of calls, and how the model came to it."""
    parts = [part for part in message.parts if not isinstance(part, Reasoning)]
    return [(part.name, part.arguments) if isinstance(part, ToolCall) else part for part in parts]
