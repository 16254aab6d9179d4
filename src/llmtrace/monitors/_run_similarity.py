"""Estimates how much the calls of one run resemble each other: three answers to one hard question are not independent.

A run consists of the calls inside the nearest span of an agent or workflow, or without one of all calls of the trace. `Alike`
estimates the design effect: the factor by which the variance of a run's sum exceeds that of independent calls. It takes scores
with mean 0 and variance 1; `AlikeWords` takes words. The tests divide their evidence by the factor.

Law: if each run is one call, the factor is 1. Memory: the last `_OPEN` runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

_OPEN: Final = 16
_WHOLE: Final = 64
"""A run with more calls than this is a batch program, not an agent's turn. Each further call counts as a run."""
_PIECE: Final = 16
"""Number of these further calls that together count as one run for resemblance."""


class Runs:
    """Numbers the runs of a key in order of their first call."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {"next": 1, "last": {}}
        """``next``: the next number. ``last``: number and count of calls of the last runs, by id."""

    def number(self, run: str) -> tuple[int, int]:
        """Count a call. Returns the number of its run, and the number of the group of calls that may resemble it."""
        last = self.state["last"]
        first, calls = last.pop(run, (0, 0))
        if not calls:
            first = self._next()
        last[run] = [first, calls + 1]  # removed and added again, so that the run that is longest unused comes first
        while len(last) > _OPEN:
            del last[next(iter(last))]
        if calls < _WHOLE:
            return first, first
        number = self._next()
        if calls % _PIECE == 0:
            last[run][0] = number
        return number, last[run][0]

    @property
    def begun(self) -> int:
        """The number that the next run will have."""
        return int(self.state["next"])

    def _next(self) -> int:
        self.state["next"] += 1
        return int(self.state["next"]) - 1


class Alike:
    """The resemblance of scores in one run. ``state`` is JSON and complete."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {"open": {}, "cross": 0.0, "cross2": 0.0, "squares": 0.0}
        """``open``: for each open run, the sum of its scores and the sum of their squares. Over the closed runs: ``cross``, the
        sum of the products of scores of the same run; ``cross2``, the sum over runs of the square of its products' sum;
        ``squares``, the sum of squared scores."""

    def add(self, run: int, score: float) -> None:
        total, squares = self.state["open"].get(str(run), (0.0, 0.0))
        self._put(str(run), [round(total + score, 3), round(squares + score * score, 3)])

    def _put(self, name: str, sums: Any) -> None:
        open_runs = self.state["open"]
        open_runs[name] = sums
        while len(open_runs) > _OPEN:
            oldest = next(iter(open_runs))
            cross, squares = self._summed(open_runs.pop(oldest))
            if cross:
                self.state["cross"] = round(self.state["cross"] + cross, 3)
                self.state["cross2"] = round(self.state["cross2"] + cross * cross, 3)
            if squares:
                self.state["squares"] = round(self.state["squares"] + squares, 3)

    def closed(self) -> dict[str, Any]:
        """Return the state without open runs, with which another stream can start."""
        return self.state | {"open": {}}

    def _summed(self, sums: Any) -> tuple[float, float]:
        total, squares = sums
        return total * total - squares, squares

    @property
    def factor(self) -> float:
        """The design effect: the estimate plus one standard error, because it is uncertain. At least 1."""
        cross, cross2, squares = self.state["cross"], self.state["cross2"], self.state["squares"]
        for product, its in map(self._summed, self.state["open"].values()):
            cross, cross2, squares = cross + product, cross2 + product * product, squares + its
        return 1.0 if not cross2 else 1 + max(0.0, cross + math.sqrt(cross2)) / max(squares, 1.0)


class AlikeWords(Alike):
    """The resemblance of words in one run. Two equal words count the more, the rarer the word is."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__init__(state)
        self._counts: Mapping[str, int] = {}

    def add_word(self, run: int, word: str, counts: Mapping[str, int]) -> None:
        """Count a word of a run. ``counts``: the count of each word so far."""
        self._counts = counts
        name = str(run)
        words = self.state["open"].get(name, {})
        words[word] = words.get(word, 0) + 1
        self._put(name, words)

    def largest_run(self, since: int) -> int:
        """Return the number of calls in the largest open run, among the runs from number ``since`` on."""
        return max((sum(words.values()) for run, words in self.state["open"].items() if int(run) >= since), default=0)

    def _summed(self, sums: Any) -> tuple[float, float]:
        calls, total = sum(sums.values()), sum(self._counts.values())
        counted = [(count, total / self._counts.get(word, total)) for word, count in sums.items()]
        squares = sum([count * rarity for count, rarity in counted]) - calls
        if calls == 1:
            return 0.0, squares
        return sum([count * (count - 1) * rarity for count, rarity in counted]) - calls * (calls - 1), squares
