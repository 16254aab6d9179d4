"""``llmtrace check``: evaluate stored traces again. The exit code tells if something is wrong, or nothing could be judged.

Exit code 1: a run that failed, or that a certain or likely finding marks, as in `ls` and `why`; with --strict, also any error
or warning about a step. With --new, only an issue (see `llmtrace issues`) that is new or has relapsed: one is known if there is
a decision about it, or if an earlier run of the same local store shows it. Exit code 4: no call and no answer to judge. Where
content is missing, the original verdict stands. A file with an unreadable line is refused.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, FOUND, NOT_JUDGED, BadInput, add_import, import_all, print_json
from llmtrace.cli.read_spans import traces_of
from llmtrace.cli.show import title_of
from llmtrace.cli.stores import folder_of, opened, trace_of
from llmtrace.cli.terminal import Cell, Progress, Screen, cells, short
from llmtrace.config import Config
from llmtrace.diagnosis import Suspect, diagnose
from llmtrace.errors import DiagnosisFailed
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.issues import State, decisions_of, judged_runs, state_in
from llmtrace.issues.words import fix_words, relapse_words
from llmtrace.list_verdicts import NOTHING, JudgedRun, Verdict, verdict_from
from llmtrace.model import (
    ACCEPTANCE,
    INVALID_TOOL_CALL,
    OUTCOME,
    Evaluation,
    Failure,
    Health,
    Inference,
    Span,
    Trace,
    Violation,
)
from llmtrace.model.traces import short_id
from llmtrace.store import Query
from llmtrace.store.local import LocalStore

NAME = "check"
HELP = "evaluate runs or OTLP files again; exit code 1 if one is bad"
EXAMPLE = "llmtrace check traces.jsonl --strict"


Finding: TypeAlias = Violation | Evaluation | Failure


class SeenIssue(NamedTuple):
    """An issue that a checked run shows."""

    issue: str
    title: str
    state: Literal["new"] | State
    trace_id: str
    """The first checked run that shows it; of a relapsed one, the first that was made after the fix."""
    words: str
    """The state in words."""

    @property
    def fails(self) -> bool:
        return self.state in ("new", "relapsed")


class Checked(NamedTuple):
    trace: Trace
    findings: list[tuple[Span, Finding]]
    unknown: tuple[str, ...]
    """Ids of the runs with incomplete content. Their stored evaluations are kept."""
    judged: bool
    """False if the trace shows neither calls nor answers."""
    unchecked: tuple[str, ...]
    """Checks that could not run, because their input was not recorded; a sentence each."""
    health: Health
    suspects: tuple[Suspect, ...] = ()
    """The suspects that mark the run."""
    verdict: Verdict = NOTHING
    """The issues that the run shows, and its versions."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="*", metavar="TRACE|FILE", help="trace id, last, a file of OTLP JSON, or - (default: last)"
    )
    parser.add_argument("--all", action="store_true", help="all traces of the store")
    parser.add_argument("--strict", action="store_true", help="exit code 1 also for an error or a warning about a step")
    parser.add_argument("--new", action="store_true", help="exit code 1 only for an issue that is new or has relapsed")
    add_import(parser)


def run(args: argparse.Namespace) -> int:
    if args.new and args.strict:
        raise BadInput("--new is about issues of whole runs, and --strict about single steps.\nLeave out one of them.")
    import_all(args.imports)
    evaluator = Evaluator()
    with Progress("checking traces") as progress:
        checked = [_check(trace, evaluator) for trace in progress.count(_traces(args))]
    tally: Counter[str] = Counter(_severity(finding) for checked_trace in checked for _, finding in checked_trace.findings)
    tally["suspects"] = sum(len(checked_trace.suspects) for checked_trace in checked)
    is_bad = any(checked_trace.suspects or checked_trace.health == "failed" for checked_trace in checked)
    seen = _seen_issues(args, checked) if args.new else []
    has_findings = is_bad or (args.strict and bool(tally["error"] or tally["warning"]))
    if args.new:
        has_findings = any(issue.fails for issue in seen)
    judged = is_bad or has_findings or any(checked_trace.judged for checked_trace in checked)
    if args.json:
        print_json(
            {
                "errors": tally["error"],
                "warnings": tally["warning"],
                "info": tally["info"],
                "suspects": tally["suspects"],
                "judged": judged,
                "traces": [_as_json(checked_trace) for checked_trace in checked],
            }
            | ({"issues": [issue._asdict() | {"fails": issue.fails} for issue in seen]} if args.new else {})
        )
    else:
        screen = Screen(sys.stdout)
        _show(screen, checked, tally, judged=judged)
        if args.new:
            _show_issues(screen, seen)
    return FOUND if has_findings else FINE if judged else NOT_JUDGED


def _traces(args: argparse.Namespace) -> Iterator[Trace]:
    if args.all:
        if args.what:
            raise BadInput("--all checks every trace of the store; name no others.")
        with opened(args) as store:
            yield from (store.trace(summary.trace_id) for summary in store.traces(Query(limit=sys.maxsize)))
        return
    for what in args.what or ["last"]:
        if what == "-" or what.endswith((".jsonl", ".json")) or Path(what).is_file():
            yield from traces_of(what)
        else:
            with opened(args) as store:
                yield trace_of(store, what)


def _check(trace: Trace, evaluator: Evaluator) -> Checked:
    evaluated, unknown = evaluate_trace(trace, evaluator)
    try:
        diagnosis = diagnose(evaluated)
    except DiagnosisFailed:  # reported by `why`
        return Checked(evaluated, list(_findings(evaluated)), unknown, True, (), evaluated.health)
    findings = list(_findings(evaluated))
    judged = diagnosis.is_judged or any(_severity(finding) != "info" for _, finding in findings)
    verdict = verdict_from(evaluated, diagnosis)
    return Checked(evaluated, findings, unknown, judged, diagnosis.unchecked, diagnosis.health, diagnosis.marked, verdict)


def _seen_issues(args: argparse.Namespace, checked: list[Checked]) -> list[SeenIssue]:
    """Return the issues of the checked runs, each once, those that fail first."""
    config = Config.read(store=args.store)
    decisions = decisions_of(folder_of(config.store), config)
    runs = sorted((JudgedRun(item.trace.trace_id, item.trace.spans[0].start, item.verdict) for item in checked), key=_start)
    shown = {occurrence.issue for run in runs for occurrence in run.verdict.issues}
    known = set(decisions.by_issue)
    if shown - known:
        known |= _issues_before(args, runs)
    seen: dict[str, SeenIssue] = {}
    for run in runs:
        for occurrence in run.verdict.issues:
            state = state_in(run, occurrence, decisions)
            decision = decisions.last(occurrence.issue)
            words: str = state
            if decision is not None and state in ("fixed", "relapsed"):
                words = relapse_words(occurrence, decision) if state == "relapsed" else fix_words(decision)
            is_new = occurrence.issue not in known
            found = SeenIssue(occurrence.issue, occurrence.title, "new" if is_new else state, run.trace_id, words)
            if occurrence.issue not in seen or (found.state == "relapsed" != seen[occurrence.issue].state):
                seen[occurrence.issue] = found
    return sorted(seen.values(), key=lambda issue: not issue.fails)


def _start(run: JudgedRun) -> int:
    return run.start


def _issues_before(args: argparse.Namespace, runs: list[JudgedRun]) -> set[str]:
    """Return the issues of the local store's runs that began before the first checked one and are not checked themselves."""
    ids = {run.trace_id for run in runs}
    config = Config.read(store=args.store)
    folder = folder_of(config.store)
    if config.store == "off" or folder is None or not folder.is_dir():
        return set()
    with opened(args) as store:
        if not isinstance(store, LocalStore):
            return set()
        with Progress("reading earlier runs") as progress:
            query = Query(until=runs[0].start)
            before = judged_runs(store, query, on_progress=lambda text: setattr(progress, "text", text))
    return {occurrence.issue for run in before.judged if run.trace_id not in ids for occurrence in run.verdict.issues}


def _show_issues(screen: Screen, seen: list[SeenIssue]) -> None:
    """Print the issues that are new or have relapsed, and how many others there are."""
    screen.line()
    for issue in seen:
        if issue.fails:
            words = issue.words if issue.state == "relapsed" else f"new: {issue.title} ({issue.issue})"
            screen.prose(f"{words}, in trace {short_id(issue.trace_id)}", "red", "bold")
    known = sum(not issue.fails for issue in seen)
    if known:
        ids = ", ".join(issue.issue for issue in seen if not issue.fails)
        screen.prose(f"{format_text.plural(known, 'known issue')}: {ids}", "dim")
    if not any(issue.fails for issue in seen):
        screen.line("No issue is new or has relapsed.", "green")


def _findings(trace: Trace) -> Iterator[tuple[Span, Finding]]:
    """Yield the failures, violations and evaluations of a trace, without those that only repeat another one."""
    requested_faults: set[tuple[object, ...]] = set()
    roots = {span.span_id for span in trace.roots}
    for span in trace.spans:
        refused = span.violations and span.failure is not None and span.failure.type == INVALID_TOOL_CALL
        if span.failure is not None and span.span_id in roots and not refused:
            yield span, span.failure
        for broken in span.violations:
            fault = (broken.call_id, broken.tool, broken.code, broken.pointer)
            if isinstance(span.operation, Inference):
                requested_faults.add(fault)
            elif broken.call_id is not None and fault in requested_faults:
                continue  # the model's call is checked once in its answer and again before it runs
            yield span, broken
        checked = any(evaluation.name == ACCEPTANCE for evaluation in span.evaluations)
        for evaluation in span.evaluations:
            if checked and evaluation.name == OUTCOME and evaluation.source == ACCEPTANCE:
                continue  # repeats the result of the acceptance check for the run
            # a mark is shown as a suspect
            if not evaluation.is_mark and (evaluation.name != INVALID_TOOL_CALL or not span.violations):
                yield span, evaluation


def _severity(finding: Finding) -> str:
    return "error" if isinstance(finding, Failure) else finding.severity


def _as_json(checked: Checked) -> dict[str, object]:
    findings = [
        {
            "kind": type(finding).__name__.lower(),
            "span_id": span.span_id,
            "span": title_of(span),
            "severity": _severity(finding),
        }
        | format_text.as_json(finding)
        for span, finding in checked.findings
    ]
    return {
        "trace_id": checked.trace.trace_id,
        "health": checked.health,
        "findings": findings,
        "suspects": [
            {"title": suspect.title, "confidence": suspect.confidence, "check": suspect.check, "span_id": suspect.span_id}
            for suspect in checked.suspects
        ],
        "judged": checked.judged,
        "not_checked": list(checked.unchecked),
        "not_judged_again": list(checked.unknown),
    }


def _show(screen: Screen, checked: list[Checked], tally: Counter[str], *, judged: bool) -> None:
    for trace, findings, unknown, is_judged, unchecked, health, suspects, _ in checked:
        if not findings and not unknown and not suspects and is_judged:
            continue
        painted = screen.paint(health, format_text.HEALTH_STYLE[health])
        name = short(trace.root.name, screen.width - len("  recovered"))
        fits = cells(f"trace {trace.trace_id}  {name}  {health}") <= screen.width
        screen.line(f"trace {screen.paint(trace.trace_id, 'bold')}{'  ' if fits else chr(10)}{name}  {painted}")
        for suspect in suspects:
            style = format_text.CONFIDENCE_STYLE[suspect.confidence]
            screen.spread(
                Cell(f"{suspect.confidence:8} suspect", (style,)), Cell(f"span {suspect.span_id}", ("dim",)), prefix="  "
            )
            screen.prose(f"{suspect.title}. {suspect.evidence}", prefix=" " * 11)
        for span, finding in findings:
            severity = _severity(finding)
            title, place = f"{severity:8} {title_of(span)}", Cell(f"span {span.span_id}", ("dim",))
            screen.spread(Cell(title, (format_text.SEVERITY_STYLE[severity],)), place, prefix="  ")
            screen.prose(_worded(finding), prefix=" " * 11)
        for _ in unknown:
            screen.prose(
                "Content was cut, redacted or left out, so the findings are those of the run itself.", "dim", prefix="  "
            )
        for sentence in () if is_judged else unchecked:
            screen.prose(f"Not checked: {sentence}", "yellow", prefix="  ")
        screen.line()
    traces = format_text.plural(len(checked), "trace")
    if not judged:
        screen.prose(f"Nothing could be judged in {traces}.", "yellow")
        return
    errors, warnings = format_text.plural(tally["error"], "error"), format_text.plural(tally["warning"], "warning")
    silent = sum(not checked_trace.judged for checked_trace in checked)
    more = f" ({silent:,} of them could not be judged)" if silent else ""
    suspects_text = f"{format_text.plural(tally['suspects'], 'suspect')}, " if tally["suspects"] else ""
    counted = f"{suspects_text}{errors}, {warnings}, {tally['info']:,} info"
    style = format_text.SEVERITY_STYLE["error"] if tally["error"] or tally["suspects"] else "green"
    screen.prose(f"{counted} in {traces}{more}", style)


def _worded(finding: Finding) -> str:
    if isinstance(finding, Failure):
        return format_text.failure(finding)
    return format_text.violation(finding) if isinstance(finding, Violation) else format_text.evaluation(finding)
