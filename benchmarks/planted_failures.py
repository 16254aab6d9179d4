"""Failures of many kinds, planted in good recorded runs: does `llmtrace why` name the place, and is it silent about good runs?

The runs are customer-service runs of tau-bench that earned their reward; a failure is planted in a copy of result, and what
follows from it follows too. No run says how it ended. The first table has the kinds that a record can show, planted where a law
speaks of them: how often the first marked suspect is the place. The second has the other kinds, and what is said of the place.
The third has good runs: how many are marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import report
from llmtrace.diagnosis import Diagnosis, diagnose
from planted import CONTROLS, OTHER_KINDS, VISIBLE_KINDS, in_one_task
from planted.corpus import Planted, good_runs, planted, untouched

COUNT = 25
BAR = 0.85
WORDS = ("certain", "likely", "possible", "nothing")


@dataclass
class Outcome:
    marked: bool
    first: bool
    """The first marked suspect is where the failure began."""
    word: str
    """The strongest word about the place, or ``nothing``."""


def outcome(run: Planted, diagnosis: Diagnosis) -> Outcome:
    at_place = [suspect.confidence for suspect in diagnosis.suspects if run.is_right(suspect.span_id)]
    prime = diagnosis.prime
    return Outcome(prime is not None, prime is not None and run.is_right(prime.span_id), next(iter(at_place), "nothing"))


def outcomes(kind: str, runs: Iterable[Planted]) -> list[Outcome]:
    report.progress(f"{kind} …")
    return [outcome(run, diagnose(run.trace)) for run in runs]


def main() -> None:
    options = report.parser(__doc__).parse_args()
    runs = good_runs(report.folder(options.data, "tau_bench"))
    visible = {kind: outcomes(kind, planted(runs, kind, plant, COUNT)) for kind, (_, plant) in VISIBLE_KINDS.items()}
    other_kinds = {kind: outcomes(kind, planted(runs, kind, plant, COUNT)) for kind, plant in OTHER_KINDS.items()}
    good = {
        "untouched": outcomes("untouched", untouched(runs)),
        "untouched, as one task": outcomes("one task", untouched([in_one_task(run.copy()) for run in runs])),
        **{kind: outcomes(kind, planted(runs, kind, plant, COUNT)) for kind, plant in CONTROLS.items()},
    }
    all_visible = [result for results in visible.values() for result in results]
    first = sum(result.first for result in all_visible) / len(all_visible)
    head = ("kind", "what the law says", "runs", "named first", *WORDS)
    rows = [
        (kind, VISIBLE_KINDS[kind][0], len(results), _share(result.first for result in results), *_counts(results))
        for kind, results in visible.items()
    ]
    rows.append(
        (
            f"all (bar: {100 * BAR:.0f} %)",
            "",
            len(all_visible),
            _share(result.first for result in all_visible),
            *_counts(all_visible),
        )
    )
    tables = [report.table("Planted failures that a record can show", head, rows)]
    rows = [
        (kind, len(results), *_counts(results), _share(result.marked for result in results))
        for kind, results in other_kinds.items()
    ]
    tables.append(
        report.table("Other planted failures: what is said of the place", ("kind", "runs", *WORDS, "run is marked"), rows)
    )
    rows = [
        (kind.replace("_", " "), len(results), _share(result.marked for result in results)) for kind, results in good.items()
    ]
    tables.append(report.table("Good runs", ("runs", "number", "marked"), rows))
    report.done(as_json(first, visible, other_kinds, good), tables, options.json)


def _counts(results: list[Outcome]) -> list[str]:
    counts = Counter(result.word for result in results)
    return [str(counts[word] or "") for word in WORDS]


def _share(flags: Iterable[bool]) -> str:
    results = list(flags)
    return f"{100 * sum(results) / max(1, len(results)):.0f} %"


def as_json(first: float, *groups: dict[str, list[Outcome]]) -> dict[str, Any]:
    names = ("visible", "other_kinds", "good")
    return {"named first": first} | {
        name: {
            kind: {
                "runs": len(results),
                "first": sum(result.first for result in results),
                "marked": sum(result.marked for result in results),
                **Counter(result.word for result in results),
            }
            for kind, results in group.items()
        }
        for name, group in zip(names, groups, strict=True)
    }


if __name__ == "__main__":
    main()
