"""Estimates how much the calls of one run resemble each other: three answers to one hard question are not independent.

A run here is what an agent's or workflow's span is around; without one, the trace. `Alike` gives the factor by which the sum
over a run varies more than it would if its calls had nothing to do with each other (a design effect), of scores that are 0
and 1 on average and spread, and `AlikeWords` the same of words. The tests divide what they hold for evidence by it.

Law: where each run is one call, the factor is 1. Memory: the last `_OPEN` runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

_OPEN: Final = 16
_WHOLE: Final = 64
"""Calls of one run from which on it is a program that makes many calls, not an agent's turn. Each then counts as a run …"""
_PIECE: Final = 16
"""… and this many together count as a run for resemblance."""


class Runs:
    """Numbers the runs of a key in order of their first call."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {"next": 1, "last": {}}
        """``last``: by id, number and calls of the last runs."""

    def number(self, run: str) -> tuple[int, int]:
        """Return the number of a call's run, and the number of the group of calls that may resemble it."""
        last = self.state["last"]
        first, calls = last.pop(run, (0, 0))
        if not calls:
            first = self._next()
        last[run] = [first, calls + 1]
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
    """Resemblance of numbers. ``state`` is JSON and complete."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {"open": {}, "cross": 0.0, "cross2": 0.0, "squares": 0.0}
        """Open runs with the sum and the sum of squares of their scores; sums over those that are closed of the products of
        their calls' scores with each other, of the squares of these sums, and of the squares of the scores."""

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
        """Return the state without open runs, to start another stream with."""
        return self.state | {"open": {}}

    def _summed(self, sums: Any) -> tuple[float, float]:
        total, squares = sums
        return total * total - squares, squares

    @property
    def factor(self) -> float:
        """Return the estimate plus one standard error, because it is not known exactly."""
        cross, cross2, squares = self.state["cross"], self.state["cross2"], self.state["squares"]
        for product, its in map(self._summed, self.state["open"].values()):
            cross, cross2, squares = cross + product, cross2 + product * product, squares + its
        return 1.0 if not cross2 else 1 + max(0.0, cross + math.sqrt(cross2)) / max(squares, 1.0)


class AlikeWords(Alike):
    """Resemblance of words. Two equal words count more, the rarer they are."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__init__(state)
        self._counts: Mapping[str, int] = {}

    def add_word(self, run: int, word: str, counts: Mapping[str, int]) -> None:
        """``counts``: how often each word came so far."""
        self._counts = counts
        name = str(run)
        words = self.state["open"].get(name, {})
        words[word] = words.get(word, 0) + 1
        self._put(name, words)

    def largest_run(self, since: int) -> int:
        """Calls of the run with the most of them, among those that began with or after this one."""
        return max((sum(words.values()) for run, words in self.state["open"].items() if int(run) >= since), default=0)

    def _summed(self, sums: Any) -> tuple[float, float]:
        calls, total = sum(sums.values()), sum(self._counts.values())
        counted = [(count, total / self._counts.get(word, total)) for word, count in sums.items()]
        squares = sum([count * rarity for count, rarity in counted]) - calls
        if calls == 1:
            return 0.0, squares
        return sum([count * (count - 1) * rarity for count, rarity in counted]) - calls * (calls - 1), squares
