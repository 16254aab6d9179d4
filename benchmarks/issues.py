"""Do issues keep their identity, are relapses told, and how long does it take to group many runs?

    python benchmarks/issues.py [--count 40] [--runs 10000] [--data DIR] [--json]

Causes of twelve kinds are planted in good customer-service runs of tau-bench: of other customers, so with other words, ids and
steps. Two runs have the same cause if kind, tool, field and fault are the same. ``same cause``: pairs of runs of different
tasks with the same cause, and how many have the same issue. ``other cause``: pairs with another cause, and how many have
another issue.

A history is: good runs and a run with a cause, both of version 1; the issue is said to be fixed in version 2; good runs of
version 2; then the same cause again in another task. ``relapse``: the first run of version 2 that shows it is called a relapse.
``old version``: the same run, made with version 1, is not. ``other cause``: another cause after the fix is not. ``good``: no
good run is.

The second table groups many runs of a local store by ``llmtrace issues`` in a process of its own: ``first``, with the diagnosis
of each run, which happens once, and ``then``.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import failing_runs

import report
from llmtrace.issues import Decision, Decisions, issues_of
from llmtrace.list_verdicts import JudgedRun, Verdict, verdict_of
from llmtrace.model import replace
from llmtrace.model.issues import COMMIT
from llmtrace.store import open_store
from planted import VISIBLE_KINDS, in_one_task
from planted.corpus import good_runs
from planted.recorded import Run, trace_of

_ATTEMPTS = 60
_PAIRS = 20_000
BAR = 0.95
OLD, NEW = "1" * 40, "2" * 40


class Cause(NamedTuple):
    kind: str
    tool: str
    detail: str


class Case(NamedTuple):
    cause: Cause
    task: str
    verdict: Verdict
    issue: str
    """The issue that shows the cause; empty if the run shows none that it did not show before."""


def cause_of(kind: str, before: Run, after: Run, at: int) -> Cause:
    """Return what was planted: the tool, and what happened to which argument; or the error."""
    step = after.steps[at]
    result = after.steps[at + 1] if at + 1 < len(after.steps) else None
    if not step.is_call or kind.startswith(("unknown_tool", "truncated_context")):
        return Cause(kind, "", "")
    if kind.startswith(("tool_raised", "swallowed_error", "ignored_failure", "loop", "duplicate")):
        error = result.failure if result is not None else ""
        return Cause(kind, step.tool, "timeout" if "Timeout" in error else error)
    known = next((old for old in before.steps[at:] if old.is_call and old.tool == step.tool), None)
    if known is None or not isinstance(step.arguments, dict) or not isinstance(known.arguments, dict):
        return Cause(kind, step.tool, "malformed" if not isinstance(step.arguments, dict) else "")
    faults = []
    for name in sorted({*known.arguments, *step.arguments}):
        if name not in step.arguments:
            faults.append(f"{name} missing")
        elif name in known.arguments and type(step.arguments[name]) is not type(known.arguments[name]):
            faults.append(f"{name} type")
        elif name in known.arguments and step.arguments[name] != known.arguments[name]:
            faults.append(f"{name} value")
    return Cause(kind, step.tool, ", ".join(faults))


def cases(runs: Sequence[Run], count: int, seed: int) -> Iterator[Case]:
    """Plant each kind up to ``count`` times, each time in a run that chance chooses."""
    untouched: dict[str, frozenset[str]] = {}
    for kind, (_, plant) in VISIBLE_KINDS.items():
        report.progress(f"{kind} …")
        chance = random.Random(f"{seed} {kind}")
        made = 0
        for _ in range(_ATTEMPTS * count):
            if made == count:
                break
            base = chance.choice(runs)
            run = base.copy()
            truth = plant(run, chance)
            if not truth:
                continue
            made += 1
            if base.task not in untouched:
                both = (verdict_of(trace_of(form)[0]) for form in (base, in_one_task(base.copy())))
                untouched[base.task] = frozenset(found.issue for verdict in both for found in verdict.issues)
            trace, steps = trace_of(run)
            verdict = verdict_of(trace)
            new = [found for found in verdict.issues if found.issue not in untouched[base.task]]
            places = {span for span, numbers in steps.items() if truth & {*numbers, *(number - 1 for number in numbers)}}
            at_place = [found for found in new if found.span_id in places]
            issue = next((found.issue for found in (at_place or new)), "")
            yield Case(cause_of(kind, base, run, min(truth)), base.task, verdict, issue)


def identity(found: Sequence[Case], seed: int) -> dict[str, tuple[int, int]]:
    """Return right and all pairs, of the same cause and of other causes."""
    shown, chance = [case for case in found if case.issue], random.Random(seed)
    same, other = Counter[bool](), Counter[bool]()
    by_cause = defaultdict(list)
    for case in shown:
        by_cause[case.cause].append(case)
    for alike in by_cause.values():
        for first, second in itertools.combinations(alike, 2):
            if first.task != second.task:
                same[first.issue == second.issue] += 1
    for _ in range(_PAIRS):
        first, second = chance.sample(shown, 2)
        if first.cause != second.cause:
            other[first.issue != second.issue] += 1
    return {"same cause": (same[True], same.total()), "other cause": (other[True], other.total())}


def histories(found: Sequence[Case], good: Sequence[Verdict], seed: int) -> dict[str, tuple[int, int]]:
    """Return right and all answers of each question about histories."""
    right, asked = Counter[str](), Counter[str]()
    chance = random.Random(seed)
    shown = [case for case in found if case.issue]
    for first in shown:
        again = [case for case in shown if case.cause == first.cause and case.task != first.task]
        others = [case for case in shown if case.cause != first.cause]
        if not again:
            continue
        second, third = chance.choice(again), chance.choice(others)
        fix = Decision(first.issue, "fixed", 100, version=NEW[:10], before={COMMIT: (OLD,)})

        def relapses(verdict: Verdict, version: str, issue: str, fix: Decision = fix, first: Case = first) -> bool:
            before = [_run(number, chance.choice(good), OLD) for number in range(3)]
            after = [_run(101 + number, chance.choice(good), NEW) for number in range(3)]
            runs = [*before, _run(50, first.verdict, OLD), *after, _run(200, verdict, version)]
            issues = issues_of(sorted(runs, key=lambda run: -run.start), Decisions([fix]))
            return any(one.state == "relapsed" for one in issues if one.issue == issue or not issue)

        right["relapse"] += relapses(second.verdict, NEW, first.issue)
        right["old version"] += not relapses(second.verdict, OLD, first.issue)
        right["other cause"] += not relapses(third.verdict, NEW, first.issue)
        right["good"] += not relapses(chance.choice(good), NEW, "")
        asked.update(("relapse", "old version", "other cause", "good"))
    return {question: (right[question], asked[question]) for question in asked}


def _run(start: int, verdict: Verdict, version: str) -> JudgedRun:
    return JudgedRun(f"{start:032x}", start, replace(verdict, version={COMMIT: (version,)}))


def by_kind(found: Sequence[Case]) -> list[tuple[object, ...]]:
    """Return a row for each kind: runs, those that show an issue, causes, and issues."""
    kinds = defaultdict(list)
    for case in found:
        kinds[case.cause.kind].append(case)
    return [
        (
            kind,
            len(some),
            sum(bool(case.issue) for case in some),
            len({case.cause for case in some if case.issue}),
            len({case.issue for case in some if case.issue}),
        )
        for kind, some in kinds.items()
    ]


def grouping(runs: int) -> list[tuple[str, float, float]]:
    """Return wall and CPU seconds of `llmtrace issues` over so many runs of a local store, the first time and then."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        spans = [list(group) for _, group in itertools.groupby(failing_runs.spans(), lambda span: span.trace_id)]
        with open_store(folder) as store:
            for number in range(runs):
                report.progress(f"run {number:,}")
                for span in spans[number % len(spans)]:
                    later, trace_id = number * 1_000_000, f"{number + 1:032x}"
                    end = None if span.end is None else span.end + later
                    store.append(replace(span, trace_id=trace_id, run_id=trace_id, start=span.start + later, end=end))
        command = [sys.executable, "-m", "llmtrace", "issues", "--json", "--store", folder]
        for name in ("first", "then"):
            report.progress(f"issues, {name} …")
            began, cpu = time.perf_counter(), os.times()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            used = after.children_user + after.children_system - cpu.children_user - cpu.children_system
            rows.append((name, time.perf_counter() - began, used))
    return rows


def share(right: int, asked: int) -> str:
    return f"{right:,} of {asked:,} ({100 * right / asked:.1f} %)" if asked else "-"


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--count", type=int, default=40, help="runs of each kind")
    parser.add_argument("--runs", type=int, default=10_000, help="runs to group; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=7, help="of the choice of runs and places")
    args = parser.parse_args()
    runs = good_runs(report.folder(args.data, "tau_bench"))
    found = list(cases(runs, args.count, args.seed))
    good = [verdict_of(trace_of(run)[0]) for run in runs]
    told = {f"history: {name}": pair for name, pair in histories(found, good, args.seed).items()}
    right = {**identity(found, args.seed), **told}
    tables = [
        report.table("Planted causes", ("kind", "runs", "show an issue", "causes", "issues"), by_kind(found)),
        report.table(f"Right (bar: {100 * BAR:.0f} %)", ("", "right"), [(name, share(*pair)) for name, pair in right.items()]),
    ]
    times = grouping(args.runs) if args.runs else []
    if times:
        rows = [(name, f"{wall:.1f}", f"{cpu:.1f}") for name, wall, cpu in times]
        tables.append(report.table(f"llmtrace issues over {args.runs:,} runs", ("", "wall, s", "CPU, s"), rows))
    report.done({"right": right, "kinds": by_kind(found), "grouping": times}, tables, args.json)


if __name__ == "__main__":
    main()
