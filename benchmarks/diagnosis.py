"""Are the five places of `llmtrace why` the right ones, in failed runs that people have labelled? Needs numpy.

Who&When (algorithm-generated, hand-crafted), AgentRx (Magentic-One, tau-bench retail) and TRAIL are read as traces. `by task`:
the weights are learned without the task that is judged, the mean over five divisions of the tasks. `other systems`: without the
whole family of sets, and without every task in it. `shipped`: the weights in the package, which were learned from these runs.
Beside them is what needs no ranker: a random, the first and the last step of a model, and the steps that are usual in the same
set (learned without the task). Intervals: 95 %, bootstrap over runs.

`--markdown` prints the tables of docs/explanation/benchmarks/diagnosis.md,
`--misses` what stands at the labelled step and how often it is found.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import report
from examples import Example, labelled_examples
from labelled import FAMILIES, SETS
from llmtrace.diagnosis.place_ranker import MOST_PLACES, shipped
from llmtrace.reading.calls import Call
from ranking import (
    DIVISIONS,
    PARTS,
    Ranking,
    best_temperature,
    by_family,
    by_task,
    calibration_error,
    interval,
    mean,
    parts_of,
    rank,
)

MEASURES = {"exact": 1, "top-3": 3, "top-5": MOST_PLACES}
BARS = {"exact": 0.28, "top-3": 0.56, "top-5": 0.70}
PUBLISHED = {
    "algorithm_generated": "GPT-4o as judge, best of three methods: exact 16.6; best published judge (A2P): 47.5",
    "hand_crafted": "GPT-4o as judge, best of three methods: exact 8.8; best published judge (A2P): 29.3",
}


@dataclass
class Result:
    """How a method ranks the labelled node: by example, its rank in each division (None: not named)."""

    method: str
    ranks: list[list[int | None]] = field(default_factory=list)

    def hits(self, examples: Sequence[Example], sets: Sequence[str], count: int) -> list[float]:
        """By run of these sets, how often the labelled step is among the first ones."""
        return [
            mean(rank is not None and rank < count for rank in ranks)
            for example, ranks in zip(examples, self.ranks, strict=True)
            if example.set in sets
        ]


def of_rankings(method: str, divisions: Sequence[Sequence[Ranking]]) -> Result:
    return Result(method, [[ranking.rank for ranking in rankings] for rankings in zip(*divisions, strict=True)])


# -- without a ranker


def steps_of_models(example: Example) -> list[int]:
    """The steps of answers and of calls that a model asked for, in order."""
    asked = [node.kind == "answer" or (isinstance(node, Call) and node.asking_span is not None) for node in example.nodes]
    return [min(steps) for steps, is_model in zip(example.steps, asked, strict=True) if is_model and steps]


def at_random(example: Example) -> list[int]:
    steps = steps_of_models(example)
    random.Random(example.task).shuffle(steps)
    return steps


def usual_steps(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """For each example, the labelled steps of other tasks of its set, the most frequent first."""
    part = parts_of((example.task for example in examples), PARTS, seed)
    usual = []
    for example in examples:
        rest = [item for item in examples if item.set == example.set and part[item.task] != part[example.task]]
        counts = Counter(item.run.truth for item in rest)
        usual.append([step for step, _ in counts.most_common() if step < len(example.run.agents)])
    return usual


def of_steps(method: str, examples: Sequence[Example], *divisions: Sequence[Sequence[int]]) -> Result:
    ranks: list[list[int | None]] = []
    for example, *guesses in zip(examples, *divisions, strict=True):
        truth = example.run.truth
        ranks.append([steps.index(truth) if truth in steps else None for steps in guesses])
    return Result(method, ranks)


# -- the tables


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--markdown", action="store_true", help="print only the tables of the page on its quality")
    arguments.add_argument("--misses", action="store_true", help="print what stands at the labelled step")
    options = arguments.parse_args()
    examples = labelled_examples(options.data)
    divisions, families = by_task(examples), by_family(examples, FAMILIES)
    results = [
        of_steps("random step of a model", examples, [at_random(example) for example in examples]),
        of_steps("first step of a model", examples, [steps_of_models(example) for example in examples]),
        of_steps("last step of a model", examples, [steps_of_models(example)[::-1] for example in examples]),
        of_steps("usual positions", examples, *(usual_steps(examples, seed) for seed in DIVISIONS)),
        of_rankings("llmtrace, by task", divisions),
        of_rankings("llmtrace, other systems", [families]),
        of_rankings("llmtrace, shipped (learned from these runs)", [[rank(shipped(), example) for example in examples]]),
    ]
    errors = calibration(divisions, families)
    groups = {**{name: (name,) for name in SETS}, "all": SETS}
    tables = [summary(results, examples, errors)]
    if not options.markdown:
        tables += [of_set(name, sets, results, examples) for name, sets in groups.items()]
        tables.append(verdict(results, examples, errors))
    if options.misses:
        tables.append(profile(examples, results[4]))
    report.done(as_json(results, examples, groups, errors), tables, options.json)


def calibration(divisions: Sequence[Sequence[Ranking]], families: Sequence[Ranking]) -> dict[str, float]:
    """Errors of the first place's probability. The shipped temperature is the one that `train_ranker.py` measures so."""
    temperature = shipped().temperature
    together = [ranking for division in divisions for ranking in division]
    return {
        "shipped temperature": temperature,
        "measured temperature": best_temperature(together),
        "by task": mean(calibration_error([ranking.first(temperature) for ranking in division]) for division in divisions),
        "other systems": calibration_error([ranking.first(temperature) for ranking in families]),
    }


def summary(results: Sequence[Result], examples: Sequence[Example], errors: dict[str, float]) -> str:
    shown = [result for result in results if "shipped" not in result.method and "step of" not in result.method]
    head = ("set", "runs", *(result.method for result in shown))
    body = []
    for name in (*SETS, "all"):
        sets = SETS if name == "all" else (name,)
        count = len(shown[0].hits(examples, sets, 1))
        cells = [" / ".join(f"{100 * mean(result.hits(examples, sets, n)):.0f}" for n in MEASURES.values()) for result in shown]
        body.append((name.replace("_", " "), count, *cells))
    table = report.table("The labelled step is the first / among the first three / among the five places, per cent", head, body)
    return (
        f"{table}\n\nCalibration error of the first place with the shipped temperature ({errors['shipped temperature']:.2f}): "
        f"{errors['by task']:.3f} by task, {errors['other systems']:.3f} on other systems."
    )


def of_set(name: str, sets: Sequence[str], results: Sequence[Result], examples: Sequence[Example]) -> str:
    body = []
    for result in results:
        low, high = interval(result.hits(examples, sets, 1))
        top = [f"{100 * mean(result.hits(examples, sets, count)):.1f}" for count in (3, MOST_PLACES)]
        exact = f"{100 * mean(result.hits(examples, sets, 1)):.1f} ({100 * low:.0f}–{100 * high:.0f})"
        body.append((result.method, exact, *top))
    count = len(results[0].hits(examples, sets, 1))
    table = report.table(f"{name}: {count} runs, per cent", ("method", *MEASURES), body)
    return f"{table}\n\nPublished: {PUBLISHED[name]}." if name in PUBLISHED else table


def verdict(results: Sequence[Result], examples: Sequence[Example], errors: dict[str, float]) -> str:
    usual, ours = results[3], results[4]
    body = []
    for name, bar in BARS.items():
        reached = mean(ours.hits(examples, SETS, MEASURES[name]))
        body.append((f"{name}, by task", f">= {100 * bar:.0f} %", f"{100 * reached:.1f} %", _met(reached >= bar)))
    below = [
        f"{set_name} {name}"
        for set_name in SETS
        for name, count in MEASURES.items()
        if mean(ours.hits(examples, (set_name,), count)) < mean(usual.hits(examples, (set_name,), count))
    ]
    body.append(("never below the usual positions", "", ", ".join(below) or "nowhere below", _met(not below)))
    body.append(("calibration error, as shipped", "<= 0.10", f"{errors['by task']:.3f}", _met(errors["by task"] <= 0.1)))
    same = errors["shipped temperature"] == errors["measured temperature"]
    body.append(("temperature", f"{errors['measured temperature']:.2f}", f"{errors['shipped temperature']:.2f}", _met(same)))
    weights = sum(weight != 0 for weight in shipped().weights.values())
    body.append(("weights", "<= 40", str(weights), _met(weights <= 40)))
    return report.table("Bars", ("", "bar", "reached", ""), body)


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def profile(examples: Sequence[Example], result: Result) -> str:
    """By what stands at the labelled step, how often it is found by task."""
    groups: dict[tuple[str, str], list[list[int | None]]] = {}
    for example, ranks in zip(examples, result.ranks, strict=True):
        number = next((number for number, right in enumerate(example.right) if right), None)
        row = example.features[number] if number is not None else {}
        kind = "nothing recorded" if number is None else "execution" if "execution" in row else example.nodes[number].kind
        length = (
            "up to 10 nodes" if len(example.nodes) <= 10 else "11 to 40 nodes" if len(example.nodes) <= 40 else "more nodes"
        )
        where = "a failure began there" if "failure or marked finding" in row else "no evidence there"
        for group in (("kind", kind), ("evidence", where), ("run", length)):
            groups.setdefault(group, []).append(ranks)
    body = []
    for (name, value), every_rank in sorted(groups.items()):
        cells = [
            f"{100 * mean(rank is not None and rank < count for ranks in every_rank for rank in ranks):.0f} %"
            for count in MEASURES.values()
        ]
        body.append((name, value, len(every_rank), *cells))
    return report.table("What stands at the labelled step", ("", "", "runs", *MEASURES), body)


def as_json(
    results: Sequence[Result], examples: Sequence[Example], groups: dict[str, Sequence[str]], errors: dict[str, float]
) -> dict[str, Any]:
    return {"calibration": errors} | {
        name: {
            result.method: {measure: mean(result.hits(examples, sets, count)) for measure, count in MEASURES.items()}
            for result in results
        }
        for name, sets in groups.items()
    }


if __name__ == "__main__":
    main()
