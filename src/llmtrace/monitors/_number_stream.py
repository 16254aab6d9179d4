"""A sequential test for a change in the distribution of numbers. It makes no assumption about the distribution.

Each number is ranked among all numbers so far (ties broken at random, by the span's id). While nothing changes, the ranks are
independent and uniform for every distribution: heavy tails, a few values only, two humps. The ranks become normal scores ``z``,
which feed Shiryaev-Roberts statistics ``M = (M + 1) · p(z) / q(z)``. There is one statistic for each distribution ``p`` that
the scores may have after a change (shifted, narrower, wider); ``q`` is the distribution before it. The alarm uses their
weighted mean.

While nothing changes, ``M`` minus the number of calls is a martingale. So an alarm at ``M ≥ c`` comes at most once in ``c``
calls on average (`CALLS_PER_ALARM`): by proof, from the first call on, for every size of the baseline. With a small baseline a
change is less surprising, so a small baseline costs power, but never causes false alarms.

The proof holds for independent calls. Two corrections deal with dependent ones. Numbers that resemble the previous number (a
server's load) are whitened by their lag-1 correlation. The calls of one run resemble each other, so their evidence is divided
by a factor (`_run_similarity`).

Memory: counts in bins of 2 % (wider if there would be too many bins), and the last calls one by one.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final

from llmtrace.monitors._run_similarity import Alike
from llmtrace.monitors._stream import CALLS_PER_ALARM, MINIMUM, RECENT, RUNS_BEFORE, RUNS_SINCE, At, Shift, Stream

_WIDTH: Final = 0.02
_MOST_BINS: Final = 400
_WAYS: Final = (
    (0.5, 1.0, 0.3),
    (-0.5, 1.0, 0.3),
    (1.25, 1.0, 0.1),
    (-1.25, 1.0, 0.1),
    (1.25, 0.6, 0.06),
    (-1.25, 0.6, 0.06),
    (0.0, 2.0, 0.08),
)
"""The distributions of scores after a change that are tested: mean, spread and weight of each."""
_WEIGHTS: Final = [weight for _, _, weight in _WAYS]
_SHAPES: Final = [(mean, spread, math.log(spread)) for mean, spread, _ in _WAYS]
_LOG: Final = {spread: math.log(spread) for _, spread, _ in _WAYS}
_LOWEST: Final = 1e-9
_FROM: Final = 50
"""Sum of squared scores from which on the lag-1 correlation of older calls is used alone."""
_OLD: Final = 32
"""Number of latest calls that the lag-1 correlation leaves out, because a change among them would look like correlation."""
_NEEDED: Final = 60.0
"""A baseline needs this number divided by d² calls, so that a shift by d spreads is found within 400 calls in nine of ten
streams (benchmarks/drift.py)."""
_SCORE: Final = NormalDist().inv_cdf


class Numbers(Stream):
    def __init__(self, state: dict[str, Any] | None = None) -> None:
        saved = state or {}
        super().__init__(saved)
        self.bins = _counts(saved.get("bins", {}))
        """The count of numbers in each bin."""
        self.width: int = saved.get("width", 1)
        """Width of a bin, as a multiple of 2 %."""
        self.count = sum(self.bins.values())
        self.odds: list[float] = saved.get("odds") or [0.0] * len(_WAYS)
        self.recent: list[list[Any]] = saved.get("recent", [])
        """For each of the last calls: its bin of 2 %, its score, its time, its number and its run."""
        self.alike: list[float] = saved.get("alike") or [0.0, 0.0, 0.0]
        """The sum of products of neighbouring scores, the sum of squared scores (both without the last `_OLD` calls), and the
        last score."""
        self.of_runs = Alike(saved.get("of_runs"))

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "bins": {str(place): count for place, count in sorted(self.bins.items())},
            "width": self.width,
            "odds": self.odds,
            "recent": self.recent,
            "alike": self.alike,
            "of_runs": self.of_runs.state,
        }

    def observe(self, number: Any, tie: float, at: At) -> Shift | None:
        """Process a number. Returns the change if this number raises an alarm. ``tie``: a random number, uniform in (0, 1),
        that ranks the number among equal ones."""
        if type(number) not in (int, float) or not math.isfinite(number):
            return None
        height = math.log(max(number, _LOWEST))
        self.history.add(at.time, height)
        self._begin(at)
        self._renew()
        step = math.floor(height / _WIDTH)
        score = self._score(step, tie)
        rounded = round(score, 3)
        self.recent.append([step, rounded, at.time, at.call, at.run])
        if len(self.recent) > RECENT:
            del self.recent[0]
        whitened = self._whitened(score, rounded)
        self.of_runs.add(at.alike, whitened)
        if self.count > MINIMUM and self._bet(whitened, self._weight(at)) >= CALLS_PER_ALARM:
            return self._changed()
        return None

    def _score(self, step: int, tie: float) -> float:
        """Add a number to the bins. Returns its normal score among all numbers so far."""
        at = step // self.width
        below = sum([count for place, count in self.bins.items() if place < at])
        equal = self.bins[at] = self.bins.get(at, 0) + 1
        self.count += 1
        if len(self.bins) > _MOST_BINS:
            self.width *= 2
            merged: Counter[int] = Counter()
            for place, count in self.bins.items():
                merged[place // 2] += count
            self.bins = merged
        rank = (below + tie * equal) / self.count
        # the inverse normal distribution is infinite at 0 and 1
        return _SCORE(rank if 1e-9 < rank < 1 - 1e-9 else min(max(rank, 1e-9), 1 - 1e-9))

    def _whitened(self, score: float, rounded: float) -> float:
        """Return the score without the part that the previous score predicts, if the correlation is significant."""
        last = self.alike[2]
        self.alike[2] = rounded
        if len(self.recent) > _OLD + 1:
            current, previous = self.recent[-_OLD - 1][1], self.recent[-_OLD - 2][1]
            self.alike[0] = round(self.alike[0] + current * previous, 4)
            self.alike[1] = round(self.alike[1] + current * current, 4)
        products, squares, _ = self.alike
        if squares < _FROM:  # too few old calls: an estimate that a change may distort is better than none
            scores = [current[1] for current in self.recent]
            products += sum(current * previous for current, previous in itertools.pairwise(scores[-_OLD - 1 :]))
            squares += sum(current * current for current in scores[-_OLD:])
        alike = min(products / max(squares, 1.0), 0.9)
        if squares < MINIMUM or alike < 2 / math.sqrt(squares):
            return score
        return (score - alike * last) / math.sqrt(1 - alike * alike)

    def _bet(self, score: float, weight: float) -> float:
        """Update the statistic ``M`` of each distribution. Returns their weighted mean. ``weight``: the 1 in ``M + 1``."""
        factor, exp, half = self.of_runs.factor, math.exp, score * score / 2
        self.odds = odds = [  # the exponent is `_gain` divided by the factor, written out for speed
            (o + weight) * exp((half - ((score - mean) / spread) ** 2 / 2 - log) / factor)
            for o, (mean, spread, log) in zip(self.odds, _SHAPES, strict=True)
        ]
        return sum([o * share for o, share in zip(odds, _WEIGHTS, strict=True)])

    def _changed(self) -> Shift | None:
        """Estimate the change, reset the stream and return the change. None if too few runs are before or after it."""
        shown = max(zip(self.odds, _WAYS, strict=True), key=lambda pair: pair[0] * pair[1][2])[1]
        # the likeliest first call after the change: from it on, the sum of gains is greatest
        at, best, total = len(self.recent) - 1, -math.inf, 0.0
        for place in range(len(self.recent) - 1, -1, -1):
            total += _gain(shown, self.recent[place][1])
            if total > best:
                at, best = place, total
        after = self.recent[at:]
        if not _of_several(shown, after):
            return None
        if self.first is not None and after[0][4] - self.first < RUNS_BEFORE:
            return None
        new = Counter(step for step, *_ in after)
        old = Counter(self.bins)
        old.subtract(step // self.width for step, *_ in after)
        shift = Shift(
            after[0][2],
            after[0][3],
            len(after),
            self.count - len(after),
            _quantile(old, self.width, 0.5),
            _quantile(new, 1, 0.5),
        )
        # start with an empty baseline, because the calls that raised the alarm are more extreme than those that follow; the
        # estimate of how much calls resemble each other is kept
        self.bins, self.width, self.count, self.recent, self.armed, self.began = {}, 1, 0, [], False, None
        self.odds = [0.0] * len(_WAYS)
        return shift

    def baseline(self) -> dict[str, Any]:
        """Return the baseline to export or pin: the counts, and the estimates of how much calls resemble each other."""
        return {
            "bins": {str(place): count for place, count in sorted(self.bins.items())},
            "width": self.width,
            "count": self.count,
            "alike": self.alike[:2],
            "of_runs": self.of_runs.closed(),
        }

    def start_from(self, baseline: Mapping[str, Any]) -> None:
        super().start_from(baseline)
        self.bins = _counts(baseline["bins"])
        self.width, self.count = int(baseline["width"]), sum(self.bins.values())
        self.odds, self.recent = [0.0] * len(_WAYS), []
        self.alike, self.of_runs = [*baseline["alike"][:2], 0.0], Alike({**baseline["of_runs"], "open": {}})

    @property
    def level(self) -> float | None:
        """The median of the baseline."""
        return _quantile(self.bins, self.width, 0.5) if self.count else None

    @property
    def spread(self) -> float | None:
        """Half the distance between the 16th and the 84th percentile of the logarithms. 0.4 means plus or minus 40 to 50 %."""
        if self.count < MINIMUM:
            return None
        low, high = (_quantile(self.bins, self.width, share) for share in (0.16, 0.84))
        return max(math.log(high / low) / 2, _WIDTH * self.width / 2)

    @property
    def visible(self) -> float | None:
        """The smallest shift, as a factor, that would be found within 400 calls in nine of ten streams with this baseline and
        spread; None if it is not known yet."""
        spread = self.spread
        return None if spread is None else math.exp(spread * max(0.4, math.sqrt(_NEEDED / self.count)))

    def needed(self, factor: float) -> int | None:
        """Return the number of calls that the baseline needs to find a shift by this factor. None if it is not known yet, or if
        no number is enough."""
        spread = self.spread
        if spread is None or math.log(factor) < 0.4 * spread:
            return None
        return math.ceil(_NEEDED * (spread / math.log(factor)) ** 2)


def _gain(way: tuple[float, float, float], score: float) -> float:
    """Return the log-likelihood ratio of a score: the distribution ``way`` (mean, spread) against the one before the change."""
    mean, spread, _ = way
    return score * score / 2 - ((score - mean) / spread) ** 2 / 2 - _LOG[spread]


def _of_several(way: tuple[float, float, float], after: Sequence[Sequence[Any]]) -> bool:
    """Return True if at least `RUNS_SINCE` runs are after the change, and no run has more evidence than all others together."""
    gains: dict[int, float] = {}
    for _, score, _, _, run in after:
        gains[run] = gains.get(run, 0.0) + _gain(way, score)
    return len(gains) >= RUNS_SINCE and 2 * max(gains.values()) <= sum(gains.values())


def _quantile(bins: Mapping[int, int], width: int, share: float) -> float:
    wanted = share * sum(bins.values())
    below = 0
    for place, count in sorted(bins.items()):
        below += count
        if below >= wanted and count:
            return math.exp((place + 0.5) * width * _WIDTH)
    return 0.0


def _counts(saved: Mapping[Any, int]) -> dict[int, int]:
    return {int(place): int(count) for place, count in saved.items()}
