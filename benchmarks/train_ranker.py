"""Learns the weights of the places that come with llmtrace from labelled failed runs, and writes them. Needs numpy.

The temperature is chosen on predictions for tasks that the weights were not learned from, so that the first place is right as
often as its probability says.
"""

from __future__ import annotations

import json
from pathlib import Path

import report
from examples import labelled_examples
from llmtrace.diagnosis.place_ranker import FEATURES, Ranker
from ranking import best_temperature, by_task, learn

FILE = Path(__file__).resolve().parent.parent / "src" / "llmtrace" / "diagnosis" / "weights.json"


def weights_table(ranker: Ranker) -> str:
    """The weights as a Markdown table, the largest first, as docs/reference/places.md shows them."""
    order = sorted(FEATURES, key=lambda name: -ranker.weights.get(name, 0.0))
    rows = [f"| {name} | {FEATURES[name]} | {ranker.weights.get(name, 0.0):+.2f} |" for name in order]
    return "\n".join(["| feature | what it is | weight |", "|---|---|---|", *rows])


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--output", type=Path, default=FILE, help="the file to write (default: the one in the package)")
    options = arguments.parse_args()
    examples = labelled_examples(options.data)
    temperature = best_temperature([ranking for division in by_task(examples) for ranking in division])
    weights = {name: round(weight, 2) for name, weight in learn(examples).weights.items()}
    content = {"temperature": temperature, "weights": weights}
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    report.done(content, [weights_table(Ranker(weights, temperature))], options.json)


if __name__ == "__main__":
    main()
