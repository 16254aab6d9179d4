"""Have the answers changed? Pure: two samples of the answers to the same questions in, a verdict out.

Law: a metric counts as changed only if a permutation test within each question says so, after Benjamini and Hochberg's
correction over all metrics (`LEVEL`), and only if the change reaches the metric's floor. So where nothing changed, at most one
comparison in a hundred says otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from random import Random
from statistics import median
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from llmtrace.canary.baseline import Baseline
from llmtrace.canary.sample import Sample
from llmtrace.model.value import value
from llmtrace.statistics.two_samples import (
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
"""Share of comparisons without any change that may say "changed"."""
_SEED: Final = 20240229
_ANSWERED: Final = 0.8
"""Share of the questions that must have been answered for "no change" to be said."""

T = TypeVar("T")
Verdict: TypeAlias = Literal["changed", "no change", "unknown"]


@value
class Metric:
    name: str
    unit: str
    """``share``, ``ratio`` (of lengths) or ``distance`` (0 to 1, of the distributions of words)."""
    questions: int
    calls: int
    """Answers now that have the metric."""
    before: float | None
    """The share, the median length, or None."""
    now: float | None
    effect: float
    """The change within questions: of the share, of the length as a factor less 1, or the distance beyond chance."""
    floor: float
    """A smaller effect is not called a change."""
    p: float
    """Adjusted for the number of metrics."""
    detectable: float | None
    """The smallest change that would have been seen 8 times in 10: a drop of a share of more than half, else a rise; a
    lengthening. It is the floor at least; None: no change at all would have been seen."""

    @property
    def has_changed(self) -> bool:
        return self.p <= LEVEL and abs(self.effect) >= self.floor


@value
class Comparison:
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why the verdict is ``unknown``, or which change the endpoint itself names."""
    metrics: tuple[Metric, ...]
    speed: tuple[float | None, float | None]
    """Median tokens a second before and now. Shown, not tested: it says more about the hour than about the model."""


class _Pair(NamedTuple):
    kind: str
    before: Sequence[Sample]
    now: Sequence[Sample]


def compare(before: Baseline, now: Baseline) -> Comparison:
    """The baseline, and the same questions asked again."""
    pairs = [_Pair(old.probe.kind, old.samples, new.samples) for old, new in zip(before.observed, now.observed, strict=True)]
    metrics = _metrics(pairs)
    reasons = []
    if before.answered_by and now.answered_by and not set(before.answered_by) & set(now.answered_by):
        reasons.append(
            f"the endpoint names another model: {', '.join(now.answered_by)}, before {', '.join(before.answered_by)}"
        )
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


def _metrics(pairs: Sequence[_Pair]) -> tuple[Metric, ...]:
    chance = Random(_SEED)  # noqa: S311
    questions = [pair for pair in pairs if pair.kind != "border"]
    border = [pair for pair in pairs if pair.kind == "border"]
    drafts = [
        _words("first word", questions, 0.1, chance),
        _novelty(questions, chance),
        _words("border token", border, 0.1, chance),
        _lengths(questions, chance),
        _shares("answer has its form", questions, 0.05, lambda sample: sample.valid),
        _shares("tool called", questions, 0.05, lambda sample: sample.called),
        _shares("arguments valid", questions, 0.05, lambda sample: sample.arguments),
        _shares("refused", questions, 0.05, lambda sample: sample.refused),
    ]
    computed = [draft for draft in drafts if draft is not None]
    # a metric that is equal in all answers cannot differ; a permutation does not change that, so leaving it out is fair
    adjusted = iter(adjust([draft.tested.p for draft in computed if draft.is_varied]))
    level = LEVEL / max(1, len(computed))  # what the smallest p-value has to reach
    return tuple(draft.metric(next(adjusted) if draft.is_varied else 1.0, level) for draft in computed)


class _Draft(NamedTuple):
    """A metric before the correction over all metrics."""

    tested: Tested
    is_varied: bool
    """Not all answers to all questions are the same."""
    metric: Callable[[float, float], Metric]
    """Makes the metric out of its adjusted p-value and the level that its power is stated for."""


def _is_varied(strata: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]]) -> bool:
    return any(len({*before, *now}) > 1 for before, now in strata)


def _strata(pairs: Sequence[_Pair], read: Callable[[Sample], T | None]) -> list[tuple[list[T], list[T]]]:
    """What ``read`` gives for the answers before and now, for each question that has both."""
    sides = [[[known for sample in side if (known := read(sample)) is not None] for side in pair[1:]] for pair in pairs]
    return [(before, now) for before, now in sides if before and now]


def _words(name: str, pairs: Sequence[_Pair], floor: float, chance: Random) -> _Draft | None:
    strata = _strata(pairs, lambda sample: sample.first)
    if not strata:
        return None
    tested = words_test(strata, chance)
    usual = sum(Counter(old).most_common(1)[0][1] for old, _ in strata)
    sizes = [sum(len(side) for side in sides) for sides in zip(*strata, strict=True)]

    def metric(p: float, level: float) -> Metric:
        detectable = _at_least(floor, detectable_drop(usual, sizes[0], sizes[1], level))
        return Metric(name, "distance", len(strata), sizes[1], None, None, tested.effect, floor, p, detectable)

    return _Draft(tested, _is_varied(strata), metric)


def _novelty(pairs: Sequence[_Pair], chance: Random) -> _Draft | None:
    strata = _strata(pairs, lambda sample: sample.first)
    if not strata:
        return None
    tested = novelty_test(strata, chance)
    total, calls = (sum(map(len, sides)) for sides in zip(*strata, strict=True))
    novel = sum(word not in new for old, new in strata for word in old)
    novel_now = sum(word not in old for old, new in strata for word in new)

    def metric(p: float, level: float) -> Metric:
        detectable = _at_least(0.05, detectable_drop(total - novel, total, calls, level))
        shares = novel / total, novel_now / calls
        return Metric("new first words", "share", len(strata), calls, *shares, tested.effect, 0.05, p, detectable)

    return _Draft(tested, _is_varied(strata), metric)


def _lengths(pairs: Sequence[_Pair], chance: Random) -> _Draft | None:
    floor = 0.1
    strata = [Stratum(*sides) for sides in _strata(pairs, lambda sample: math.log1p(sample.length))]
    if not strata:
        return None
    tested = shift_test(strata, chance)
    medians = [median(math.expm1(number) for stratum in strata for number in stratum[side]) for side in (0, 1)]

    def metric(p: float, level: float) -> Metric:
        shift = detectable_shift([stratum.before for stratum in strata], [len(stratum.now) for stratum in strata], level)
        detectable = _at_least(floor, None if shift is None else math.expm1(shift))
        calls = sum(len(stratum.now) for stratum in strata)
        factor = math.expm1(tested.effect)
        return Metric("length", "ratio", len(strata), calls, medians[0], medians[1], factor, floor, p, detectable)

    return _Draft(tested, _is_varied(strata), metric)


def _shares(name: str, pairs: Sequence[_Pair], floor: float, read: Callable[[Sample], bool | None]) -> _Draft | None:
    strata = _strata(pairs, read)
    if not strata:
        return None
    tested = shares_test(strata)
    counts = [(sum(map(sum, flags)), sum(map(len, flags))) for flags in zip(*strata, strict=True)]
    (hits, total), (hits_now, calls) = counts

    def metric(p: float, level: float) -> Metric:
        detectable = _at_least(floor, detectable_drop(max(hits, total - hits), total, calls, level))
        return Metric(name, "share", len(strata), calls, hits / total, hits_now / calls, tested.effect, floor, p, detectable)

    return _Draft(tested, _is_varied(strata), metric)


def _at_least(floor: float, change: float | None) -> float | None:
    return None if change is None else max(floor, change)


def _speeds(pairs: Sequence[_Pair]) -> tuple[float | None, float | None]:
    before = [sample.per_second for pair in pairs for sample in pair.before if sample.per_second is not None]
    now = [sample.per_second for pair in pairs for sample in pair.now if sample.per_second is not None]
    return median(before) if before else None, median(now) if now else None
