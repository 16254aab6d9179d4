"""A sequential test for changes in the shares of a few words (finish reasons; yes and no).

Some earlier calls are kept as places at which the shares may have changed. For each place the test computes a likelihood ratio:
how much likelier are all words so far if the shares changed at this place than if they never changed? The words on either side
of the place have the probability of a Krichevsky-Trofimov mixture over all shares; for "never changed" it is that of the shares
that fit best. If nothing changed, each ratio is at most 1 on average at any time, for all shares. An alarm is raised when the
sum of the ratios over the places reaches ``c`` (`CALLS_PER_ALARM`). The calls of one run resemble each other, so their evidence
is divided by a factor (`_run_similarity`).

Memory: the counts, and the counts since each of at most `_PLACES` places. The older the places, the further apart they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llmtrace.monitors._run_similarity import AlikeWords
from llmtrace.monitors._stream import CALLS_PER_ALARM, HEAD_START, MINIMUM, RUNS_BEFORE, RUNS_SINCE, At, Shift, Stream

_PLACES: Final = 24
_WORDS: Final = 8
_OTHER: Final = "(other)"
_SOON: Final = 100
_CLEAR: Final = math.log(CALLS_PER_ALARM) + 5
"""Logarithm of the evidence with which most changes are found: the threshold, plus a margin for unknown shares and chance."""


@dataclass(slots=True)
class _Place:
    """A call at which the shares may have changed."""

    began: int
    """Number of calls before the place."""
    time: int
    call: int
    run: int
    """Number of the run of the first call; ``time`` and ``call`` are that call's time and number."""
    stands: float
    """Weight of the place: of its call, and of calls that are no longer places of their own."""
    counts: dict[str, int] = field(default_factory=dict)
    """Count of each word since the place. While there is only one word, only `Shares._settle` updates it."""
    before: float = 0.0
    after: float = 0.0
    """Logarithm of the probability of the words since the place; ``before``: of the words before it."""

    def state(self, count: int) -> dict[str, Any]:
        position = {"time": self.time, "call": self.call, "run": self.run, "counts": self.counts, "calls": count - self.began}
        return position | {"before": self.before, "after": self.after, "stands": self.stands}


class Shares(Stream):
    def __init__(self, state: dict[str, Any] | None = None) -> None:
        saved = state or {}
        super().__init__(saved)
        self.counts: dict[str, int] = saved.get("counts", {})
        self.count = sum(self.counts.values())
        self.places: list[_Place] = []
        for place in saved.get("places", []):
            position = {name: member for name, member in place.items() if name != "calls"}
            self.places.append(_Place(began=self.count - place["calls"], **position))
        self.event: str = saved.get("event", "")
        self.of_runs = AlikeWords(saved.get("of_runs"))

    def state(self) -> dict[str, Any]:
        self._settle()
        return super().state() | {
            "counts": self.counts,
            "places": [place.state(self.count) for place in self.places],
            "event": self.event,
            "of_runs": self.of_runs.state,
        }

    def observe(self, word: Any, event: str, at: At) -> Shift | None:
        """Count a word. ``event``: the word whose share is reported; empty: the word that changed most."""
        word = str(word)[:40]
        if word not in self.counts and len(self.counts) >= _WORDS:
            word = _OTHER
        self.event = event or self.event or word
        self.history.add(at.time, float(word == self.event))
        self._begin(at)
        self._renew()
        new = word not in self.counts
        if new:
            self._settle()
        self.counts[word] = self.counts.get(word, 0) + 1
        self.places.append(_Place(self.count, at.time, at.call, at.run, self._weight(at)))
        self.count += 1
        self.of_runs.add_word(at.alike, word, self.counts)
        several = len(self.counts) > 1
        best = self._add(word, new) if several else 0.0
        self._thin()
        if several and self.count > MINIMUM and best - self._never() >= math.log(CALLS_PER_ALARM / (self.count + HEAD_START)):
            total, place = self._evidence(at.run)
            return self._changed(place, event) if place is not None and total >= CALLS_PER_ALARM else None
        return None  # the usual case: even if every place had the evidence of the best one, the sum would not be enough

    def _settle(self) -> None:
        """Update the places' counts. They are not maintained while there is only one word."""
        if len(self.counts) == 1:
            for place in self.places:
                place.counts = dict.fromkeys(self.counts, self.count - place.began)

    def _add(self, word: str, new: bool) -> float:
        """Count a word at every place. Returns the logarithm of the greatest probability of all words, over the places.

        ``new``: the word came for the first time, so the probabilities of all earlier words change, too.
        """
        last, half, best = self.count - 1, len(self.counts) / 2, -math.inf
        for place in self.places:
            counts = place.counts
            had = counts.get(word, 0)
            counts[word] = had + 1
            if new or place.began == last:
                before = [count - counts.get(name, 0) for name, count in self.counts.items()]
                place.before = _mixture(before, place.began)
                place.after = _mixture([counts.get(name, 0) for name in self.counts], self.count - place.began)
            else:
                place.after += math.log((had + 0.5) / (last - place.began + half))
            gain = place.before + place.after
            if gain > best:
                best = gain
        return best

    def _thin(self) -> None:
        """Drop the place that is closest to the next place, relative to its age. The next place gets its weight."""
        if len(self.places) <= _PLACES:
            return
        count, began = self.count, [place.began for place in self.places]
        gaps = [(later - earlier) / (count - earlier) for earlier, later in itertools.pairwise(began)]
        at = gaps.index(min(gaps))
        gone = self.places.pop(at)
        self.places[at].stands += gone.stands

    def _never(self) -> float:
        """Return the logarithm of the probability of all words if the shares never changed."""
        return sum([count * math.log(count / self.count) for count in self.counts.values()])

    def _evidence(self, run: int) -> tuple[float, _Place | None]:
        """Return the sum of the ratios over the places, and the place with the greatest one.

        Left out are places with too few calls or runs before or since, and those since which one run made most of the calls.
        """
        never, factor, total, best, at = self._never(), self.of_runs.factor, 0.0, -math.inf, None
        for place in self.places:
            gain = (place.before + place.after - never) / factor
            # too little evidence to matter, or too few calls before or runs since
            if gain < -5 or place.began < MINIMUM or run - place.run < RUNS_SINCE - 1:
                continue
            if self.first is not None and place.run - self.first < RUNS_BEFORE:
                continue
            if 2 * self.of_runs.largest_run(place.run) > self.count - place.began:
                continue  # one run made most of the calls since
            total += place.stands * math.exp(min(gain, 100.0))  # limited, so that it cannot overflow
            if gain > best:
                best, at = gain, place
        return total, at

    def _changed(self, place: _Place, event: str) -> Shift:
        after = place.counts
        calls = self.count - place.began
        before = {word: (count - after.get(word, 0)) / (self.count - calls) for word, count in self.counts.items()}
        now = {word: after.get(word, 0) / calls for word in self.counts}
        word = event or max(self.counts, key=lambda candidate: (abs(now[candidate] - before[candidate]), now[candidate]))
        shift = Shift(place.time, place.call, calls, self.count - calls, before.get(word, 0.0), now.get(word, 0.0), word=word)
        self.counts, self.count, self.places, self.armed, self.began = {}, 0, [], False, None  # as `Numbers` does
        return shift

    def baseline(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "count": self.count, "event": self.event, "of_runs": self.of_runs.closed()}

    def start_from(self, baseline: Mapping[str, Any]) -> None:
        super().start_from(baseline)
        self.counts = {str(word): int(count) for word, count in baseline["counts"].items()}
        self.count, self.places, self.event = sum(self.counts.values()), [], str(baseline["event"])
        self.of_runs = AlikeWords({**baseline["of_runs"], "open": {}})

    @property
    def level(self) -> float | None:
        return self.counts.get(self.event, 0) / self.count if self.count else None

    @property
    def visible(self) -> float | None:
        """The smallest higher share that would mostly be found within `_SOON` calls; None if none would be found yet."""
        low = self.level
        if low is None or self.count < MINIMUM or _apart(low, 1.0, self.count) < _CLEAR:
            return None
        level, high = low, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if _apart(level, middle, self.count) < _CLEAR else (low, middle)
        return high


def _apart(before: float, now: float, calls: int) -> float:
    """Return the log-likelihood ratio of two shares against one share, for ``calls`` calls before and `_SOON` calls after."""
    both = (calls * before + _SOON * now) / (calls + _SOON)
    return calls * _against(before, both) + _SOON * _against(now, both)


def _against(share: float, expected: float) -> float:
    pairs = ((share, expected), (1 - share, 1 - expected))
    return sum(actual * math.log(actual / predicted) for actual, predicted in pairs if actual > 0 and predicted > 0)


def _mixture(counts: list[int], total: int) -> float:
    """Return the logarithm of the Krichevsky-Trofimov probability of a sequence with these counts."""
    half = len(counts) / 2
    total_log = math.lgamma(half) - math.lgamma(total + half)
    for count in counts:
        if count:
            total_log += math.lgamma(count + 0.5) - _HALF
    return total_log


_HALF: Final = math.lgamma(0.5)
