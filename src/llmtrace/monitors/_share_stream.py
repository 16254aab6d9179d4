"""A sequential test of whether words of a few (a finish reason; yes or no) still come as often as they did.

For each of some places at which the shares may have changed: how much more likely is all that came, if it changed there, than
if it never did? Both sides of the place are weighed by a Krichevsky-Trofimov mixture over all shares, "never" by the shares
that fit it best. Under "never" each such ratio is, at any time, at most 1 on average, whatever the shares are. An alarm comes
when their sum over the places reaches ``c`` (`_rate`). What the calls of one run say counts for as much less as they resemble
each other (`_runs`).

Memory: the counts, and the counts since each of at most `_PLACES` places, which lie the further apart the older they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, Final

from llmtrace.monitors._alarm_rate import CALLS_PER_ALARM, HEAD_START, MINIMUM, RUNS_BEFORE, RUNS_SINCE, Places
from llmtrace.monitors._history import History
from llmtrace.monitors._number_stream import At, Shift
from llmtrace.monitors._run_similarity import AlikeWords

_PLACES: Final = 24
_WORDS: Final = 8
_OTHER: Final = "(other)"
_SOON: Final = 100
_CLEAR: Final = math.log(CALLS_PER_ALARM) + 5
"""Evidence by which most changes are seen: the threshold, the price of not knowing the shares, and luck."""


class _Place:
    """Where the shares may have changed."""

    __slots__ = ("after", "before", "began", "call", "counts", "run", "stands", "time")

    def __init__(
        self,
        began: int,
        time: int,
        call: int,
        run: int,
        stands: float,
        counts: dict[str, int] | None = None,
        before: float = 0.0,
        after: float = 0.0,
    ) -> None:
        self.began = began
        """Calls before it."""
        self.time, self.call, self.run = time, call, run
        """Of its first call."""
        self.stands = stands
        """For how many places."""
        self.counts = counts or {}
        """Of words since then; while there is one word only, as of the last `Shares._settle`."""
        self.before, self.after = before, after
        """Logarithms of the probabilities of what came before it, and since."""

    def state(self, count: int) -> dict[str, Any]:
        told = {"time": self.time, "call": self.call, "run": self.run, "counts": self.counts, "calls": count - self.began}
        return told | {"before": self.before, "after": self.after, "stands": self.stands}


def _placed(state: Mapping[str, Any], count: int) -> _Place:
    rest = dict(state)
    return _Place(count - rest.pop("calls"), **rest)


class Shares:
    """One stream. ``state()`` is JSON, and all of it."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        held = state or {}
        self.counts: dict[str, int] = held.get("counts", {})
        self.count = sum(self.counts.values())
        self.places: list[_Place] = [_placed(one, self.count) for one in held.get("places", [])]
        self.pin: dict[str, Any] | None = held.get("pin")
        self.armed: bool = held.get("armed", False)
        self.history = History(held.get("history"))
        self.began: int | None = held.get("began")
        self.first: int | None = held.get("first")
        """As of `Numbers`."""
        self.event: str = held.get("event", "")
        self.of_runs = AlikeWords(held.get("of_runs"))
        self.saved = Places(held.get("saved", 0.0))

    def state(self) -> dict[str, Any]:
        self._settle()
        return {
            "counts": self.counts,
            "places": [place.state(self.count) for place in self.places],
            "pin": self.pin,
            "armed": self.armed,
            "history": self.history.state(),
            "began": self.began,
            "first": self.first,
            "event": self.event,
            "of_runs": self.of_runs.held,
            "saved": self.saved.saved,
        }

    def observe(self, word: Any, event: str, at: At) -> Shift | None:
        """Take in a word. ``event``: whose share is reported; empty: of the one that changed most."""
        word = str(word)[:40]
        if word not in self.counts and len(self.counts) >= _WORDS:
            word = _OTHER
        self.event = event or self.event or word
        self.history.add(at.time, float(word == self.event))
        if self.began is None:
            self.began, self.first = at.time, None if self.armed else at.run
        if self.armed:
            self._renew()
        new = word not in self.counts
        if new:
            self._settle()
        self.counts[word] = self.counts.get(word, 0) + 1
        self.places.append(_Place(self.count, at.time, at.call, at.run, self.saved.take(hinted=at.hinted)))
        self.count += 1
        self.of_runs.add_word(at.alike, word, self.counts)
        several = len(self.counts) > 1
        best = self._add(word, new) if several else 0.0
        self._thin()
        if several and self.count > MINIMUM and best - self._never() >= math.log(CALLS_PER_ALARM / (self.count + HEAD_START)):
            return self._judge(event, at.run)
        return None  # as nearly always: even if all places were as likely as the most likely one, it would not be enough

    def _settle(self) -> None:
        """Bring the places' counts up to date, which are let be while there is one word: nothing is to be told apart."""
        if len(self.counts) == 1:
            for place in self.places:
                place.counts = dict.fromkeys(self.counts, self.count - place.began)

    def _add(self, word: str, new: bool) -> float:
        """Take a word in at each place. A mixture over one more word weighs all that came before anew. Gives the logarithm of
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
        gaps = [(other - one) / (count - one) for one, other in itertools.pairwise(began)]
        at = gaps.index(min(gaps))
        gone = self.places.pop(at)
        self.places[at].stands += gone.stands

    def _never(self) -> float:
        """Logarithm of the probability of all that came, if it never changed."""
        return sum([count * math.log(count / self.count) for count in self.counts.values()])

    def _judge(self, event: str, run: int) -> Shift | None:
        if self._evidence(run)[0] < CALLS_PER_ALARM:
            return None  # that the calls of a run are alike would make it less
        total, at = self._evidence(run, self.of_runs.factor, exact=True)
        return self._changed(at, event) if at is not None and total >= CALLS_PER_ALARM else None

    def _evidence(self, run: int, factor: float = 1.0, *, exact: bool = False) -> tuple[float, _Place | None]:
        """The sum over the places, and the one that is most likely. ``exact``: without those that are one run's doing."""
        never, total, best, at = self._never(), 0.0, -math.inf, None
        for place in self.places:
            gain = (place.before + place.after - never) / factor
            if gain < -5 or place.began < MINIMUM or run - place.run < RUNS_SINCE - 1:
                continue
            if self.first is not None and place.run - self.first < RUNS_BEFORE:
                continue
            if exact and 2 * self.of_runs.most(place.run) > self.count - place.began:
                continue  # the doing of one run
            total += place.stands * math.exp(min(gain, 100.0))
            if gain > best:
                best, at = gain, place
        return total, at

    def _changed(self, place: _Place, event: str) -> Shift:
        after = place.counts
        calls = self.count - place.began
        before = {word: (count - after.get(word, 0)) / (self.count - calls) for word, count in self.counts.items()}
        now = {word: after.get(word, 0) / calls for word in self.counts}
        word = event or max(self.counts, key=lambda one: (abs(now[one] - before[one]), now[one]))
        found = Shift(place.time, place.call, calls, self.count - calls, before.get(word, 0.0), now.get(word, 0.0), word=word)
        self._restart()
        return found

    def _restart(self) -> None:
        """From nothing, as `Numbers` does."""
        self.counts, self.count, self.places, self.armed, self.began = {}, 0, [], False, None

    def _renew(self) -> None:
        """As of `Numbers`."""
        if self.pin is not None and self.count >= 2 * max(self.pin["count"], 250):
            self.start_from(self.pin)

    def baseline(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "count": self.count, "event": self.event, "of_runs": self.of_runs.closed()}

    def start_from(self, baseline: Mapping[str, Any]) -> None:
        self.pin, self.armed, self.first = dict(baseline), True, None
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
        known, high = low, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if _apart(known, middle, self.count) < _CLEAR else (low, middle)
        return high


def _apart(before: float, now: float, calls: int) -> float:
    """Logarithm of how much better two shares explain calls before and `_SOON` calls since than one does."""
    both = (calls * before + _SOON * now) / (calls + _SOON)
    return calls * _against(before, both) + _SOON * _against(now, both)


def _against(share: float, other: float) -> float:
    pairs = ((share, other), (1 - share, 1 - other))
    return sum(one * math.log(one / two) for one, two in pairs if one > 0 and two > 0)


def _mixture(counts: list[int], total: int) -> float:
    """Logarithm of the Krichevsky-Trofimov probability of a sequence with these counts."""
    half = len(counts) / 2
    found = math.lgamma(half) - math.lgamma(total + half)
    for count in counts:
        if count:
            found += math.lgamma(count + 0.5) - _HALF
    return found


_HALF: Final = math.lgamma(0.5)
