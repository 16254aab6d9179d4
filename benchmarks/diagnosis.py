"""Does the ranker of `llmtrace why` find the decisive step in failed runs that people have labelled? Needs numpy.

Who&When (algorithm-generated, hand-crafted) and AgentRx (Magentic-One, tau-bench retail) are read as traces. `by task`: the
weights are learned without the task that is judged. `other sets`: without the whole set, and without every task that it shares
with others. Beside them what needs no ranker: a random step, the first and last step of a worker, the best constant (chosen
in sample), the most usual positions (learned without the task). Intervals: 95 %, bootstrap over runs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import examples
import report
from ranking import Example, calibration_error, folds, learn, log_loss, rank, tempered
from train_ranker import TEMPERATURES

SETS = ("algorithm_generated", "hand_crafted", "magentic_one", "tau_retail")
FAMILIES = (("algorithm_generated",), ("hand_crafted", "magentic_one"), ("tau_retail",))
"""Sets of one system; hand-crafted and Magentic-One runs share some of their runs."""
FOLDS = 10
DRAWS = 2000
PUBLISHED = {
    "algorithm_generated": "GPT-4o as judge, best of three methods: exact 16.6; best published judge (A2P): 47.5",
    "hand_crafted": "GPT-4o as judge, best of three methods: exact 8.8; best published judge (A2P): 29.3",
}


@dataclass
class Guess:
    """The steps that a method names, the best first, and how sure it is of the first."""

    steps: list[int]
    sure: float | None = None


@dataclass
class Tally:
    hits: dict[str, list[float]] = field(default_factory=dict)

    def add(self, guess: Guess, labels: tuple[list[str], int, str]) -> None:
        agents, truth, agent = labels
        first = guess.steps[0] if guess.steps else -99
        named = agents[first] if 0 <= first < len(agents) else ""
        found = {"exact": first == truth, "±1": abs(first - truth) <= 1, "±3": abs(first - truth) <= 3}
        found |= {"top-3": truth in guess.steps[:3], "top-5": truth in guess.steps[:5], "agent": named == agent}
        for name, hit in found.items():
            self.hits.setdefault(name, []).append(float(hit))

    def mean(self, name: str) -> float:
        return 100 * sum(self.hits[name]) / len(self.hits[name])

    def interval(self, name: str) -> tuple[float, float]:
        chance = random.Random(5)
        held = self.hits[name]
        means = sorted(sum(chance.choices(held, k=len(held))) / len(held) for _ in range(DRAWS))
        return 100 * means[int(0.025 * DRAWS)], 100 * means[int(0.975 * DRAWS)]


# -- methods


def by_ranker(every: Sequence[Example], parts: dict[str, int]) -> dict[int, Guess]:
    """Each labelled run judged by weights and a temperature that were learned without its part."""
    rankers = {number: learn([one for one in every if parts[_key(one)] != number]) for number in set(parts.values())}
    raw = {id(one): rank(rankers[parts[_key(one)]], one) for one in every}
    guesses: dict[int, Guess] = {}
    for number, ranker in rankers.items():
        others = [raw[id(one)] for one in every if one.failed and parts[_key(one)] != number]

        def surprise(temperature: float, others: list[Any] = others) -> float:
            again = [rank(tempered(rankers[parts[_key(one.example)]], temperature), one.example) for one in others]
            return log_loss([(one.probabilities[one.order[0]], one.example.right[one.order[0]]) for one in again])

        temperature = min(TEMPERATURES, key=surprise) if others else 1.0
        for one in every:
            if one.failed and parts[_key(one)] == number:
                found = rank(tempered(ranker, temperature), one)
                steps = [one.steps[at] for at in found.order]
                guesses[id(one)] = Guess(list(dict.fromkeys(steps)), found.probabilities[found.order[0]])
    return guesses


def _key(one: Example) -> str:
    return one.task


def by_other_sets(every: Sequence[Example]) -> dict[int, Guess]:
    guesses: dict[int, Guess] = {}
    for family in FAMILIES:
        tasks = {one.task for one in every if one.set in family}
        ranker = learn([one for one in every if one.task not in tasks and one.set not in family])
        for one in every:
            if one.set in family:
                found = rank(ranker, one)
                steps = list(dict.fromkeys(one.steps[at] for at in found.order))
                guesses[id(one)] = Guess(steps, found.probabilities[found.order[0]])
    return guesses


def workers(one: Example) -> list[int]:
    """Steps of agents, without the first words of all and what people or terminals say."""
    agents = one.source[0]
    others = ("human", "terminal", "user", "tool", "system")
    return [at for at, agent in enumerate(agents) if not any(word in agent.casefold() for word in others)]


def at_random(one: Example) -> Guess:
    steps = workers(one)
    random.Random(one.task).shuffle(steps)
    return Guess(steps)


def usual_positions(every: Sequence[Example], parts: dict[str, int]) -> Callable[[Example], Guess]:
    def guess(one: Example) -> Guess:
        others = [other for other in every if other.set == one.set and parts[other.task] != parts[one.task]]
        counts = Counter(other.source[1] for other in others)
        return Guess([step for step, _ in counts.most_common() if step < len(one.source[0])])

    return guess


def best_constant(every: Sequence[Example]) -> Callable[[Example], Guess]:
    best = {name: Counter(one.source[1] for one in every if one.set == name).most_common() for name in SETS}
    return lambda one: Guess([step for step, _ in best[one.set]][:1])


# -- the tables


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--division", type=int, default=7, help="seed of the division of the tasks into parts")
    examples.option(arguments)
    options = arguments.parse_args()
    every = examples.every(options.data, options.keep)
    labelled = [one for one in every if one.failed]
    parts = folds((one.task for one in every), FOLDS, options.division)
    methods: dict[str, Callable[[Example], Guess]] = {
        "random step of a worker": at_random,
        "first step of a worker": lambda one: Guess(workers(one)),
        "last step of a worker": lambda one: Guess(workers(one)[::-1]),
        "best constant (in sample)": best_constant(labelled),
        "usual positions": usual_positions(labelled, parts),
    }
    crossed, others = by_ranker(every, parts), by_other_sets(every)
    methods["llmtrace, by task"] = lambda one: crossed[id(one)]
    methods["llmtrace, other sets"] = lambda one: others[id(one)]
    tallies = {
        (name, method): _tally([one for one in labelled if one.set == name], guess)
        for name in SETS
        for method, guess in methods.items()
    }
    pooled = {"agentrx": ("magentic_one", "tau_retail"), "all": SETS}
    for name, sets in pooled.items():
        for method, guess in methods.items():
            tallies[name, method] = _tally([one for one in labelled if one.set in sets], guess)
    sure = [(crossed[id(one)].sure or 0.0, bool(crossed[id(one)].steps[:1] == [one.source[1]])) for one in labelled]
    errors = {"first suspect": calibration_error(sure, 5), "runs": len(sure)}
    report.done(as_json(tallies, errors), tables(tallies, errors), options.json)


def _tally(runs: Sequence[Example], guess: Callable[[Example], Guess]) -> Tally:
    tally = Tally()
    for one in runs:
        tally.add(guess(one), one.source)
    return tally


def as_json(tallies: dict[tuple[str, str], Tally], errors: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"calibration": errors}
    for (name, method), tally in tallies.items():
        found.setdefault(name, {})[method] = {measure: tally.mean(measure) for measure in tally.hits}
    return found


def tables(tallies: dict[tuple[str, str], Tally], errors: dict[str, float]) -> list[str]:
    made = []
    for name in dict.fromkeys(name for name, _ in tallies):
        rows = [(method, tally) for (other, method), tally in tallies.items() if other == name]
        count = len(rows[0][1].hits["exact"])
        body = []
        for method, tally in rows:
            low, high = tally.interval("exact")
            body.append(
                (method, f"{tally.mean('exact'):.1f} ({low:.0f}–{high:.0f})", *(f"{tally.mean(one):.1f}" for one in MEASURES))
            )
        made.append(report.table(f"{name}: {count} runs, per cent", ("method", "exact", *MEASURES), body))
        if name in PUBLISHED:
            made.append(f"\nPublished: {PUBLISHED[name]}.")
    made.append(
        f"\nCalibration error of the first suspect, by task, {errors['runs']} runs pooled: {errors['first suspect']:.3f}"
    )
    return made


MEASURES = ("±1", "±3", "top-3", "top-5", "agent")

if __name__ == "__main__":
    main()
