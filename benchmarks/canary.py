"""Canary: how often a comparison says "changed" where nothing did, and how often it sees a change.

On simulated endpoints (questions with their own lengths, first words and rates, k answers each), where the truth is known; and
on recorded answers of two models before and after their update (llmdrift). That data holds one answer to a question, so the k
answers of one "question" of the canary are k recorded questions of one kind, drawn without replacement. This makes them more
different from each other than k answers to one question are: the power is a lower bound.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import report
from llmtrace.canary import LEVEL, Baseline, Observed, Probe, compare
from llmtrace.canary.sample import Sample

PAIRS = (("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"), ("gpt-4-0314", "gpt-4-0613"))
TASKS = ("PRIME_FULL", "OPINIONQA")
SIZES = ((10, 5), (20, 5), (40, 5))
"""Questions, and answers to each, before and now."""
UNCHANGED = 10
"""Comparisons of an endpoint with itself, for each one with a change: false alarms are rare."""


def file_of(groups: Sequence[Sequence[Sample]]) -> Baseline:
    probes = [Probe(f"q{number}", "prompt", ()) for number in range(len(groups))]
    observed = tuple(Observed(probe, tuple(group)) for probe, group in zip(probes, groups, strict=True))
    return Baseline("", "", max(map(len, groups), default=0), observed)


# -- simulated endpoints


def draw(chance: random.Random, questions: Sequence[Mapping[str, Any]], times: int, change: Mapping[str, float]) -> Baseline:
    groups = []
    for question in questions:
        group = []
        for _ in range(times):
            words = question["words"]
            first = chance.choices(range(len(words)), words)[0]
            if chance.random() < change.get("words", 0.0):
                first = len(words)
            length = math.exp(chance.gauss(question["length"] + math.log1p(change.get("length", 0.0)), question["spread"]))
            valid = chance.random() < question["valid"] - change.get("valid", 0.0)
            group.append(Sample(f"w{first}", round(length), valid=valid, called=True, arguments=valid))
        groups.append(group)
    return file_of(groups)


def questions_of(chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Questions that differ: short and long, sure and unsure."""
    return [
        {
            "words": [chance.random() ** 3 + 0.01 for _ in range(chance.randint(1, 4))],
            "length": chance.uniform(1, 6),
            "spread": chance.uniform(0.05, 0.6),
            "valid": chance.choice((0.8, 0.9, 0.95, 1.0)),
        }
        for _ in range(count)
    ]


CHANGES: dict[str, dict[str, float]] = {
    "nothing": {},
    "15 points fewer valid calls": {"valid": 0.15},
    "30 points fewer valid calls": {"valid": 0.3},
    "10 % longer": {"length": 0.1},
    "30 % longer": {"length": 0.3},
    "20 % begin with another word": {"words": 0.2},
    "40 % begin with another word": {"words": 0.4},
}


def simulated(repeats: int) -> Iterator[dict[str, Any]]:
    for count, times in SIZES:
        for name, change in CHANGES.items():
            report.progress(f"{count} questions, {times} answers: {name}")
            seen, tried = 0, repeats if change else UNCHANGED * repeats
            for seed in range(tried):
                chance = random.Random(f"{seed} {count} {times}")
                questions = questions_of(chance, count)
                before, now = draw(chance, questions, times, {}), draw(chance, questions, times, change)
                seen += compare(before, now).verdict == "changed"
            yield {"questions": count, "times": times, "change": name, "seen": seen, "of": tried}


def stated(repeats: int) -> dict[str, Any]:
    """How often a drop of the size that the canary states is seen; it says 8 in 10."""
    seen = tried = 0
    for seed in range(repeats):
        chance = random.Random(f"stated {seed}")
        questions = questions_of(chance, 20)
        before = draw(chance, questions, 5, {})
        metric = {one.name: one for one in compare(before, draw(chance, questions, 5, {})).metrics}["arguments valid"]
        if metric.detectable is None:
            continue
        tried += 1
        changed = compare(before, draw(chance, questions, 5, {"valid": metric.detectable}))
        seen += {one.name: one for one in changed.metrics}["arguments valid"].has_changed
    return {"seen": seen, "of": tried}


# -- recorded answers


def samples_of(folder: Path, task: str) -> dict[str, dict[Any, Sample]]:
    """By model, then by question: what the canary measures."""
    samples: dict[str, dict[Any, Sample]] = defaultdict(dict)
    for row in report.rows(folder / f"{task}.jsonl"):
        words = str(row["answer"]).split()
        samples[row["model"].rpartition("/")[2]][row["id"]] = Sample(words[0][:24] if words else "", row["answer_token"])
    return samples


def recorded(folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    for task in TASKS:
        by_model = samples_of(folder, task)
        for old, new in PAIRS:
            for count, times in SIZES:
                report.progress(f"{task} {old} {count} x {times}")
                yield {
                    "answers": task,
                    "update": f"{old} -> {new[-4:]}",
                    "questions": count,
                    "times": times,
                    "same old": same(by_model[old], count, times, repeats),
                    "same new": same(by_model[new], count, times, repeats),
                    "new": updated(by_model[old], by_model[new], count, times, repeats),
                }


def same(samples: Mapping[Any, Sample], count: int, times: int, repeats: int) -> tuple[int, int]:
    """Comparisons of one model with itself that said "changed", of how many."""

    def halves(chance: random.Random) -> tuple[list[Sample], list[Sample]]:
        ids = chance.sample(sorted(samples, key=str), 2 * count * times)
        return [samples[one] for one in ids[: count * times]], [samples[one] for one in ids[count * times :]]

    return counted(halves, count, times, repeats)


def updated(old: Mapping[Any, Sample], new: Mapping[Any, Sample], count: int, times: int, repeats: int) -> tuple[int, int]:
    """Comparisons of a model with its update that said "changed", of how many; the same questions on both sides."""
    common = sorted(old.keys() & new.keys(), key=str)

    def sides(chance: random.Random) -> tuple[list[Sample], list[Sample]]:
        ids = chance.sample(common, count * times)
        return [old[one] for one in ids], [new[one] for one in ids]

    return counted(sides, count, times, repeats)


def counted(
    sides: Callable[[random.Random], tuple[list[Sample], list[Sample]]], count: int, times: int, repeats: int
) -> tuple[int, int]:
    seen = 0
    for seed in range(repeats):
        chance = random.Random(seed)
        old, new = sides(chance)
        files = [file_of([side[at * times : (at + 1) * times] for at in range(count)]) for side in (old, new)]
        seen += compare(*files).verdict == "changed"
    return seen, repeats


def percent(seen: int, of: int) -> str:
    return f"{100 * seen / of:.1f} % of {of:,}" if of else "-"


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--repeats", type=int, default=100, help="comparisons of each row (default: 100)")
    arguments.add_argument("--only", choices=["simulated", "recorded"], help="one part")
    options = arguments.parse_args()
    results: dict[str, Any] = {"level": LEVEL}
    tables = []
    if options.only != "recorded":
        rows = results["simulated"] = list(simulated(options.repeats))
        power = results["stated power"] = stated(options.repeats)
        by_change: dict[str, dict[tuple[int, int], str]] = defaultdict(dict)
        for row in rows:
            by_change[row["change"]][row["questions"], row["times"]] = percent(row["seen"], row["of"])
        head = ("what changed", *(f"{count} questions x {times}" for count, times in SIZES))
        body = [(name, *(cells[size] for size in SIZES)) for name, cells in by_change.items()]
        tables.append(report.table("Simulated endpoints: comparisons that say changed", head, body))
        tables.append(f"\nA drop of valid calls of the stated size was seen in {percent(power['seen'], power['of'])}")
    if options.only != "simulated":
        folder = report.folder(options.data, "llmdrift")
        rows = results["recorded"] = list(recorded(folder, options.repeats))
        head = ("answers", "update", "questions x answers", "old with itself", "new with itself", "old with new")
        body = [
            (
                row["answers"],
                row["update"],
                f"{row['questions']} x {row['times']}",
                *(percent(*row[name]) for name in ("same old", "same new", "new")),
            )
            for row in rows
        ]
        tables.append(report.table("Recorded updates: comparisons that say changed", head, body))
    report.done(results, tables, options.json)


if __name__ == "__main__":
    main()
