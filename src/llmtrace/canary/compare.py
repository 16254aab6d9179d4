"""Compares two samples of the answers to the same questions: have the answers changed? Pure.

Laws: a metric counts as changed only if two conditions hold. A permutation test within each question shows the change at
`LEVEL`, after Benjamini and Hochberg's correction over all metrics, divided among the looks; and the change reaches the
metric's floor, which is at least the largest difference between two sessions of the baseline. So if nothing changed, at most
one comparison in a hundred says "changed". Answers that a cache repeats are no sample, so nothing is said of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from llmtrace.canary.baseline import Baseline
from llmtrace.canary.sample import Sample
from llmtrace.model import replace
from llmtrace.model.value import value
from llmtrace.statistics.two_samples import (
    RESAMPLES,
    Stratum,
    Tested,
    adjust,
    detectable_drop,
    detectable_shift,
    novelty_test,
    shares_test,
    shift_test,
    words_test,
)

LEVEL: Final = 0.01
"""Share of comparisons without a real change that may say "changed"."""
_SEED: Final = 20240229
_FEW_RESAMPLES: Final = 199
"""Permutations where only the effect matters."""
TARGET: Final = {"share": 0.1, "ratio": 0.2}
"""The asking ends when a change of this size would have been seen 8 times in 10, by unit of the metric."""
_ENOUGH_EQUAL: Final = 5
_LONG: Final = 20
"""Tokens of an answer that is not equal by chance."""
_FEWEST: Final = 3
"""Questions without which it is not said that answers look cached."""
_ANSWERED: Final = 0.8
"""Share of the questions that must be answered for the verdict "no change"."""

Verdict: TypeAlias = Literal["changed", "no change", "unknown"]
_Strata: TypeAlias = list[tuple[list[Any], list[Any]]]
"""The values of one metric before and now, for each question that has both."""


@value
class Metric:
    name: str
    unit: str
    """``share``, ``ratio`` (of lengths) or ``distance`` (0 to 1, of the distributions of words)."""
    questions: int
    calls: int
    """Number of new answers that have the metric."""
    before: float | None
    """The share or the median length before; None for a distance."""
    now: float | None
    effect: float
    """The change within questions, by unit: the change of the share, the factor of the length less 1, or the distance beyond
    chance."""
    floor: float
    """A smaller effect does not count as a change."""
    p: float
    """The p-value, adjusted for the number of metrics."""
    detectable: float | None
    """The smallest change that would be found 8 times in 10: for a share above one half a drop, else a rise; for a length an
    increase. At least the floor. None if no change would be found."""

    @property
    def has_changed(self) -> bool:
        return self.p <= LEVEL and abs(self.effect) >= self.floor


@value
class Comparison:
    verdict: Verdict
    reasons: tuple[str, ...]
    """Reasons for the verdict ``unknown``, or the change of model that the endpoint itself reports."""
    metrics: tuple[Metric, ...]
    speed: tuple[float | None, float | None]
    """Median tokens per second before and now. Not tested, because the speed depends on the time of day more than on the
    model."""


class _Chance(NamedTuple):
    random: Random
    resamples: int
    """Permutations of a test, at most."""


class _Pair(NamedTuple):
    kind: str
    before: Sequence[Sample]
    now: Sequence[Sample]


def compare(before: Baseline, now: Baseline, *, share: float = 1.0) -> Comparison:
    """Compare the baseline with the answers to the same questions now.

    ``share``: of `LEVEL`, for one of several looks of which any may end the asking; together they have all of it.
    """
    pairs = _pairs(before, now)
    metrics = _metrics(pairs, share)
    if before.sessions > 1:
        metrics = _above_sessions(before, metrics)
    reasons = []
    if before.answered_by and now.answered_by and not set(before.answered_by) & set(now.answered_by):
        reasons.append(
            f"the endpoint names another model: {', '.join(now.answered_by)}, before {', '.join(before.answered_by)}"
        )
    if not reasons:
        reasons = [what for side, other in ((before, now), (now, before)) if (what := _cached(side, other))]
        if reasons:
            return Comparison("unknown", tuple(reasons[:1]), metrics, _speeds(pairs))
    if reasons or any(metric.has_changed for metric in metrics):
        return Comparison("changed", tuple(reasons), metrics, _speeds(pairs))
    if before.without != now.without:
        reasons.append("the endpoint accepts other options than before, so it was not asked alike")
    if now.answered < _ANSWERED * now.planned:
        why = f": {now.problem}" if now.problem else ""
        reasons.append(f"only {now.answered} of {now.planned} questions were answered{why}")
    if all(metric.detectable is None for metric in metrics):
        reasons.append("there are too few answers to see any change")
    return Comparison("unknown" if reasons else "no change", tuple(reasons), metrics, _speeds(pairs))


def is_decided(comparison: Comparison) -> bool:
    """Return True if more answers are not needed: something has changed, or a change of `TARGET` would have been seen."""
    if comparison.verdict != "no change":
        return True
    tested = [metric for metric in comparison.metrics if metric.unit != "distance"]
    return all(metric.detectable is not None and metric.detectable <= TARGET[metric.unit] for metric in tested)


def looks_cached(baseline: Baseline) -> str:
    """Return why the answers of a new baseline look cached; "" if they do not."""
    return _cached(baseline, None)


def _cached(side: Baseline, other: Baseline | None) -> str:
    """Return a sentence if most questions got only equal answers although they were asked at a temperature above 0.

    A question counts if its answer is too long to be equal by chance, or if the other side answered it in several ways.
    """
    equal = asked = 0
    for place, observed in enumerate(side.observed):
        digests = {sample.digest for sample in observed.samples}
        temperature = observed.probe.options.get("temperature", 1)
        is_drawn = isinstance(temperature, (int, float)) and temperature > 0 and observed.probe.kind != "border"
        if not is_drawn or len(observed.samples) < _ENOUGH_EQUAL or "" in digests:
            continue
        elsewhere = set() if other is None else {sample.digest for sample in other.observed[place].samples}
        if observed.samples[0].length >= _LONG or len(elsewhere) > 1:
            asked += 1
            equal += len(digests) == 1
    if asked < _FEWEST or equal <= asked / 2:
        return ""
    return f"the answers look cached: {equal} of {asked} questions got the same answer each time, at a temperature above 0"


def _pairs(before: Baseline, now: Baseline) -> list[_Pair]:
    return [_Pair(old.probe.kind, old.samples, new.samples) for old, new in zip(before.observed, now.observed, strict=True)]


def _above_sessions(before: Baseline, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return the metrics with floors that no two sessions of the baseline differ by."""
    floors = {metric.name: metric.floor for metric in metrics}
    for session in range(before.sessions):
        sides = before.of_session(session), before.of_session(session, others=True)
        for metric in _metrics(_pairs(*sides), 1.0, resamples=_FEW_RESAMPLES):
            if metric.name in floors:
                floors[metric.name] = max(floors[metric.name], abs(metric.effect))
    return tuple(
        replace(
            metric,
            floor=floors[metric.name],
            detectable=None if metric.detectable is None else max(metric.detectable, floors[metric.name]),
        )
        for metric in metrics
    )


def _metrics(pairs: Sequence[_Pair], share: float, resamples: int = RESAMPLES) -> tuple[Metric, ...]:
    chance = _Chance(Random(_SEED), resamples)  # noqa: S311
    questions = [pair for pair in pairs if pair.kind != "border"]
    border = [pair for pair in pairs if pair.kind == "border"]
    measures = [
        (_words, "first word", _strata(questions, lambda sample: sample.first)),
        (_novelty, "new first words", _strata(questions, lambda sample: sample.first)),
        (_words, "border token", _strata(border, lambda sample: sample.first)),
        (_lengths, "length", _strata(questions, _length_of_words)),
        (_shares, "answer has its form", _strata(questions, lambda sample: sample.valid)),
        (_shares, "tool called", _strata(questions, lambda sample: sample.called)),
        (_shares, "usual tool chosen", _usual(_strata(questions, lambda sample: sample.tool))),
        (_shares, "arguments valid", _strata(questions, lambda sample: sample.arguments)),
        (_shares, "refused", _strata(questions, lambda sample: sample.refused)),
        (_shares, "refused in words", _strata(questions, lambda sample: sample.declined)),
    ]
    measures = [(measure, name, strata) for measure, name, strata in measures if strata]
    level = share * LEVEL / max(1, len(measures))  # what the smallest p-value has to reach
    metrics = [measure(name, strata, level, chance) for measure, name, strata in measures]
    # a metric that is equal in all answers cannot differ; a permutation does not change that, so leaving it out is fair
    varied = [any(len({*before, *now}) > 1 for before, now in strata) for _, _, strata in measures]
    adjusted = iter(adjust([metric.p for metric, is_varied in zip(metrics, varied, strict=True) if is_varied]))
    return tuple(
        replace(metric, p=min(1.0, next(adjusted) / share) if is_varied else 1.0)
        for metric, is_varied in zip(metrics, varied, strict=True)
    )


def _strata(pairs: Sequence[_Pair], read: Callable[[Sample], Any]) -> _Strata:
    sides = [[[value for sample in side if (value := read(sample)) is not None] for side in pair[1:]] for pair in pairs]
    return [(before, now) for before, now in sides if before and now]


def _length_of_words(sample: Sample) -> float | None:
    """Return the logarithm of an answer's length; None for an answer that calls a tool, whose arguments are given."""
    return None if sample.tool else math.log1p(sample.length)


def _usual(strata: _Strata) -> _Strata:
    """Return for each answer if it has the most frequent value of its question, before and now together.

    Together, so that a permutation of the answers does not change what is usual: the test stays exact.
    """
    usual = [Counter([*before, *now]).most_common(1)[0][0] for before, now in strata]
    return [
        ([value == most for value in before], [value == most for value in now])
        for most, (before, now) in zip(usual, strata, strict=True)
    ]


def _words(name: str, strata: _Strata, level: float, chance: _Chance) -> Metric:
    usual = sum(Counter(old).most_common(1)[0][1] for old, _ in strata)
    detectable = detectable_drop(usual, *_sizes(strata), level)
    return _metric(name, "distance", strata, words_test(strata, chance.random, resamples=chance.resamples), 0.1, detectable)


def _novelty(name: str, strata: _Strata, level: float, chance: _Chance) -> Metric:
    total, calls = _sizes(strata)
    novel = sum(word not in new for old, new in strata for word in old)
    novel_now = sum(word not in old for old, new in strata for word in new)
    detectable = detectable_drop(total - novel, total, calls, level)
    return _metric(
        name,
        "share",
        strata,
        novelty_test(strata, chance.random, resamples=chance.resamples),
        0.05,
        detectable,
        novel / total,
        novel_now / calls,
    )


def _lengths(name: str, strata: _Strata, level: float, chance: _Chance) -> Metric:
    tested = shift_test([Stratum(*sides) for sides in strata], chance.random, resamples=chance.resamples)
    medians = [median(math.expm1(number) for stratum in strata for number in stratum[side]) for side in (0, 1)]
    shift = detectable_shift([before for before, _ in strata], [len(now) for _, now in strata], level)
    factor = tested._replace(effect=math.expm1(tested.effect))
    return _metric(name, "ratio", strata, factor, 0.1, None if shift is None else math.expm1(shift), *medians)


def _shares(name: str, strata: _Strata, level: float, _: _Chance) -> Metric:
    total, calls = _sizes(strata)
    hits, hits_now = (sum(map(sum, flags)) for flags in zip(*strata, strict=True))
    detectable = detectable_drop(max(hits, total - hits), total, calls, level)
    return _metric(name, "share", strata, shares_test(strata), 0.05, detectable, hits / total, hits_now / calls)


def _sizes(strata: _Strata) -> tuple[int, int]:
    """Return the number of answers before and now."""
    return sum(len(before) for before, _ in strata), sum(len(now) for _, now in strata)


def _metric(
    name: str,
    unit: str,
    strata: _Strata,
    tested: Tested,
    floor: float,
    detectable: float | None,
    before: float | None = None,
    now: float | None = None,
) -> Metric:
    """Return a metric whose p-value is not adjusted yet."""
    calls, visible = _sizes(strata)[1], None if detectable is None else max(floor, detectable)
    return Metric(name, unit, len(strata), calls, before, now, tested.effect, floor, tested.p, visible)


def _speeds(pairs: Sequence[_Pair]) -> tuple[float | None, float | None]:
    before = [sample.per_second for pair in pairs for sample in pair.before if sample.per_second is not None]
    now = [sample.per_second for pair in pairs for sample in pair.now if sample.per_second is not None]
    return median(before) if before else None, median(now) if now else None
