"""Learning and judging the ranker of places: a conditional logit over the nodes of a run. Needs numpy.

The loss is the surprise at the labelled node, in which each family of sets counts the same however many runs it has, and a
penalty on large weights. For the penalty, features are scaled to one spread; a feature that is yes or no counts as a fair coin,
so that a rare one is not learned from a handful of nodes.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

try:
    import numpy as np
except ImportError:
    raise SystemExit("This benchmark needs numpy. Install it: pip install numpy") from None

from examples import Example
from llmtrace.diagnosis.place_ranker import EVIDENCE, FEATURES, Ranker

PENALTY = 5.0
PARTS = 10
DIVISIONS = (7, 1, 2, 3, 4)
"""Seeds of the divisions of the tasks into parts. Every figure is the mean over them."""
TEMPERATURES = [round(0.7 + 0.05 * number, 2) for number in range(40)]
_ROUNDS = 50


@dataclass
class Ranking:
    """The nodes of an example, the most probable first."""

    example: Example
    order: list[int]
    scores: list[float]

    @property
    def rank(self) -> int | None:
        """The position of the first right node from 0; None if no node is right."""
        right = self.example.right
        return next((rank for rank, number in enumerate(self.order) if right[number]), None)

    def first(self, temperature: float) -> tuple[float, bool]:
        """The probability of the first node, and whether it is right."""
        total = sum(math.exp((score - max(self.scores)) / temperature) for score in self.scores)
        return 1 / total, self.rank == 0


def learn(examples: Sequence[Example], penalty: float = PENALTY) -> Ranker:
    """The weights with the least loss; those of evidence are zero or more."""
    names = list(FEATURES)
    usable = [example for example in examples if any(example.right)]
    rows = np.array([[row.get(name, 0.0) for name in names] for example in usable for row in example.features])
    right = np.concatenate([np.array(example.right) / sum(example.right) for example in usable])
    is_flag = ((rows == 0) | (rows == 1)).all(axis=0)
    spread = np.where(is_flag, 0.5, rows.std(axis=0))
    sizes = np.array([len(example.features) for example in usable])
    runs = Counter(example.family for example in usable)
    counts = np.array([len(usable) / len(runs) / runs[example.family] for example in usable])
    never_negative = np.array([name in EVIDENCE for name in names])
    free = np.ones(len(names), bool)
    while True:
        weights = _solve(rows / spread, right, sizes, counts, penalty, free)
        negative = never_negative & (weights < 0)
        if not negative.any():
            return Ranker({name: float(weight) for name, weight in zip(names, weights / spread, strict=True)})
        free &= ~negative


def _solve(rows: Any, right: Any, sizes: Any, counts: Any, penalty: float, free: Any) -> Any:
    """Newton's method over the free weights; the others stay zero. ``counts``: how much each run counts."""
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    by_row = np.repeat(counts, sizes)
    weights = np.zeros(rows.shape[1])
    rows = rows[:, free]
    for _ in range(_ROUNDS):
        scores = rows @ weights[free]
        powers = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
        shares = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
        weighted = rows * shares[:, None]
        means = np.add.reduceat(weighted, starts, axis=0)
        gradient = rows.T @ (by_row * (shares - right)) + penalty * weights[free]
        curvature = (by_row[:, None] * weighted).T @ rows - (counts[:, None] * means).T @ means
        curvature += penalty * np.eye(rows.shape[1])
        step = np.linalg.solve(curvature, gradient)
        weights[free] -= step * min(1.0, 2.0 / max(1e-12, np.abs(step).max()))
        if np.abs(step).max() < 1e-6:
            break
    return weights


def rank(ranker: Ranker, example: Example) -> Ranking:
    scores = ranker.scores(example.features)
    return Ranking(example, sorted(range(len(scores)), key=lambda number: (-scores[number], number)), scores)


def by_task(examples: Sequence[Example]) -> list[list[Ranking]]:
    """For each division, every example ranked by weights that were learned without its task."""
    return [_without_part(examples, parts_of((example.task for example in examples), PARTS, seed)) for seed in DIVISIONS]


def _without_part(examples: Sequence[Example], part: dict[str, int]) -> list[Ranking]:
    rankers = {
        number: learn([example for example in examples if part[example.task] != number]) for number in set(part.values())
    }
    return [rank(rankers[part[example.task]], example) for example in examples]


def by_family(examples: Sequence[Example], families: Sequence[Sequence[str]]) -> list[Ranking]:
    """Every example ranked by weights that were learned without its family of sets and the tasks in it."""
    rankings: dict[int, Ranking] = {}
    for family in families:
        tasks = {example.task for example in examples if example.set in family}
        ranker = learn([example for example in examples if example.set not in family and example.task not in tasks])
        rankings |= {number: rank(ranker, example) for number, example in enumerate(examples) if example.set in family}
    return [rankings[number] for number in range(len(examples))]


def parts_of(tasks: Iterable[str], count: int, seed: int) -> dict[str, int]:
    """Each task in one part, at random but always the same."""
    distinct = sorted(set(tasks))
    random.Random(seed).shuffle(distinct)
    return {task: number % count for number, task in enumerate(distinct)}


def best_temperature(rankings: Sequence[Ranking]) -> float:
    """The temperature by which the first places surprise least."""
    return min(TEMPERATURES, key=lambda temperature: _surprise([ranking.first(temperature) for ranking in rankings]))


def _surprise(pairs: Sequence[tuple[float, bool]]) -> float:
    return -sum(math.log(max(1e-9, probability if correct else 1 - probability)) for probability, correct in pairs) / len(pairs)


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = 5) -> float:
    """Expected calibration error over bins of equal size."""
    ordered = sorted(pairs)
    error = 0.0
    for number in range(bins):
        part = ordered[len(ordered) * number // bins : len(ordered) * (number + 1) // bins]
        expected = sum(probability for probability, _ in part)
        actual = sum(correct for _, correct in part)
        error += abs(expected - actual) / len(ordered)
    return error


def mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0


def interval(
    values: Sequence[float], statistic: Callable[[Iterable[float]], float] = mean, draws: int = 2000
) -> tuple[float, float]:
    """The 95 % interval by bootstrap."""
    chance = random.Random(5)
    drawn = sorted(statistic(chance.choices(values, k=len(values))) for _ in range(draws))
    return drawn[int(0.025 * draws)], drawn[int(0.975 * draws)]
