"""``llmtrace check``: judge stored traces again; the exit code says whether something was wrong, or nothing could be judged."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from llmtrace.cli import words
from llmtrace.cli.importing import add_import, import_all
from llmtrace.cli.lines import BadLine, read
from llmtrace.cli.options import FINE, FOUND, NOT_JUDGED, BadInput, print_json
from llmtrace.cli.paint import Cell, Screen, cells, short
from llmtrace.cli.show import title_of
from llmtrace.cli.stores import opened, trace_of
from llmtrace.diagnosis import diagnose
from llmtrace.errors import DiagnosisFailed
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.model import (
    ACCEPTANCE,
    INVALID_TOOL_CALL,
    OUTCOME,
    Evaluation,
    Failure,
    Inference,
    Span,
    Trace,
    Violation,
)

NAME = "check"
HELP = "judge traces or OTLP files again; exit code 1 if there are errors"
EXAMPLE = "llmtrace check traces.jsonl --strict"


Finding: TypeAlias = Violation | Evaluation | Failure


class Checked(NamedTuple):
    trace: Trace
    findings: list[tuple[Span, Finding]]
    unknown: tuple[str, ...]
    """Runs whose content is not whole: their stored verdicts stand."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="*", metavar="TRACE|FILE", help="trace id, last, a file of OTLP JSON, or - (default: last)"
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    add_import(parser)


def run(args: argparse.Namespace) -> int:
    import_all(args.imports)
    evaluator = Evaluator()
    checked = [_check(trace, evaluator) for trace in _traces(args)]
    tally: Counter[str] = Counter(_severity(found) for one in checked for _, found in one.findings)
    found = bool(tally["error"] or (args.strict and tally["warning"]))
    judged = found or any(_can_be_judged(one.trace) for one in checked)
    if args.json:
        print_json(
            {
                "errors": tally["error"],
                "warnings": tally["warning"],
                "info": tally["info"],
                "judged": judged,
                "traces": [_as_json(one) for one in checked],
            }
        )
    else:
        _show(Screen(sys.stdout), checked, tally, judged=judged)
    return FOUND if found else FINE if judged else NOT_JUDGED


def _traces(args: argparse.Namespace) -> Iterator[Trace]:
    for what in args.what or ["last"]:
        if what == "-" or what.endswith((".jsonl", ".json")) or Path(what).is_file():
            yield from traces_of(what)
        else:
            with opened(args) as store:
                yield trace_of(store, what)


def traces_of(path: str) -> list[Trace]:
    """The traces in a file. Raises BadInput where a line cannot be read: a check must not pass over half a file."""
    spans: dict[str, dict[str, Span]] = {}
    for item in read(path):
        if isinstance(item, BadLine):
            raise BadInput(f"{path}, {item.where}: {item.reason}.")
        known = spans.setdefault(item.trace_id, {}).get(item.span_id)
        if known is None or known.end is None:  # a start mark gives way to the ended span
            spans[item.trace_id][item.span_id] = item
    return [Trace(list(of_trace.values())) for of_trace in spans.values()]


def _check(trace: Trace, evaluator: Evaluator) -> Checked:
    judged, unknown = evaluate_trace(trace, evaluator)
    return Checked(judged, list(_findings(judged)), unknown)


def _can_be_judged(trace: Trace) -> bool:
    """True if the trace shows calls or answers."""
    try:
        return diagnose(trace).is_judged
    except DiagnosisFailed:  # `why` reports it
        return True


def _findings(trace: Trace) -> Iterator[tuple[Span, Finding]]:
    """The failure, the violations, and the evaluations that do not only repeat these. Each fault of a call comes once."""
    asked: set[tuple[object, ...]] = set()
    roots = {span.span_id for span in trace.roots}
    for span in trace.spans:
        refused = span.violations and span.failure is not None and span.failure.type == INVALID_TOOL_CALL
        if span.failure is not None and span.span_id in roots and not refused:
            yield span, span.failure
        for broken in span.violations:
            fault = (broken.call_id, broken.tool, broken.code, broken.pointer)
            if isinstance(span.operation, Inference):
                asked.add(fault)
            elif broken.call_id is not None and fault in asked:
                continue  # the same call, checked again before it runs
            yield span, broken
        checked = any(found.name == ACCEPTANCE for found in span.evaluations)
        for found in span.evaluations:
            if checked and found.name == OUTCOME and found.source == ACCEPTANCE:
                continue  # the verdict of the acceptance check, repeated for the run
            if found.name != INVALID_TOOL_CALL or not span.violations:
                yield span, found


def _severity(found: Finding) -> str:
    return "error" if isinstance(found, Failure) else found.severity


def _as_json(checked: Checked) -> dict[str, object]:
    findings = [
        {"kind": type(found).__name__.lower(), "span_id": span.span_id, "span": title_of(span), "severity": _severity(found)}
        | words.as_json(found)
        for span, found in checked.findings
    ]
    return {
        "trace_id": checked.trace.trace_id,
        "health": checked.trace.health,
        "findings": findings,
        "not_judged_again": list(checked.unknown),
    }


def _show(screen: Screen, checked: list[Checked], tally: Counter[str], *, judged: bool) -> None:
    for trace, findings, unknown in checked:
        if not findings and not unknown:
            continue
        health = screen.paint(trace.health, words.HEALTH_STYLE[trace.health])
        name = short(trace.root.name, screen.width - len("  recovered"))
        fits = cells(f"trace {trace.trace_id}  {name}  {trace.health}") <= screen.width
        screen.line(f"trace {screen.paint(trace.trace_id, 'bold')}{'  ' if fits else chr(10)}{name}  {health}")
        for span, found in findings:
            _finding(screen, span, found)
        for _ in unknown:
            screen.prose("content was cut, redacted or left out: what was found when it ran stands", "dim", prefix="  ")
        screen.line()
    traces = words.plural(len(checked), "trace")
    if not judged:
        screen.prose(f"Nothing could be judged in {traces}. llmtrace why says what was not visible.", "yellow")
        return
    counted = f"{words.plural(tally['error'], 'error')}, {words.plural(tally['warning'], 'warning')}, {tally['info']:,} info"
    style = words.SEVERITY_STYLE["error"] if tally["error"] else "green"
    screen.line(screen.paint(f"{counted} in {traces}", style))


def _finding(screen: Screen, span: Span, found: Finding) -> None:
    severity = _severity(found)
    style = words.SEVERITY_STYLE[severity]
    screen.spread(Cell(f"{severity:8} {title_of(span)}", (style,)), Cell(f"span {span.span_id}", ("dim",)), prefix="  ")
    screen.prose(_worded(found), prefix=" " * 11)


def _worded(found: Finding) -> str:
    if isinstance(found, Failure):
        return words.failure(found)
    return words.violation(found) if isinstance(found, Violation) else words.evaluation(found)
