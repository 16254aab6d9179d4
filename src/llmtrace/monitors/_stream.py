"""Base of the streams of numbers, shares and shapes: the rate of false alarms, the start of the baseline, the pinned baseline,
and the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmtrace.model.value import value

CALLS_PER_ALARM: Final = 30_000
"""Least average number of calls of one stream between two false alarms: proved for independent calls.

Streams of shares reach at least 120,000 calls, because they count whole calls and use a mixture (benchmarks/drift.py). A model
call feeds two streams of numbers and four of shares: together they raise at most one false alarm in 10,000 calls. A tool
execution feeds one stream of numbers and two of shares."""

MINIMUM: Final = 20
"""Number of calls that a stream needs before it can report a change."""

RUNS_BEFORE: Final = 5
RUNS_SINCE: Final = 3
"""Number of runs that the calls since a change must come from; `RUNS_BEFORE`: before it. One unusual run is not drift."""

HEAD_START: Final = 500
"""Largest extra weight, as the possible start of a change, of a call at which the model, the prompt, the tools … changed. An
ordinary call has the weight 1 - `SAVED`. With the extra weight, a change at that call is found two to three times as fast."""

SAVED: Final = 0.2
"""Part of each call's weight that is saved for head starts, so that these do not cause more false alarms."""

RECENT: Final = 200
"""Number of latest calls that are kept one by one, to estimate the start of a change."""


BLOCKS = 32


class At(NamedTuple):
    """Position of an observation in time, among calls and among runs."""

    time: int
    """Start of the call, in nanoseconds since the Unix epoch."""
    call: int
    """Number of the call among the calls of its key."""
    run: int
    """Number of the call's run."""
    alike: int
    """Number of the group of calls that may resemble this one (`_run_similarity.Runs`)."""
    hinted: bool = False
    """True if a setting that shapes answers changed since the stream's last call."""


@value
class Shift:
    since: int
    """Estimated time of the first call after the change, in nanoseconds since the Unix epoch."""
    call: int
    """Number of that call among the calls of its key."""
    calls: int
    """Number of the stream's calls since the change, including the one that raised the alarm."""
    baseline: int
    """Number of the stream's calls before the change."""
    before: float
    now: float
    """The median, or the share, after the change; ``before``: before it."""
    word: str = ""
    """For a share: the word. For a shape: the kind of change."""
    pointer: str | None = None
    """For a shape: JSON Pointer of the changed field."""


class History:
    """The history of a stream, for a sparkline, in at most `BLOCKS` blocks of calls.

    When all blocks are full, neighbours are joined. So all blocks have equal numbers of calls, except the last.
    """

    __slots__ = ("blocks", "size")

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.size: int = state["size"] if state else 1
        """Number of calls in a full block."""
        self.blocks: list[list[Any]] = state["blocks"] if state else []
        """For each block: time of the first call (nanoseconds since the Unix epoch), number of calls, sum of the values."""

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
    """A stream of observations that is tested for a change. ``state()`` returns the complete state as JSON."""

    count: int
    """Number of calls in the baseline."""

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self.pin: dict[str, Any] | None = saved.get("pin")
        self.armed: bool = saved.get("armed", False)
        """True while the pinned baseline is in use: until the first change."""
        self.history = History(saved.get("history"))
        self.began: int | None = saved.get("began")
        self.first: int | None = saved.get("first")
        """Number of the run that the baseline begins with; None for a pinned baseline, which is older than every run."""
        self.saved: float = saved.get("saved", 0.0)
        """Weight that is saved for calls at which a setting changed."""

    def state(self) -> dict[str, Any]:
        history = self.history.state()
        baseline = {"pin": self.pin, "armed": self.armed, "began": self.began, "first": self.first}
        return {**baseline, "history": history, "saved": self.saved}

    def _weight(self, at: At) -> float:
        """Return the weight of a call as the possible start of a change: at most 1 on average."""
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
        """Compare with this pinned baseline from now on, until the stream reports a change."""
        self.pin, self.armed, self.first = dict(baseline), True, None

    def _renew(self) -> None:
        """Go back to the pinned baseline when as many calls as it has, at least 250, have come since.

        So slow drift does not become part of the baseline. Each such stretch of calls is a separate test.
        """
        if self.armed and self.pin is not None and self.count >= 2 * max(self.pin["count"], 250):
            self.start_from(self.pin)
