"""The rate of false alarms, and the calls that a baseline needs: the same for all sequential tests."""

from __future__ import annotations

from typing import Final

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


class Places:
    """The weight of a call as a possible place of a change, one at most on average. Part of it is saved for calls at which
    another setting changed."""

    __slots__ = ("saved",)

    def __init__(self, saved: float = 0.0) -> None:
        self.saved = saved

    def take(self, *, hinted: bool) -> float:
        if self.saved < HEAD_START:
            self.saved = min(HEAD_START, round(self.saved + SAVED, 1))
        if not hinted:
            return 1 - SAVED
        saved, self.saved = self.saved, 0.0
        return 1 - SAVED + saved
