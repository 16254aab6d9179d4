"""``llmtrace ls``: the traces of a store, newest first: each with its facts, what was asked and answered, what was found, and
where it may have gone wrong."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from llmtrace.cli import words
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.paint import Cell, Screen, clean, short
from llmtrace.cli.stores import opened
from llmtrace.diagnosis import LIKELY, Suspect, diagnose, diagnosing, listed
from llmtrace.errors import DiagnosisFailed, TraceNotFound
from llmtrace.store import Query, Store, TraceSummary, is_elsewhere

NAME = "ls"
HELP = "list traces, newest first, with their health, findings and suspect"
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


class _Prime(NamedTuple):
    suspect: Suspect
    title: str
    """What the list says of it."""


_Told: TypeAlias = _Prime | DiagnosisFailed | None

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
        found = store.traces(_query(args))
        if args.sort != "age":
            found = sorted(found, key=_SORTS[args.sort], reverse=True)
        found, more = found[: args.limit], len(found) > args.limit
        suspects = _suspects(store, found)
        if args.json:
            print_json([_as_json(trace, suspect) for trace, suspect in zip(found, suspects, strict=True)])
        else:
            filtered = bool(args.health or args.agent or args.since or args.text)
            screen = Screen(sys.stdout)
            _show(screen, found, suspects, filtered=filtered)
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


def _suspects(store: Store, found: Iterable[TraceSummary]) -> Iterator[_Told]:
    """Of each trace the prime suspect, worked out when it is asked for, or why it cannot be; None where there is none, the
    trace still goes on, is long, comes late in the list, or would have to be fetched once more."""
    most = 0 if is_elsewhere(store) else _MOST_DIAGNOSED
    for number, summary in enumerate(found):
        try:
            looked_at = number < most and summary.spans <= _LONGEST_DIAGNOSED and summary.health != "running"
            yield _prime(store, summary.trace_id) if looked_at else None
        except TraceNotFound:  # it was removed in the meantime
            yield None


def _prime(store: Store, trace_id: str) -> _Told:
    try:
        with diagnosing(trace_id):
            trace = store.trace(trace_id)
            found = diagnose(trace)
            return None if found.prime is None else _Prime(found.prime, listed(trace, found))
    except DiagnosisFailed as failed:
        return failed


def _as_json(trace: TraceSummary, told: _Told) -> Any:
    if isinstance(told, DiagnosisFailed):
        return {**words.as_json(trace), "suspect": None, "undiagnosed": told.fault}
    prime = told.suspect if told is not None else None
    named = None if prime is None else {"span_id": prime.span_id, "title": prime.title, "score": prime.score}
    return {**words.as_json(trace), "suspect": named, "undiagnosed": None}


def _show(screen: Screen, found: list[TraceSummary], suspects: Iterable[_Told], *, filtered: bool) -> None:
    if not found:
        screen.line("No trace is like that." if filtered else "No traces yet. Try: llmtrace demo")
        return
    now = time.time_ns()
    titles = ["TRACE", "AGE", "HEALTH", "TIME", "SPANS", "TOKENS", "COST", "NAME"]
    rows = [_row(trace, now) for trace in found]
    if screen.width < _WIDE:
        titles, rows = [*titles[:4], titles[-1]], [[*row[:4], row[-1]] for row in rows]
    lines = iter(screen.table(titles, rows, right=(1, 3, 4, 5, 6) if screen.width >= _WIDE else (1, 3)))
    screen.line(next(lines))
    for trace, line, told in zip(found, lines, suspects, strict=True):
        screen.line(line)
        room = screen.width - 10
        conversation = _conversation(trace, room)
        if conversation:
            screen.line(" " * 10 + screen.paint(conversation, "dim"))
        if trace.findings:
            screen.line(" " * 10 + screen.paint(short("! " + words.findings(trace.findings), room), "yellow"))
        if isinstance(told, DiagnosisFailed):
            report = f"llmtrace why {trace.trace_id[:8]} says how to report it"
            screen.prose(f"? not diagnosed, by a fault of llmtrace: {told.fault}; {report}", "dim", prefix=" " * 10)
        elif told is not None:
            score = told.suspect.score
            probability = f" ({words.probability(score)})" if told.title == told.suspect.title else ""  # else it names no place
            title = short(f"? {clean(told.title)}", room - len(probability)) + probability
            screen.line(" " * 10 + screen.paint(title, "red" if score >= LIKELY else "dim"))


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
