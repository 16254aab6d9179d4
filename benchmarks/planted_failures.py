"""Failures of many kinds, planted at random places in good recorded runs: does `llmtrace why` name the place? Needs numpy.

The runs are customer-service runs of tau-bench that earned their reward; a failure is planted in a copy of one, and what
follows from it follows too. No run says how it ended. `by task`: judged by weights that were learned without the recorded runs
of its task; `unseen kind`: without any failure of its kind. Shown for each kind: how often the place is named first, among the
first three, and how often a suspect is likely at all; and how many untouched runs have a likely suspect, and how many in which
one agent handed on to another, or the conversation was summed up, with every value right.

`--anew KIND …` plants such failures at other places, four times as many, that nothing was learned from, and shows them by task:
apart for the half of the tasks whose misses were read while the rules for these kinds were written, and for the other half.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import examples
import report
from llmtrace.diagnosis import LIKELY
from llmtrace.diagnosis.ranker import shipped
from ranking import Example, Ranked, folds, learn, rank, tempered

FOLDS = 5
FEW_ROUNDS = 80
"""Rounds of learning without one kind, from the weights of all of them."""


ANEW = (31, 32, 33, 34)
"""Seeds of the failures that are planted anew."""
READ = 99
"""Seed of the halves of the tasks, of which one was read."""


def by_task(every: Sequence[Example], judged: Sequence[Example] | None = None) -> list[Ranked]:
    """``judged``: other examples of the same tasks; those learned from, by themselves, if none are given."""
    part = folds((one.task for one in every), FOLDS)
    found: list[Ranked] = []
    for number in range(FOLDS):
        report.progress(f"tasks, part {number + 1} of {FOLDS} …")
        ranker = tempered(learn([one for one in every if part[one.task] != number]), shipped().temperature)
        found += [rank(ranker, one) for one in judged or every if part[one.task] == number and not one.failed]
    return found


def unseen_kind(every: Sequence[Example]) -> list[Ranked]:
    whole = learn(every)
    found: list[Ranked] = []
    for kind in sorted({one.kind for one in every if one.kind and one.set != examples.CONTROL}):
        report.progress(f"without {kind} …")
        ranker = learn([one for one in every if one.kind != kind], start=whole, rounds=FEW_ROUNDS)
        found += [rank(tempered(ranker, shipped().temperature), one) for one in every if one.kind == kind]
    return found


def measures(found: Sequence[Ranked]) -> dict[str, float]:
    likely = [max(one.probabilities, default=0.0) >= LIKELY for one in found]
    return {
        "runs": len(found),
        "top1": sum(one.top(1) for one in found) / len(found),
        "top3": sum(one.top(3) for one in found) / len(found),
        "likely": sum(likely) / len(found),
    }


def by_kind(found: Sequence[Ranked]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Ranked]] = defaultdict(list)
    for one in found:
        groups[one.example.kind].append(one)
    return {kind: measures(group) for kind, group in groups.items()}


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--anew", nargs="+", metavar="KIND", help="only such failures, planted at other places")
    examples.option(arguments)
    options = arguments.parse_args()
    every = examples.every(options.data, options.keep)
    if options.anew:
        again = by_task(every, examples.planted_anew(options.data, options.anew, ANEW))
        half = folds(goods(every), 2, READ)
        parts = {name: by_kind([one for one in again if half[one.example.task] == at]) for at, name in enumerate(HALVES)}
        report.done(parts, [_anew(parts)], options.json)
        return
    tasks, unseen = by_task(every), unseen_kind(every)
    controls = [one for one in tasks if one.example.set == examples.CONTROL]
    untouched = [one for one in tasks if not one.example.kind]
    failures = [one for one in tasks if one.example.kind and one.example.set != examples.CONTROL]
    shown: dict[str, Any] = {
        "by task": by_kind(failures),
        "unseen kind": by_kind(unseen),
        "all by task": measures(failures),
        "all unseen kind": measures(unseen),
        "untouched": measures(untouched),
        "controls": by_kind(controls),
    }
    report.done(shown, tables(shown), options.json)


HALVES = ("read", "not read")


def goods(every: Sequence[Example]) -> list[str]:
    """The tasks of the recorded runs that failures are planted into."""
    return [one.task for one in every if one.set == "untouched"]


def _anew(parts: dict[str, dict[str, dict[str, float]]]) -> str:
    body = [(kind, half, *_cells(found)) for half, kinds in parts.items() for kind, found in kinds.items()]
    return report.table("Planted anew", ("kind", "tasks", "runs", "named first", "in first three", "likely"), sorted(body))


def tables(shown: dict[str, Any]) -> list[str]:
    body = [(kind, *_cells(found), *_cells(shown["unseen kind"][kind])[1:3]) for kind, found in shown["by task"].items()]
    body.append(("all", *_cells(shown["all by task"]), *_cells(shown["all unseen kind"])[1:3]))
    body.append(
        ("untouched runs", f"{shown['untouched']['runs']}", "", "", f"{100 * shown['untouched']['likely']:.1f} %", "", "")
    )
    for kind, found in shown["controls"].items():
        body.append((kind.replace("_", " "), f"{found['runs']}", "", "", f"{100 * found['likely']:.0f} %", "", ""))
    head = ("kind", "runs", "named first", "in first three", "likely", "unseen kind: first", "first three")
    return [report.table("Planted failures", head, body)]


def _cells(found: dict[str, float]) -> tuple[str, ...]:
    return (f"{found['runs']:.0f}", *(f"{100 * found[name]:.0f} %" for name in ("top1", "top3", "likely")))


if __name__ == "__main__":
    main()
