"""A sequential test of whether words of a few (a finish reason; yes or no) still come as often as they did.

For each of some places at which the shares may have changed: how much more likely is all that came, if it changed there, than
if it never did? Both sides of the place are weighed by a Krichevsky-Trofimov mixture over all shares, "never" by the shares
that fit it best. Under "never" each such ratio is, at any time, at most 1 on average, whatever the shares are. An alarm comes
when their sum over the places reaches ``c`` (`CALLS_PER_ALARM`). What the calls of one run say counts for as much less as they
resemble each other (`_run_similarity`).

Memory: the counts, and the counts since each of at most `_PLACES` places, which lie the further apart the older they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llmtrace.monitors._number_stream import Shift
from llmtrace.monitors._run_similarity import AlikeWords
from llmtrace.monitors._stream import CALLS_PER_ALARM, HEAD_START, MINIMUM, RUNS_BEFORE, RUNS_SINCE, At, Stream

_PLACES: Final = 24
_WORDS: Final = 8
_OTHER: Final = "(other)"
_SOON: Final = 100
_CLEAR: Final = math.log(CALLS_PER_ALARM) + 5
"""Evidence by which most changes are seen: the threshold, the price of not knowing the shares, and luck."""


@dataclass(slots=True)
class _Place:
    """A call at which the shares may have changed."""

    began: int
    """Calls before it."""
    time: int
    call: int
    run: int
    """Time, number and run of its first call."""
    stands: float
    """Number of calls that this place represents."""
    counts: dict[str, int] = field(default_factory=dict)
    """Count of each word since then. While there is only one word, it is updated by `Shares._settle`."""
    before: float = 0.0
    after: float = 0.0
    """Logarithms of the probabilities of what came before it, and since."""

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
        return None  # as nearly always: even if all places were as likely as the most likely one, it would not be enough

    def _settle(self) -> None:
        """Update the places' counts. They are not maintained while there is only one word."""
        if len(self.counts) == 1:
            for place in self.places:
                place.counts = dict.fromkeys(self.counts, self.count - place.began)

    def _add(self, word: str, new: bool) -> float:
        """Count a word at every place. With a new word, the probability of all earlier words changes. Returns the logarithm of
        the greatest probability of all that came, if it changed at a place."""
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
        """Leave out the place that is closest to the next one, measured by its age; the next one stands for it."""
        if len(self.places) <= _PLACES:
            return
        count, began = self.count, [place.began for place in self.places]
        gaps = [(later - earlier) / (count - earlier) for earlier, later in itertools.pairwise(began)]
        at = gaps.index(min(gaps))
        gone = self.places.pop(at)
        self.places[at].stands += gone.stands

    def _never(self) -> float:
        """Logarithm of the probability of all that came, if it never changed."""
        return sum([count * math.log(count / self.count) for count in self.counts.values()])

    def _evidence(self, run: int) -> tuple[float, _Place | None]:
        """The sum over the places that are not the doing of one run, and the one that is most likely."""
        never, factor, total, best, at = self._never(), self.of_runs.factor, 0.0, -math.inf, None
        for place in self.places:
            gain = (place.before + place.after - never) / factor
            if gain < -5 or place.began < MINIMUM or run - place.run < RUNS_SINCE - 1:
                continue
            if self.first is not None and place.run - self.first < RUNS_BEFORE:
                continue
            if 2 * self.of_runs.largest_run(place.run) > self.count - place.began:
                continue
            total += place.stands * math.exp(min(gain, 100.0))
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
        """The smallest share above today's that would be seen in most cases within `_SOON` calls; None: none yet."""
        low = self.level
        if low is None or self.count < MINIMUM or _apart(low, 1.0, self.count) < _CLEAR:
            return None
        level, high = low, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if _apart(level, middle, self.count) < _CLEAR else (low, middle)
        return high


def _apart(before: float, now: float, calls: int) -> float:
    """Logarithm of how much better two shares explain calls before and `_SOON` calls since than one does."""
    both = (calls * before + _SOON * now) / (calls + _SOON)
    return calls * _against(before, both) + _SOON * _against(now, both)


def _against(share: float, expected: float) -> float:
    pairs = ((share, expected), (1 - share, 1 - expected))
    return sum(actual * math.log(actual / predicted) for actual, predicted in pairs if actual > 0 and predicted > 0)


def _mixture(counts: list[int], total: int) -> float:
    """Logarithm of the Krichevsky-Trofimov probability of a sequence with these counts."""
    half = len(counts) / 2
    total_log = math.lgamma(half) - math.lgamma(total + half)
    for count in counts:
        if count:
            total_log += math.lgamma(count + 0.5) - _HALF
    return total_log


_HALF: Final = math.lgamma(0.5)
