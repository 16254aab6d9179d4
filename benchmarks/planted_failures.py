"""Failures of thirty kinds, planted at random places in good recorded runs: does `llmtrace why` name the place?

The runs are customer-service runs of tau-bench that earned their reward; a failure is planted in a copy of one, and what
follows from it follows too. No run says how it ended. Shown for each kind: how often the place is named first, among the first
three, and how often a suspect is likely at all; and how many untouched runs have a likely suspect.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import report
from llmtrace.diagnosis import LIKELY, diagnose
from planted.corpus import Planted, good_runs, planted, untouched

PER_KIND = 25


def judged(one: Planted) -> dict[str, bool]:
    suspects = diagnose(one.trace).suspects
    right = [one.is_right(suspect.span_id, user=getattr(suspect, "part", "") == "user") for suspect in suspects]
    likely = bool(suspects) and suspects[0].score >= LIKELY
    return {"top1": right[:1] == [True], "top3": any(right[:3]), "blamed": likely}


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--per-kind", type=int, default=PER_KIND, help=f"failures of each kind (default: {PER_KIND})")
    options = arguments.parse_args()
    runs = good_runs(report.folder(options.data, "tau_bench"))
    results: dict[str, list[dict[str, bool]]] = defaultdict(list)
    began = time.perf_counter()
    for one in [*planted(runs, options.per_kind), *untouched(runs)]:
        results[one.kind].append(judged(one))
    seconds = time.perf_counter() - began
    shown = summary(results)
    shown["milliseconds_per_run"] = 1000 * seconds / sum(map(len, results.values()))
    report.done(shown, tables(shown), options.json)


def summary(results: dict[str, list[dict[str, bool]]]) -> dict[str, Any]:
    kinds = {kind: _means(found) for kind, found in results.items() if kind}
    every = [one for kind, found in results.items() if kind for one in found]
    return {"kinds": kinds, "all": _means(every), "untouched": _means(results[""])}


def _means(found: list[dict[str, bool]]) -> dict[str, float]:
    return {"runs": len(found), **{name: sum(one[name] for one in found) / len(found) for name in found[0]}}


def tables(shown: dict[str, Any]) -> list[str]:
    body = [(kind, *_cells(found)) for kind, found in (*shown["kinds"].items(), ("all", shown["all"]))]
    body.append(("untouched runs", shown["untouched"]["runs"], "", "", f"{100 * shown['untouched']['blamed']:.1f} %"))
    return [report.table("Planted failures", ("kind", "runs", "named first", "in first three", "likely"), body)]


def _cells(found: dict[str, Any]) -> tuple[Any, ...]:
    return (found["runs"], *(f"{100 * found[name]:.0f} %" for name in ("top1", "top3", "blamed")))


if __name__ == "__main__":
    main()
