"""``llmtrace ls``: list the traces of a store, newest first, with task, answer, findings and first suspect.

Below each trace stand its task and answer, its findings of severity warning and error (``!``), and its first suspect (``?``).
An unknown number is ``-``, never 0.

Health is *failed* if the program reported failure, the outermost span ended in error, or the run was interrupted; *recovered*
if any error occurred on the way; else *ok*. The first 100 listed traces of a local store are diagnosed, if they ended and have
at most 300 spans; the list says which were not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeAlias

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, positive, print_json
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Cell, Screen, short
from llmtrace.diagnosis import Suspect, diagnose, wrap_errors
from llmtrace.errors import DiagnosisFailed, TraceNotFound
from llmtrace.store import Query, Store, TraceSummary
from llmtrace.store.local import LocalStore
from llmtrace.text.unsafe_characters import clean

NAME = "ls"
HELP = "list traces, newest first, with health, findings and first suspect"
EXAMPLE = "llmtrace ls --health failed --since 2h"

_WORST = ("ok", "running", "recovered", "failed")

_SORTS: dict[str, Callable[[TraceSummary], Any]] = {
    "age": lambda trace: trace.start,
    "duration": lambda trace: trace.duration or 0,
    "spans": lambda trace: trace.spans,
    "tokens": lambda trace: format_text.tokens(trace.input_tokens, trace.output_tokens) or 0,
    "cost": lambda trace: trace.cost_usd or 0,
    "findings": lambda trace: len(trace.findings),
    "health": lambda trace: (_WORST.index(trace.health), trace.start),
}


class _NotDiagnosed(NamedTuple):
    """A trace that is too expensive to diagnose for a list, or that shows neither calls nor answers."""

    reason: str
    hint: str = ""
    """The line below the trace; empty where the reason is printed once, below the whole list."""


_Verdict: TypeAlias = Suspect | str | DiagnosisFailed | _NotDiagnosed | None
"""A suspect, or what was reported about a failed run without one."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_MOST_SORTED = 10_000
_MOST_DIAGNOSED, _LONGEST_DIAGNOSED = 100, 300
"""Number of traces that are diagnosed, and spans of the longest one: a screenful, each in milliseconds."""

_MOST_WATCHED = 200
"""Newest traces that ``--watch`` looks at each time."""
_SECONDS, _REMOTE_SECONDS = 0.5, 5.0
"""How long ``--watch`` waits between two looks, into a local and a remote store."""

_NOT_JUDGED = "nothing could be judged"
_WIDE = 68
"""Width of the full table; on a narrower screen, spans, tokens and cost are left out."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--health", choices=["ok", "recovered", "failed", "running"], help="only traces of this health")
    parser.add_argument("--agent", metavar="NAME", help="only traces in which this agent took part")
    parser.add_argument("--since", metavar="WHEN", type=since, help="only newer ones: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--text", metavar="WORDS", help="only traces that contain these words")
    parser.add_argument("--limit", metavar="N", type=positive, default=20, help="at most N traces (default: 20)")
    parser.add_argument("--watch", action="store_true", help="the newest last, and each new one when it ends, until Ctrl-C")
    parser.add_argument(
        "--replays", action="store_true", help="what llmtrace replay and why --prove recorded, which is kept apart"
    )
    parser.add_argument(
        "--sort",
        choices=list(_SORTS),
        default="age",
        help=f"newest or largest first (default: age); the others look at the {_MOST_SORTED:,} newest traces",
    )


def run(args: argparse.Namespace) -> int:
    if args.watch and args.sort != "age":
        raise BadInput("--watch needs --sort age: new runs come last.")
    with opened(args) as store:
        if args.replays:
            store = _replays(store)
        if args.watch:
            _watch(store, args)
        traces = store.traces(_query(args))
        if args.sort != "age":
            traces = sorted(traces, key=_SORTS[args.sort], reverse=True)
        traces, more = traces[: args.limit], len(traces) > args.limit
        if args.json:
            suspects = _suspects(store, traces)
            print_json([_as_json(trace, suspect) for trace, suspect in zip(traces, suspects, strict=True)])
            return FINE
        screen = Screen(sys.stdout)
        if traces:
            _show(screen, store, traces)
        else:
            filtered = bool(args.health or args.agent or args.since or args.text)
            screen.line("No trace matches these filters." if filtered else "No traces yet. Try: llmtrace demo")
        if more:
            screen.line(screen.paint(f"more with --limit {2 * args.limit}", "dim"))
    return FINE


def _watch(store: Store, args: argparse.Namespace) -> NoReturn:
    """Print the newest traces, the newest last, and then each new one when it ended, until Ctrl-C."""
    screen, above = Screen(sys.stdout), list[TraceSummary]()
    query = replace(_query(args), limit=max(args.limit, _MOST_WATCHED))
    window = store.traces(query)
    fresh = window[: args.limit]
    if not fresh and not args.json:
        screen.line(screen.paint("no traces yet; waiting. Press Ctrl-C to stop", "dim"))
    while True:
        fresh.reverse()
        if args.json:
            for trace, suspect in zip(fresh, _suspects(store, fresh), strict=True):
                screen.line(json.dumps(_as_json(trace, suspect)))
        elif fresh:
            _show(screen, store, fresh, above)
            above = [*above, *fresh][-args.limit :]
        screen.stream.flush()
        complete = {trace.trace_id for trace in window if _is_complete(trace, args)}
        time.sleep(_REMOTE_SECONDS if store.is_remote else _SECONDS)
        window = store.traces(query)
        fresh = [trace for trace in window if trace.trace_id not in complete and _is_complete(trace, args)]


def _is_complete(trace: TraceSummary, args: argparse.Namespace) -> bool:
    """True if a new trace is due to be printed: it ended, unless running ones are asked for."""
    return trace.health != "running" or args.health == "running"


def _replays(store: Store) -> Store:
    replays = store.replays if isinstance(store, LocalStore) else None
    if replays is None:
        raise BadInput("this store holds no replays.\nllmtrace replay and llmtrace why --prove make them.")
    return replays


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
    """The first suspect of each trace, or why it was not diagnosed, computed when its line is printed.

    None without a suspect, and for a trace that is still running.
    """
    for number, summary in enumerate(traces):
        try:
            if summary.health == "running":
                yield None
            elif store.is_remote:
                yield _NotDiagnosed("traces of a remote store are not diagnosed in a list")
            elif summary.spans > _LONGEST_DIAGNOSED:
                reason = f"traces of more than {_LONGEST_DIAGNOSED} spans are not diagnosed in a list"
                yield _NotDiagnosed(reason, "too long to diagnose here")
            elif number >= _MOST_DIAGNOSED:
                yield _NotDiagnosed(f"only the first {_MOST_DIAGNOSED} traces of a list are diagnosed")
            else:
                yield _prime(store, summary.trace_id)
        except TraceNotFound:  # it was removed meanwhile
            yield None


def _prime(store: Store, trace_id: str) -> _Verdict:
    try:
        with wrap_errors(trace_id):
            diagnosis = diagnose(store.trace(trace_id))
            if not diagnosis.is_judged and not diagnosis.is_wrong:
                return _NotDiagnosed(_NOT_JUDGED, _NOT_JUDGED)
            return diagnosis.prime or (next(iter(diagnosis.reports), None) if diagnosis.failed else None)
    except DiagnosisFailed as failed:
        return failed


def _as_json(trace: TraceSummary, verdict: _Verdict) -> Any:
    if isinstance(verdict, DiagnosisFailed):
        return {**format_text.as_json(trace), "suspect": None, "undiagnosed": verdict.fault}
    if isinstance(verdict, _NotDiagnosed):
        return {**format_text.as_json(trace), "suspect": None, "undiagnosed": verdict.reason}
    names = ("check", "span_id", "title", "confidence", "probability", "count")
    suspect = {name: getattr(verdict, name) for name in names} if isinstance(verdict, Suspect) else None
    return {**format_text.as_json(trace), "suspect": suspect, "undiagnosed": None}


def _show(screen: Screen, store: Store, traces: list[TraceSummary], above: Sequence[TraceSummary] = ()) -> None:
    """Print traces as a table. ``above``: those of the same table that were printed before, with its header."""
    now = time.time_ns()
    titles = ["TRACE", "AGE", "HEALTH", "TIME", "SPANS", "TOKENS", "COST", "NAME"]
    rows = [_row(trace, now) for trace in (*above, *traces)]
    if screen.width < _WIDE:
        titles, rows = [*titles[:4], titles[-1]], [[*row[:4], row[-1]] for row in rows]
    header, *lines = screen.table(titles, rows, right=(1, 3, 4, 5, 6) if screen.width >= _WIDE else (1, 3))
    if not above:
        screen.line(header)
    reasons: dict[str, None] = {}
    for trace, line, verdict in zip(traces, lines[len(above) :], _suspects(store, traces), strict=True):
        screen.line(line)
        room = screen.width - 10
        conversation = _conversation(trace, room)
        if conversation:
            screen.line(" " * 10 + screen.paint(conversation, "dim"))
        if trace.replay_of:
            screen.line(" " * 10 + screen.paint(format_text.replay(store.trace(trace.trace_id)), "dim"))
        if trace.findings:
            screen.line(" " * 10 + screen.paint(short("! " + format_text.findings(trace.findings), room), "yellow"))
        _show_verdict(screen, trace, verdict)
        if isinstance(verdict, _NotDiagnosed) and not verdict.hint:
            reasons[verdict.reason] = None
    for reason in reasons:
        screen.prose(f"{reason[:1].upper()}{reason[1:]}. See llmtrace why", "dim")


def _show_verdict(screen: Screen, trace: TraceSummary, verdict: _Verdict) -> None:
    indent, room, trace_id = " " * 10, screen.width - 10, trace.trace_id[:8]
    if isinstance(verdict, DiagnosisFailed):
        report = f"See llmtrace why {trace_id} for how to report it"
        screen.prose(f"? not diagnosed because of a bug in llmtrace: {verdict.fault}. {report}", "dim", prefix=indent)
    elif isinstance(verdict, _NotDiagnosed):
        if verdict.hint:
            screen.prose(f"? {verdict.hint}. See llmtrace why {trace_id}", "dim", prefix=indent)
    elif isinstance(verdict, str):
        screen.line(indent + screen.paint(short(f"! {clean(verdict)}", room), "red"))
    elif verdict is not None:
        times = "" if verdict.count == 1 else f", {format_text.plural(verdict.count, 'time')}"
        confidence = f" ({format_text.confidence(verdict)}{times})"
        title = short(f"? {clean(verdict.title)}", room - len(confidence)) + confidence
        screen.line(indent + screen.paint(title, format_text.CONFIDENCE_STYLE[verdict.confidence]))


def _row(trace: TraceSummary, now: int) -> list[Cell]:
    total = format_text.tokens(trace.input_tokens, trace.output_tokens)
    return [
        Cell(trace.trace_id[:8], ("bold",)),
        Cell(format_text.age(trace.start, now)),
        Cell(trace.health, (format_text.HEALTH_STYLE[trace.health],)),
        Cell(format_text.duration(trace.duration)),
        Cell(format_text.count(trace.spans)),
        Cell(format_text.count(total)),
        Cell(format_text.cost(trace.cost_usd)),
        Cell(clean(", ".join(trace.agents) or trace.name.removeprefix("invoke_workflow "))),
    ]


def _conversation(trace: TraceSummary, width: int) -> str:
    """The task → the answer, each shortened to half the line."""
    if not trace.task and not trace.answer:
        return ""
    half = (width - 3) // 2
    answer = short(trace.answer, half) if trace.answer else format_text.UNKNOWN
    return f"{short(trace.task or format_text.UNKNOWN, half)} → {answer}"
