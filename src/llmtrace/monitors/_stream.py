"""Base of the streams of numbers, of shares and of shapes: the rate of
false alarms, the beginning of their baseline, a pin, and their history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

CALLS_PER_ALARM: Final = 30_000
"""Calls of one stream between two false alarms, on average, at least: by proof, for calls that have nothing to do with each
other. Shares, which are counted in whole calls and weighed by a mixture, come to one in 120,000 at most (benchmarks/drift.py).
A model call feeds two streams of numbers and four of shares: all of them together raise one false alarm in 10,000 calls at
most. A tool execution feeds one and two."""

MINIMUM: Final = 20
"""Calls without which no stream says anything."""

RUNS_BEFORE: Final = 5
RUNS_SINCE: Final = 3
"""Runs that the calls before and since a change must come from: one unusual run is not drift."""

HEAD_START: Final = 500
"""A call at which the model, the prompt, the tools … changed counts as so many places at which the stream may have changed, if
so many are saved up; it finds a change there two to three times as fast."""

SAVED: Final = 0.2
"""Part of each call's own place that is saved up for head starts, so that these cost no false alarms."""

RECENT: Final = 200
"""Calls that are remembered one by one, to tell since when a change holds."""


BLOCKS = 32


class At(NamedTuple):
    """Position of an observation in time, among calls and among runs."""

    time: int
    """When the call began: nanoseconds since the Unix epoch."""
    call: int
    """Number of the call among those of its key."""
    run: int
    alike: int
    """The number of its run, and of the group of calls that it may resemble (`_run_similarity.Runs`)."""
    hinted: bool = False
    """True if something that shapes answers changed since the stream's last call."""


class History:
    """The course of a stream, for a sparkline, in at most `BLOCKS` blocks of calls.

    When they are full, neighbours are joined, so that each always holds equally many calls but the last.
    """

    __slots__ = ("blocks", "size")

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.size: int = state["size"] if state else 1
        """Calls in a block."""
        self.blocks: list[list[Any]] = state["blocks"] if state else []
        """Time of the first call (nanoseconds since the Unix epoch), number of calls, sum of the values."""

    def state(self) -> dict[str, Any]:
        return {"size": self.size, "blocks": self.blocks}

    def add(self, time: int, value: float) -> None:
        if self.blocks and self.blocks[-1][1] < self.size:
            last = self.blocks[-1]
            last[1] += 1
            last[2] = round(last[2] + value, 6)
            return
        if len(self.blocks) == BLOCKS:
            pairs = zip(self.blocks[::2], self.blocks[1::2], strict=True)
            self.blocks = [[first[0], first[1] + second[1], round(first[2] + second[2], 6)] for first, second in pairs]
            self.size *= 2
        self.blocks.append([time, 1, round(value, 6)])


class Stream:
    """``state()`` is JSON, and all of it."""

    count: int
    """Calls of the baseline."""

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self.pin: dict[str, Any] | None = saved.get("pin")
        self.armed: bool = saved.get("armed", False)
        """True while the pin is still the baseline: until the first change."""
        self.history = History(saved.get("history"))
        self.began: int | None = saved.get("began")
        self.first: int | None = saved.get("first")
        """Number of the run that the baseline begins with; None: it was there before the first run."""
        self.saved: float = saved.get("saved", 0.0)
        """Weight that is saved up for calls at which another setting changed."""

    def state(self) -> dict[str, Any]:
        history = self.history.state()
        baseline = {"pin": self.pin, "armed": self.armed, "began": self.began, "first": self.first}
        return {**baseline, "history": history, "saved": self.saved}

    def _weight(self, at: At) -> float:
        """The weight of a call as a possible place of a change: one at most on average."""
        if self.saved < HEAD_START:
            self.saved = min(HEAD_START, round(self.saved + SAVED, 1))
        if not at.hinted:
            return 1 - SAVED
        saved, self.saved = self.saved, 0.0
        return 1 - SAVED + saved

    def _begin(self, at: At) -> None:
        if self.began is None:
            self.began, self.first = at.time, None if self.armed else at.run

    def start_from(self, baseline: Mapping[str, Any]) -> None:
        """Compare with this baseline from now on, until it is seen that things have changed."""
        self.pin, self.armed, self.first = dict(baseline), True, None

    def _renew(self) -> None:
        """With a pinned baseline, forget what came since when that is as much again: so what creeps in does not become
        usual. Each stretch is a test of its own."""
        if self.armed and self.pin is not None and self.count >= 2 * max(self.pin["count"], 250):
            self.start_from(self.pin)
