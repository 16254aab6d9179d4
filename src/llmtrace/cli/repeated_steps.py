"""Finds siblings of a trace that repeat what stands before them, so that ``llmtrace show`` prints them once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from llmtrace.model import Span, Trace

_LONGEST_PATTERN = 4
"""Most steps that are repeated together."""
_FEWEST = 3
"""How often a pattern must occur in a row."""


class Repetition(NamedTuple):
    """Siblings that repeat the ``steps`` before them."""

    steps: int
    times: int
    last: Span
    """The last of them."""


def repetitions(trace: Trace, look: Callable[[Span], Hashable]) -> dict[str, Repetition | None]:
    """The spans that repeat the siblings before them, by id: the first of them with its `Repetition`, the others with None.

    ``look``: what is shown of one span, without what differs each time, as ids and times do. Two spans are alike if they and
    all spans below them are.
    """
    numbers: dict[Hashable, int] = {}
    kinds: dict[str, int] = {}
    repeated: dict[str, Repetition | None] = {}
    for _, span in reversed(list(trace.walk())):  # children first
        below = tuple(kinds[child.span_id] for child in trace.children(span))
        kinds[span.span_id] = numbers.setdefault((look(span), below), len(numbers))
    for siblings in (trace.roots, *map(trace.children, trace.spans)):
        for start, steps, times in _patterns([kinds[span.span_id] for span in siblings]):
            first, *others = siblings[start + steps : start + steps * times]
            repeated[first.span_id] = Repetition(steps, times - 1, siblings[start + steps * times - 1])
            repeated.update({span.span_id: None for span in others})
    return repeated


def _patterns(kinds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Start, length and number of occurrences of each pattern that occurs at least `_FEWEST` times in a row."""
    start = 0
    while start < len(kinds):
        steps, times = max(((steps, _times(kinds, start, steps)) for steps in range(1, _LONGEST_PATTERN + 1)), key=_size)
        if times >= _FEWEST:
            yield start, steps, times
            start += steps * times
        else:
            start += 1


def _size(pattern: tuple[int, int]) -> tuple[int, int]:
    """Of two patterns that cover as much, the shorter one is the better; one that occurs too seldom is none."""
    steps, times = pattern
    return (steps * times if times >= _FEWEST else 0), -steps


def _times(kinds: Sequence[int], start: int, steps: int) -> int:
    times = 1
    while kinds[start : start + steps] == kinds[start + times * steps : start + (times + 1) * steps]:
        times += 1
    return times
