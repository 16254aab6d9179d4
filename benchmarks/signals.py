"""What the quality signals say of recorded runs that others judged, and how often they are wrong.

* Recorded runs of many sources, and tau-bench: the share of runs with each fact and each finding, among those that went well
  and those that did not.
* TRAIL: findings against the errors that people annotated, span by span, for any error and by category.
* Terminal-Bench: the end state against whether the task was solved.
* BFCL: tool calls that validation refuses against those that were graded wrong.

Rules were made looking at one half of the runs (even last digit of the trace or run number), the other half is reported beside
it. Nothing here is tuned by a program.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bfcl
import recorded
import report
from llmtrace.diagnosis import findings_of
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Evaluation, Inference, Span, ToolExecution, Trace
from llmtrace.validation.check_values import check_call

HALVES = ("tuned on", "held out")


def half_of(trace: Trace) -> str:
    return HALVES[int(trace.trace_id[-1], 16) % 2]


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def ratio(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"


def findings(trace: Trace) -> Iterator[tuple[Span, Evaluation]]:
    """The facts about the steps of a trace, and what the laws say of its runs, each with the span that it is about."""
    judged, _ = evaluate_trace(trace)
    for span in judged.spans:
        for evaluation in span.evaluations:
            if evaluation.confidence is None:
                yield span, evaluation
    for finding in findings_of(judged):
        yield judged.span(finding.span_id), finding.as_evaluation()


def named(evaluation: Evaluation) -> str:
    return f"{evaluation.name}: {evaluation.label} ({evaluation.confidence or 'fact'})"


# -- tau-bench and Terminal-Bench: alarms on runs that went well


def alarms(folder: Path) -> tuple[dict[str, Any], list[str]]:
    return _alarms("tau-bench", recorded.customer_service(folder))


def mixed_alarms(folder: Path) -> tuple[dict[str, Any], list[str]]:
    graded = ((source, trace, good) for source, _, trace, good, _ in recorded.mixed(folder) if good is not None)
    return _alarms("recorded runs of many sources", graded)


def _alarms(name: str, graded: Iterable[tuple[str, Trace, bool]]) -> tuple[dict[str, Any], list[str]]:
    """Runs with each finding, by whether the run went well."""
    runs: Counter[tuple[bool, str]] = Counter()
    failing: Counter[tuple[bool, str]] = Counter()
    fired: dict[str, Counter[bool]] = defaultdict(Counter)
    for _, trace, good in graded:
        found = [evaluation for _, evaluation in findings(trace)]
        for part in ("all", half_of(trace)):
            runs[good, part] += 1
            failing[good, part] += any(one.is_mark for one in found)
        for finding in {named(one) for one in found}:
            fired[finding][good] += 1
    well, badly = runs[True, "all"], runs[False, "all"]
    body = [
        (finding, percent(times[True], well), percent(times[False], badly), ratio(times[False], times.total()))
        for finding, times in sorted(fired.items())
    ]
    split = [
        (part, *(f"{percent(failing[good, part], runs[good, part])} of {runs[good, part]}" for good in (True, False)))
        for part in ("all", *HALVES)
    ]
    results = {finding: {"good": times[True], "bad": times[False]} for finding, times in fired.items()}
    head = ("finding", f"of {well} runs that went well", f"of {badly} that did not", "share that did not")
    tables = [
        report.table(f"{name}: runs with at least one", head, body),
        report.table(f"{name}: runs with a certain or likely finding", ("runs", "went well", "did not"), split),
    ]
    return {"runs": {"good": well, "bad": badly}, "findings": results}, tables


# -- TRAIL: findings against annotated errors


@dataclass
class Marks:
    """Spans of model calls and tool executions: all, those annotated (by category), and those that findings point at."""

    spans: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    categories: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    found: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    any: set[str] = field(default_factory=set)

    def take(self, trace: Trace, errors: Mapping[str, set[str]]) -> None:
        judged = {span.span_id: span for span in trace.spans if isinstance(span.operation, (Inference, ToolExecution))}
        self.spans |= judged.keys()
        self.wrong |= errors.keys()
        for span_id, categories in errors.items():
            for category in categories:
                self.categories[category].add(span_id)
        for span, evaluation in findings(trace):
            place = points_at(judged, span, evaluation)
            if place is not None:
                self.found[evaluation.name].add(place)
                if evaluation.name != "end_state":  # of the run, not of a step
                    self.any.add(place)


def points_at(judged: Mapping[str, Span], span: Span, evaluation: Evaluation) -> str | None:
    """The model call or execution that a finding is about: where it stands, the call that decided where it is about that, the
    model call that asked where it is about the call, and its first source where it stands on the run or on a step."""
    first = next((source for source in evaluation.sources if source in judged), None)
    if evaluation.name == "failed_tool" and first is not None:
        return first
    if evaluation.name == "invalid_tool_call" and isinstance(span.operation, ToolExecution):
        return asking(judged, span) or span.span_id
    return span.span_id if span.span_id in judged else first


def asking(judged: Mapping[str, Span], execution: Span) -> str | None:
    """The last model call before an execution below the same span."""
    before = [
        span
        for span in judged.values()
        if isinstance(span.operation, Inference)
        and span.parent_id == execution.parent_id
        and (span.end or 0) <= execution.start
    ]
    return max(before, key=lambda span: span.end or 0).span_id if before else None


def against_people(folder: Path) -> tuple[dict[str, Any], list[str]]:
    results: dict[str, Any] = {}
    tables: list[str] = []
    for name in ("gaia", "swe_bench"):
        whole, halves = Marks(), {half: Marks() for half in HALVES}
        for trace, errors in recorded.annotated(folder / name):
            whole.take(trace, errors)
            halves[half_of(trace)].take(trace, errors)
        body = [(part, *_line(marks)) for part, marks in (("all", whole), *halves.items())]
        head = ("traces", "spans", "annotated", "base rate", "flagged", "precision", "recall", "flag everything")
        tables.append(report.table(f"TRAIL {name}: any error", head, body))
        tables.append(_by_signal(name, whole))
        tables.append(_by_category(name, whole))
        results[name] = {part: _numbers(marks) for part, marks in (("all", whole), *halves.items())}
    return results, tables


def _numbers(marks: Marks) -> dict[str, Any]:
    hits = {name: len(found & marks.wrong) for name, found in marks.found.items()}
    counts = {"spans": len(marks.spans), "annotated": len(marks.wrong), "flagged": len(marks.any)}
    return {**counts, "hits": len(marks.any & marks.wrong), "by signal": {n: [hits[n], len(f)] for n, f in marks.found.items()}}


def _line(marks: Marks) -> tuple[Any, ...]:
    hits, base = len(marks.any & marks.wrong), ratio(len(marks.wrong), len(marks.spans))
    precision, recall = ratio(hits, len(marks.any)), ratio(hits, len(marks.wrong))
    return len(marks.spans), len(marks.wrong), base, len(marks.any), precision, recall, f"{base} / 1.00"


def _by_signal(name: str, marks: Marks) -> str:
    body = []
    for signal, found in sorted(marks.found.items()):
        most = Counter(category for category, spans in marks.categories.items() for span in found if span in spans)
        top = ", ".join(f"{category} {count}" for category, count in most.most_common(3))
        body.append((signal, len(found), ratio(len(found & marks.wrong), len(found)), top))
    return report.table(f"TRAIL {name}: by quality signal", ("quality signal", "flagged", "precision", "categories hit"), body)


def _by_category(name: str, marks: Marks) -> str:
    body = []
    for category, spans in sorted(marks.categories.items(), key=lambda item: -len(item[1])):
        hits = {signal: len(found & spans) for signal, found in marks.found.items() if signal != "end_state"}
        best = max(hits, key=lambda signal: hits[signal], default="")
        line = [category, len(spans), ratio(len(marks.any & spans), len(marks.any)), ratio(len(marks.any & spans), len(spans))]
        some = best and hits[best]
        pair = (ratio(hits[best], len(marks.found[best])), ratio(hits[best], len(spans))) if some else ("-", "-")
        body.append((*line, best if some else "-", *pair))
    head = ("category", "spans", "any: precision", "recall", "best quality signal", "precision", "recall")
    return report.table(f"TRAIL {name}: by annotated category", head, body)


# -- Terminal-Bench: the end state


def end_states(folder: Path) -> tuple[dict[str, Any], list[str]]:
    ends: dict[str, Counter[bool]] = defaultdict(Counter)
    halves: dict[str, Counter[tuple[bool, bool]]] = defaultdict(Counter)
    graded: Counter[bool] = Counter()
    for _, trace, solved in recorded.terminal(folder):
        label = _end_of(trace)
        graded[solved] += 1
        ends[label][solved] += 1
        halves[half_of(trace)][label != "answered", solved] += 1
        halves["all"][label != "answered", solved] += 1
    failed = graded[False]
    body = [
        (label, counts.total(), ratio(counts[False], counts.total()), ratio(counts[False], failed))
        for label, counts in sorted(ends.items(), key=lambda item: -item[1].total())
    ]
    split = []
    for half in ("all", *HALVES):
        counts = halves[half]
        told, lost = counts[True, True] + counts[True, False], counts[True, False] + counts[False, False]
        precision, recall = ratio(counts[True, False], told), ratio(counts[True, False], lost)
        split.append((half, counts.total(), ratio(lost, counts.total()), told, precision, recall))
    fired, alarm_tables = _alarms("Terminal-Bench", recorded.terminal(folder))
    results = {label: {"failed": counts[False], "solved": counts[True]} for label, counts in ends.items()}
    tables = [
        report.table(
            f"Terminal-Bench: end states of {graded.total()} runs, {failed} of them failed",
            ("end state", "runs", "share that failed", "share of the failed runs"),
            body,
        ),
        report.table(
            "Any end state but answered, against failure",
            ("runs", "number", "base rate", "flagged", "precision", "recall"),
            split,
        ),
        *alarm_tables,
    ]
    return {"end states": results, "alarms": fired}, tables


def _end_of(trace: Trace) -> str:
    """The first certain finding on how the run or its last answer ended."""
    ends = (one for one in findings_of(evaluate_trace(trace)[0]) if one.law in ("end_state", "defective_output"))
    return next((one.label for one in ends if one.confidence == "certain"), "answered")


# -- BFCL: validation


def validation(folder: Path) -> tuple[dict[str, Any], list[str]]:
    counts: Counter[tuple[str, bool]] = Counter()
    for row, calls, tools in bfcl.answers(folder):
        severities = {found.severity for call in calls for found in check_call(call, tools) if found.code != "schema"}
        worst = next((severity for severity in ("error", "warning") if severity in severities), "valid")
        counts[worst, bool(row["bfcl_wrong"])] += 1
    wrong = sum(number for (_, bad), number in counts.items() if bad)
    total = counts.total()
    body = [
        (kind, counts[kind, True] + counts[kind, False], *_pair(counts, kind, wrong)) for kind in ("error", "warning", "valid")
    ]
    title = f"BFCL: {total} answers with tool calls, {percent(wrong, total)} of them graded wrong"
    results = {kind: {"wrong": counts[kind, True], "right": counts[kind, False]} for kind in ("error", "warning", "valid")}
    return results, [report.table(title, ("validation says", "answers", "share graded wrong", "share of the wrong"), body)]


def _pair(counts: Counter[tuple[str, bool]], kind: str, wrong: int) -> tuple[str, str]:
    return ratio(counts[kind, True], counts[kind, True] + counts[kind, False]), ratio(counts[kind, True], wrong)


PARTS = {
    "recorded_runs": mixed_alarms,
    "tau_bench": alarms,
    "trail": against_people,
    "terminal_bench": end_states,
    "bfcl": validation,
}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="this data set (may be repeated); default, all")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    tables: list[str] = []
    for name in arguments.only or PARTS:
        report.progress(f"{name} …")
        results[name], made = PARTS[name](report.folder(arguments.data, name))
        tables += made
    report.done(results, tables, arguments.json)


if __name__ == "__main__":
    main()
