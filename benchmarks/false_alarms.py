"""How often `llmtrace why` marks good runs, and how often bad ones: recorded runs of many sources that nobody tuned on.

Each run is a list of chat messages that others published with a verdict. It becomes the spans that llmtrace records, is
evaluated and diagnosed. A run is marked if it has a certain, or a certain or likely, suspect. No check has a parameter that was
fitted to these runs, so leaving a source out changes no verdict; the table shows each source by itself.

`--alarms` prints every mark on a good run, to be read. `--checks` adds a row for each check, `--failures` one for each failure
that several runs share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import recorded
import report
from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Trace


@dataclass
class Judged:
    source: str
    name: str
    good: bool
    diagnosis: Diagnosis

    def has(self, *confidences: str) -> bool:
        return any(suspect.confidence in confidences for suspect in self.diagnosis.suspects)


def judged(runs: Iterable[tuple[str, str, Trace, bool | None]]) -> Iterator[Judged]:
    for number, (source, name, trace, good) in enumerate(runs):
        if good is None:
            continue
        if number % 100 == 0:
            report.progress(f"{number} runs …")
        evaluated, _ = evaluate_trace(trace)
        yield Judged(source, name, good, diagnose(evaluated))


def mixed_runs(data: Path) -> Iterator[tuple[str, str, Trace, bool | None]]:
    for source, name, trace, good, _ in recorded.mixed(report.folder(data, "recorded_runs")):
        yield source, name, trace, good


def other_runs(data: Path) -> Iterator[tuple[str, str, Trace, bool | None]]:
    for name, trace, good in recorded.customer_service(report.folder(data, "tau_bench")):
        yield "tau-bench", f"{name} {int(trace.trace_id, 16)}", trace, good
    for name, trace, good in recorded.terminal(report.folder(data, "terminal_bench")):
        yield "Terminal-Bench", f"{name} {int(trace.trace_id, 16)}", trace, good


def share(runs: list[Judged], good: bool, *confidences: str) -> tuple[int, int, float]:
    of_kind = [run for run in runs if run.good is good]
    marked = sum(run.has(*confidences) for run in of_kind)
    return marked, len(of_kind), 100 * marked / len(of_kind) if of_kind else 0.0


CERTAIN, MARKED = ("certain",), ("certain", "likely")


def row(name: str, runs: list[Judged], confidences: tuple[str, ...]) -> tuple[str, ...]:
    good, goods, of_good = share(runs, True, *confidences)
    bad, bads, of_bad = share(runs, False, *confidences)
    ratio = f"{of_bad / of_good:.1f}" if of_good else "–"
    return name, f"{good} of {goods}", f"{of_good:.1f} %", f"{bad} of {bads}", f"{of_bad:.1f} %", ratio


def check_rows(runs: list[Judged]) -> list[tuple[str, ...]]:
    fired: dict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    for run in runs:
        for key in {(suspect.confidence, f"{suspect.check} {suspect.label}") for suspect in run.diagnosis.suspects}:
            fired[key][run.good] += 1
    total = Counter(run.good for run in runs)
    body = []
    for (confidence, check), times in sorted(fired.items()):
        of_good, of_bad = (100 * times[good] / total[good] for good in (True, False))
        ratio = f"{of_bad / of_good:.1f}" if of_good else "–"
        body.append(
            (f"{confidence}: {check}", str(times[True]), f"{of_good:.1f} %", str(times[False]), f"{of_bad:.1f} %", ratio)
        )
    return body


def failure_rows(runs: list[Judged]) -> list[tuple[str, ...]]:
    """Return a row for each failure of several runs, by identity: good and bad runs, sources and a title."""
    found: dict[str, list[tuple[Judged, str]]] = defaultdict(list)
    for run in runs:
        for issue, title in {suspect.issue: suspect.title for suspect in run.diagnosis.marked}.items():
            found[issue].append((run, title))
    body = []
    for issue, cases in sorted(found.items(), key=lambda item: -len(item[1])):
        if len(cases) > 1:
            good = sum(run.good for run, _ in cases)
            sources = ", ".join(sorted({run.source for run, _ in cases}))
            body.append((issue, str(good), str(len(cases) - good), sources, cases[0][1]))
    return [*body, (f"{len(found)} failures in all", "", "", "", "")]


HEAD = ("runs", "good marked", "of good", "bad marked", "of bad", "ratio")


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--alarms", action="store_true", help="print every mark on a good run")
    arguments.add_argument("--checks", action="store_true", help="a row for each check")
    arguments.add_argument("--failures", action="store_true", help="a row for each failure that several runs share")
    options = arguments.parse_args()
    runs = list(judged(mixed_runs(options.data)))
    others = list(judged(other_runs(options.data)))
    sources = sorted({run.source for run in runs})
    body = [row("all, certain", runs, CERTAIN), row("all, certain or likely", runs, MARKED)]
    body += [row(name, [run for run in runs if run.source == name], MARKED) for name in sources]
    body += [row(name, [run for run in others if run.source == name], MARKED) for name in ("tau-bench", "Terminal-Bench")]
    tables = [report.table("Marked runs", HEAD, body)]
    if options.checks:
        tables.append(report.table("Checks, on the recorded runs", HEAD, check_rows(runs)))
    if options.failures:
        tables.append(report.table("Failures", ("failure", "good", "bad", "sources", "title"), failure_rows(runs)))
    if options.alarms:
        tables.append("\n".join(_alarm(run) for run in [*runs, *others] if run.good and run.diagnosis.marked))
    report.done(as_json(runs, others), tables, options.json)


def _alarm(run: Judged) -> str:
    lines = [
        f"  {one.confidence} {one.check} {one.label} ({one.count}): {one.title}\n      {one.evidence}"
        for one in run.diagnosis.marked
    ]
    return "\n".join([f"{run.source} {run.name}", *lines])


def as_json(runs: list[Judged], others: list[Judged]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, confidences in (("certain", CERTAIN), ("certain or likely", MARKED)):
        found[name] = {
            source: {"good": share(part, True, *confidences), "bad": share(part, False, *confidences)}
            for source in ("all", *sorted({run.source for run in (*runs, *others)}))
            for part in [[run for run in (*runs, *others) if run.source == source] if source != "all" else runs]
        }
    return found


if __name__ == "__main__":
    main()
