"""``llmtrace ls``: the traces of a store, newest first: each with its facts, its task and answer, its findings and
its first suspect."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from llmtrace.cli import words
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.paint import Cell, Screen, clean, short
from llmtrace.cli.stores import opened
from llmtrace.diagnosis import Suspect, diagnose, wrap_errors
from llmtrace.errors import DiagnosisFailed, TraceNotFound
from llmtrace.store import Query, Store, TraceSummary

NAME = "ls"
HELP = "list traces, newest first, with health, findings and first suspect"
EXAMPLE = "llmtrace ls --health failed --since 2h"

_WORST = ("ok", "running", "recovered", "failed")

_SORTS: dict[str, Callable[[TraceSummary], Any]] = {
    "age": lambda trace: trace.start,
    "duration": lambda trace: trace.duration or 0,
    "spans": lambda trace: trace.spans,
    "tokens": lambda trace: words.tokens(trace.input_tokens, trace.output_tokens) or 0,
    "cost": lambda trace: trace.cost_usd or 0,
    "findings": lambda trace: len(trace.findings),
    "health": lambda trace: (_WORST.index(trace.health), trace.start),
}


_Verdict: TypeAlias = Suspect | str | DiagnosisFailed | None
"""A suspect, or what was reported about a failed run without one."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_MOST_SORTED = 10_000
_MOST_DIAGNOSED, _LONGEST_DIAGNOSED = 100, 300
"""Traces, and spans of one, that are diagnosed: all that a screen holds, each in milliseconds."""

_WIDE = 68
"""Columns that the whole table needs; with fewer, spans, tokens and cost are left to `show`."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--health", choices=["ok", "recovered", "failed", "running"], help="only traces of this health")
    parser.add_argument("--agent", metavar="NAME", help="only traces in which this agent took part")
    parser.add_argument("--since", metavar="WHEN", type=since, help="only newer ones: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--text", metavar="WORDS", help="only traces that hold these words")
    parser.add_argument("--limit", metavar="N", type=positive, default=20, help="at most N traces (default: 20)")
    parser.add_argument(
        "--sort",
        choices=list(_SORTS),
        default="age",
        help=f"newest or largest first (default: age); the others look at the {_MOST_SORTED:,} newest traces",
    )


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        traces = store.traces(_query(args))
        if args.sort != "age":
            traces = sorted(traces, key=_SORTS[args.sort], reverse=True)
        traces, more = traces[: args.limit], len(traces) > args.limit
        suspects = _suspects(store, traces)
        if args.json:
            print_json([_as_json(trace, suspect) for trace, suspect in zip(traces, suspects, strict=True)])
        else:
            filtered = bool(args.health or args.agent or args.since or args.text)
            screen = Screen(sys.stdout)
            _show(screen, traces, suspects, filtered=filtered)
            if more:
                screen.line(screen.paint(f"more with --limit {2 * args.limit}", "dim"))
    return FINE


def since(text: str) -> int:
    """An argparse type: a span of time before now, or a date, as nanoseconds since the Unix epoch."""
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _UNITS and float(number) >= 0:
            return time.time_ns() - int(float(number) * _UNITS[unit] * 1e9)
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a time such as 30m, 2h, 7d or 2026-01-31, got {text!r}") from None


def _query(args: argparse.Namespace) -> Query:
    limit = args.limit + 1 if args.sort == "age" else max(args.limit + 1, _MOST_SORTED)
    return Query(limit=limit, since=args.since, health=args.health, agent=args.agent, text=args.text)


def _suspects(store: Store, traces: Iterable[TraceSummary]) -> Iterator[_Verdict]:
    """For each trace its first marked suspect, or why it cannot be diagnosed; worked out when the line is shown.

    None if the trace has no such suspect, and for traces that are not diagnosed here: running ones, long ones, those far down
    the list, and those of a store that would have to send them once more.
    """
    most = 0 if store.is_remote else _MOST_DIAGNOSED
    for number, summary in enumerate(traces):
        try:
            is_short = number < most and summary.spans <= _LONGEST_DIAGNOSED and summary.health != "running"
            yield _prime(store, summary.trace_id) if is_short else None
        except TraceNotFound:  # it was removed in the meantime
            yield None


def _prime(store: Store, trace_id: str) -> _Verdict:
    try:
        with wrap_errors(trace_id):
            found = diagnose(store.trace(trace_id))
            return found.prime or (next(iter(found.reports), None) if found.failed else None)
    except DiagnosisFailed as failed:
        return failed


def _as_json(trace: TraceSummary, verdict: _Verdict) -> Any:
    if isinstance(verdict, DiagnosisFailed):
        return {**words.as_json(trace), "suspect": None, "undiagnosed": verdict.fault}
    names = ("check", "span_id", "title", "confidence", "probability", "count")
    suspect = {name: getattr(verdict, name) for name in names} if isinstance(verdict, Suspect) else None
    return {**words.as_json(trace), "suspect": suspect, "undiagnosed": None}


def _show(screen: Screen, traces: list[TraceSummary], suspects: Iterable[_Verdict], *, filtered: bool) -> None:
    if not traces:
        screen.line("No trace is like that." if filtered else "No traces yet. Try: llmtrace demo")
        return
    now = time.time_ns()
    titles = ["TRACE", "AGE", "HEALTH", "TIME", "SPANS", "TOKENS", "COST", "NAME"]
    rows = [_row(trace, now) for trace in traces]
    if screen.width < _WIDE:
        titles, rows = [*titles[:4], titles[-1]], [[*row[:4], row[-1]] for row in rows]
    lines = iter(screen.table(titles, rows, right=(1, 3, 4, 5, 6) if screen.width >= _WIDE else (1, 3)))
    screen.line(next(lines))
    for trace, line, verdict in zip(traces, lines, suspects, strict=True):
        screen.line(line)
        room = screen.width - 10
        conversation = _conversation(trace, room)
        if conversation:
            screen.line(" " * 10 + screen.paint(conversation, "dim"))
        if trace.findings:
            screen.line(" " * 10 + screen.paint(short("! " + words.findings(trace.findings), room), "yellow"))
        if isinstance(verdict, DiagnosisFailed):
            report = f"llmtrace why {trace.trace_id[:8]} says how to report it"
            screen.prose(f"? not diagnosed, by a fault of llmtrace: {verdict.fault}; {report}", "dim", prefix=" " * 10)
        elif isinstance(verdict, str):
            screen.line(" " * 10 + screen.paint(short(f"! {clean(verdict)}", room), "red"))
        elif verdict is not None:
            times = "" if verdict.count == 1 else f", {words.plural(verdict.count, 'time')}"
            confidence = f" ({words.confidence(verdict)}{times})"
            title = short(f"? {clean(verdict.title)}", room - len(confidence)) + confidence
            screen.line(" " * 10 + screen.paint(title, words.CONFIDENCE_STYLE[verdict.confidence]))


def _row(trace: TraceSummary, now: int) -> list[Cell]:
    total = words.tokens(trace.input_tokens, trace.output_tokens)
    return [
        Cell(trace.trace_id[:8], ("bold",)),
        Cell(words.age(trace.start, now)),
        Cell(trace.health, (words.HEALTH_STYLE[trace.health],)),
        Cell(words.duration(trace.duration)),
        Cell(words.count(trace.spans)),
        Cell(words.count(total)),
        Cell(words.cost(trace.cost_usd)),
        Cell(clean(", ".join(trace.agents) or trace.name.removeprefix("invoke_workflow "))),
    ]


def _conversation(trace: TraceSummary, width: int) -> str:
    """What was asked → what was answered, both shortened to half the line."""
    if not trace.task and not trace.answer:
        return ""
    half = (width - 3) // 2
    answer = short(trace.answer, half) if trace.answer else words.UNKNOWN
    return f"{short(trace.task or words.UNKNOWN, half)} → {answer}"
