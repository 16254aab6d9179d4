"""Learning and judging the ranker of `llmtrace.diagnosis`: a conditional logit over the candidates of a trace. Needs numpy.

An example is a trace: the features of its candidates, which of them are right (none where nothing is wrong), and whether
"nothing is wrong here" stands for election. The loss is the surprise at the truth, and a penalty on large weights.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

try:
    import numpy as np
except ImportError:
    raise SystemExit("this benchmark needs numpy: pip install numpy") from None

from llmtrace.diagnosis.candidates import candidates_of
from llmtrace.diagnosis.clues import find_clues
from llmtrace.diagnosis.features import LED, TEAM, features_of
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.ranker import Ranker
from llmtrace.model import Trace

PENALTY = 0.3
TEAMS = 10.0
"""How much stronger the penalty is on what is learned from the few runs of several agents."""
PRIOR = {
    "clue interrupted": 8.0,
    "clue error": 4.0,
    "clue from_example": 4.5,
    "clue finding, error": 3.0,
    "clue finding, warning": 1.5,
    "clue failed": 1.5,
    "clue failed, at the end": 4.0,
    "clue budget": -4.0,
    "clue invalid, refused": 1.0,
    "unnoticed": 0.5,
    "recovered": -2.0,
}
"""What weights are drawn to in place of 0: of things that no labelled run shows, or too few."""
ROUNDS = 300
RATE = 0.05


@dataclass
class Example:
    set: str
    kind: str
    task: str
    features: list[dict[str, float]]
    steps: list[int]
    """Of each candidate the step that it is; -1 where it is none."""
    right: list[bool]
    failed: bool
    """The run is known to have failed, so that something is wrong for certain."""
    weight: float = 1.0
    source: Any = field(default=None, repr=False)


def read(trace: Trace) -> tuple[list[Any], list[dict[str, float]]]:
    flow = Flow(trace)
    candidates = candidates_of(flow, find_clues(trace, flow))
    return candidates, features_of(candidates, flow)


def steps_of_candidates(candidates: Sequence[Any], steps: dict[str, list[int]]) -> list[int]:
    """The step of each candidate; of turns of the user that one inference was sent first, in order."""
    taken: dict[str, int] = {}
    found = []
    for one in candidates:
        own = steps.get(one.span_id, [])
        if one.node is not None and one.node.kind == "user":
            turns = [~step for step in own if step < 0]
            number = taken.get(one.span_id, 0)
            taken[one.span_id] = number + 1
            found.append(turns[min(number, len(turns) - 1)] if turns else -1)
        else:
            found.append(next((step for step in own if step >= 0), -1))
    return found


def learn(
    examples: Sequence[Example],
    *,
    penalty: float = PENALTY,
    without: Callable[[str], bool] | None = None,
    start: Ranker | None = None,
    rounds: int = ROUNDS,
) -> Ranker:
    """``without``: names of features that are not to be used. ``start``: weights of nearly the same examples, to go on from."""
    every = {name for one in examples for features in one.features for name in features} | PRIOR.keys()
    names = sorted(name for name in every if without is None or not without(name))
    at = {name: number for number, name in enumerate(names)}
    rows, owners, right, weights = [], [], [], []
    for number, one in enumerate(examples):
        if not any(one.right) and one.failed:
            continue
        for features, correct in zip(one.features, one.right, strict=True):
            row = np.zeros(len(names) + 1)
            for name, value in features.items():
                if name in at:
                    row[at[name]] = value
            rows.append(row)
            owners.append(number)
            right.append(correct)
        if not one.failed:
            row = np.zeros(len(names) + 1)
            row[-1] = 1.0
            rows.append(row)
            owners.append(number)
            right.append(not any(one.right))
        weights.append(one.weight)
    solved = _solve(
        np.array(rows), np.array(owners), np.array(right, dtype=float), np.array(weights), penalty, names, start, rounds
    )
    return Ranker({name: float(solved[at[name]]) for name in names}, float(solved[-1]))


def _solve(
    rows: Any, owners: Any, right: Any, weights: Any, penalty: float, names: Sequence[str], start: Ranker | None, rounds: int
) -> Any:
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    sizes = np.diff(np.r_[starts, len(owners)])
    each = np.repeat(weights, sizes)
    prior = np.array([*(PRIOR.get(name, 0.0) for name in names), 0.0])
    solution = prior.copy()
    if start is not None:
        solution = np.array([*(start.weights.get(name, PRIOR.get(name, 0.0)) for name in names), start.nothing])
    mean, square = np.zeros_like(prior), np.zeros_like(prior)
    shrink = np.array([*(penalty * (TEAMS if name.startswith((TEAM, LED)) else 1.0) for name in names), 0.01])
    for number in range(1, rounds + 1):
        scores = rows @ solution
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        powers = np.exp(scores)
        shares = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
        correct = shares * right
        posterior = correct / np.repeat(np.maximum(np.add.reduceat(correct, starts), 1e-12), sizes)
        gradient = rows.T @ (each * (shares - posterior)) + shrink * (solution - prior)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        step = RATE * (0.5 if number > rounds // 2 else 1.0)
        solution -= step * (mean / (1 - 0.9**number)) / (np.sqrt(square / (1 - 0.99**number)) + 1e-9)
    return solution


def folds(tasks: Iterable[str], count: int, seed: int = 7) -> dict[str, int]:
    """Each task in one fold, at random but always the same."""
    distinct = sorted(set(tasks))
    random.Random(seed).shuffle(distinct)
    return {task: number % count for number, task in enumerate(distinct)}


# -- judging


@dataclass
class Ranked:
    """What a ranker made of an example: its candidates, the best first."""

    example: Example
    order: list[int]
    probabilities: list[float]

    def top(self, count: int) -> bool:
        return any(self.example.right[number] for number in self.order[:count])


def rank(ranker: Ranker, example: Example) -> Ranked:
    found = ranker.probabilities(example.features, failed=example.failed)
    order = sorted(range(len(found)), key=lambda number: (-found[number], number))
    return Ranked(example, order, found)


def log_loss(pairs: Sequence[tuple[float, bool]]) -> float:
    """How much the outcomes surprise whoever believes the probabilities, on average. Steadier than `calibration_error` where
    there are few."""
    return -sum(math.log(max(1e-9, said if correct else 1 - said)) for said, correct in pairs) / len(pairs)


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = 10) -> float:
    """Expected calibration error over bins of equal size."""
    ordered = sorted(pairs)
    error = 0.0
    for number in range(bins):
        part = ordered[len(ordered) * number // bins : len(ordered) * (number + 1) // bins]
        if part:
            said = sum(probability for probability, _ in part) / len(part)
            was = sum(correct for _, correct in part) / len(part)
            error += len(part) / len(ordered) * abs(said - was)
    return error


def tempered(ranker: Ranker, temperature: float) -> Ranker:
    return Ranker(ranker.weights, ranker.nothing, temperature)
