"""Learns the weights that come with llmtrace from planted failures, untouched runs and labelled runs, and writes them.

Temperature: what the scores have to be divided by so that, over tasks that were not learned from, the probability of the first
suspect is right as often as it says. Needs numpy.
"""

from __future__ import annotations

import json
from pathlib import Path

import examples
import report
from ranking import Example, Ranked, calibration_error, folds, learn, rank, tempered

FILE = Path(__file__).resolve().parent.parent / "src" / "llmtrace" / "diagnosis" / "weights.json"
FOLDS = 5
TEMPERATURES = [0.6 + 0.1 * number for number in range(20)]


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--output", type=Path, default=FILE, help="the file to write (default: the one in the package)")
    examples.option(arguments)
    options = arguments.parse_args()
    every = examples.every(options.data, options.keep)
    temperature = best_temperature(every)
    ranker = tempered(learn(every), temperature)
    weights = {name: round(weight, 3) for name, weight in sorted(ranker.weights.items()) if abs(weight) >= 0.001}
    held = {"nothing": round(ranker.nothing, 3), "temperature": round(temperature, 2), "weights": weights}
    options.output.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
    body = [(name, f"{weight:+.2f}") for name, weight in sorted(weights.items(), key=lambda one: -one[1])]
    body += [("nothing is wrong here", f"{ranker.nothing:+.2f}"), ("temperature", f"{temperature:.2f}")]
    report.done(held, [report.table("Weights", ("feature", "weight"), body)], options.json)


def best_temperature(every: list[Example]) -> float:
    part = folds((one.task for one in every), FOLDS)
    rankers = [learn([one for one in every if part[one.task] != number]) for number in range(FOLDS)]

    def error(temperature: float) -> float:
        held_out = [rank(tempered(rankers[part[one.task]], temperature), one) for one in every]
        return calibration_error([first(one) for one in held_out if one.order])

    return min(TEMPERATURES, key=error)


def first(one: Ranked) -> tuple[float, bool]:
    return one.probabilities[one.order[0]], one.example.right[one.order[0]]


if __name__ == "__main__":
    main()
