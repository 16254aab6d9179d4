"""``llmtrace ls``: list the traces of a store, newest first, with task, answer, findings and first suspect.

Below each trace stand its task and answer, its findings of severity warning and error (``!``), an issue that was fixed and that
it shows again (``! relapsed``), and its first suspect (``?``).
An unknown number is ``-``, never 0.

Health is *failed* if the program reported failure, the outermost span ended in error, or the run was interrupted; else
*suspect* if a certain or likely suspect marks the run; else *recovered* if any error occurred on the way; else *ok*. It is
``-`` until the verdict is known, if it depends on that. A run whose review nobody has decided says *waits*.

Every ended run of a local store is judged, however long it is, and its verdict is stored. On a terminal, the list comes after
at most 1.5 seconds, and the verdicts of runs that take longer follow below it. Ctrl-C leaves them to the next call. Into a file
or a pipe, the list waits for all of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from llmtrace import listing
from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, json_text, positive, print_json
from llmtrace.cli.stores import nothing_found, opened
from llmtrace.cli.terminal import Cell, Progress, Screen, Style, short
from llmtrace.config import Config
from llmtrace.issues import Decisions, decisions_of, relapses_in, state_in
from llmtrace.issues.words import relapse_words
from llmtrace.list_verdicts import PENDING, JudgedRun, Verdict, Verdicts
from llmtrace.listing import Session
from llmtrace.model.traces import short_id
from llmtrace.store import Query, Store, TraceSummary, filters
from llmtrace.store.local import LocalStore
from llmtrace.text.unsafe_characters import clean

if TYPE_CHECKING:
    from llmtrace.reading.record_reach import Reached

NAME = "ls"
HELP = "list traces, newest first, with health, findings and first suspect"
EXAMPLE = "llmtrace ls --health failed --since 2h"

TERMINAL_SECONDS = 1.5
"""Seconds that the list waits for verdicts on a terminal."""
_STEP = 0.25
"""Seconds between two changes of the progress line."""
_MOST_WATCHED = 200
"""Number of newest traces that ``--watch`` reads each time."""
_SECONDS, _REMOTE_SECONDS = 0.5, 5.0
"""Seconds between two reads by ``--watch``, of a local and a remote store."""
_WIDE = 68
"""Smallest screen width for the full table. On a narrower screen, spans, tokens and cost are left out."""


def configure(parser: argparse.ArgumentParser) -> None:
    for filter_ in filters.FILTERS:
        parser.add_argument(
            f"--{filter_.name.replace('_', '-')}",
            metavar=None if filter_.choices else filter_.metavar,
            choices=filter_.choices or None,
            type=_argument(filter_.parse),
            help=f"only traces {filter_.help}",
        )
    parser.add_argument("--text", metavar="WORDS", help="only traces that contain these words")
    parser.add_argument("--limit", metavar="N", type=positive, default=20, help="at most N traces (default: 20)")
    parser.add_argument("--watch", action="store_true", help="the newest last, and each new one when it ends, until Ctrl-C")
    parser.add_argument("--sessions", action="store_true", help="conversations with their turns; N counts conversations")
    parser.add_argument(
        "--replays", action="store_true", help="what llmtrace replay and why --prove recorded, which is kept apart"
    )
    parser.add_argument(
        "--sort", choices=list(filters.SORTS), default="age", help="newest or largest first, or worst health (default: age)"
    )
    parser.add_argument("--reverse", action="store_true", help="the other way round")


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def argument(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return argument


since = _argument(filters.moment)
"""An argparse type. It reads a period before now, or a date, as nanoseconds since the Unix epoch."""


def run(args: argparse.Namespace) -> int:
    if args.watch and (args.sort != "age" or args.reverse or args.sessions):
        raise BadInput("--watch needs --sort age: new runs come last.")
    with opened(args) as store:
        if args.replays:
            replays = store.replays if isinstance(store, LocalStore) else None
            if replays is None:
                raise BadInput("this store holds no replays.\nllmtrace replay and llmtrace why --prove make them.")
            store = replays
        if args.watch:
            _watch(store, args)
        (_list_sessions if args.sessions else _list_traces)(Screen(sys.stdout), store, args)
    return FINE


def _list_sessions(screen: Screen, store: Store, args: argparse.Namespace) -> None:
    query, verdicts = _query(args), Verdicts(store)
    # a filter by verdicts waits for all of them: a conversation may match because of any of its turns
    is_quick = screen.is_terminal and not args.json and not listing.needs_verdicts(query)
    with Progress("judging runs"):
        sessions, _ = listing.sessions(store, query, verdicts, seconds=TERMINAL_SECONDS if is_quick else float("inf"))
    waiting = listing.waiting(store)
    if args.json:
        print_json([_session_as_json(session, waiting) for session in sessions[: args.limit]])
        return
    _show_sessions(screen, sessions[: args.limit], waiting)
    _say_more(screen, len(sessions), args)
    turns = {turn.trace_id: turn for session in sessions[: args.limit] for turn in session.turns}
    pending = {trace_id for session in sessions[: args.limit] for trace_id in session.pending}
    _show_late(screen, store, verdicts, [turn for trace_id, turn in turns.items() if trace_id in pending])


def _list_traces(screen: Screen, store: Store, args: argparse.Namespace) -> None:
    verdicts = Verdicts(store)
    matching = _find(store, _query(args), verdicts)
    traces = matching[: args.limit]
    judged = _judge(verdicts, traces, TERMINAL_SECONDS if screen.is_terminal and not args.json else float("inf"))
    if args.json:
        print_json(list(_as_json(store, traces, judged, args.used_record)))
        return
    if traces:
        _show(screen, store, traces, judged, record_id=args.used_record)
    else:
        screen.line(nothing_found(store, args, filtered=bool(args.text) or any(filters.active(_query(args)))))
    _say_more(screen, len(matching), args)
    _show_late(screen, store, verdicts, [trace for trace, verdict in zip(traces, judged, strict=True) if verdict is PENDING])


def _say_more(screen: Screen, count: int, args: argparse.Namespace) -> None:
    """Print how to see more, if more than the limit match. ``count``: of matches, at most one more than the limit."""
    if count > args.limit:
        screen.line(f"more with --limit {2 * args.limit}", "dim")


def _find(store: Store, query: Query, verdicts: Verdicts) -> list[TraceSummary]:
    """Return the traces that match ``query``. If that depends on verdicts, every run that could match is judged first."""
    with Progress("judging runs") as progress:
        while True:
            traces, pending = listing.find(store, query, verdicts, seconds=_STEP)
            if not pending:
                return traces
            progress.text = f"judging {format_text.plural(pending, 'run')}"


def _judge(verdicts: Verdicts, traces: Sequence[TraceSummary], seconds: float) -> list[Verdict]:
    """Return the verdict of each trace; `PENDING` for those that take longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    with Progress("judging runs") as progress:
        while True:
            judged = verdicts.get(traces, seconds=min(_STEP, max(0.0, deadline - time.monotonic())))
            pending = [trace for trace, verdict in zip(traces, judged, strict=True) if verdict is PENDING]
            if not pending or time.monotonic() >= deadline:
                return judged
            progress.text = f"judging {_runs(pending)}"


def _runs(traces: Sequence[TraceSummary]) -> str:
    """Return the number of the runs and the size of the longest, as words."""
    spans = format_text.plural(max(trace.spans for trace in traces), "span")
    return f"1 run of {spans}" if len(traces) == 1 else f"{len(traces)} runs of up to {spans}"


def _show_late(screen: Screen, store: Store, verdicts: Verdicts, traces: Sequence[TraceSummary]) -> None:
    """Wait for the verdicts of these traces, and print each, with the trace's health, as soon as it is known."""
    if not traces:
        return
    screen.prose(f"Still judging {_runs(traces)}. Ctrl-C leaves the rest to the next ls.", "dim")
    screen.stream.flush()
    waiting, decisions = list(traces), decisions_of(store.folder, Config.read())
    with suppress(KeyboardInterrupt):
        while waiting:
            with Progress(f"judging {_runs(waiting)}"):
                while (judged := verdicts.get(waiting, seconds=_STEP)).count(PENDING) == len(waiting):
                    pass
            for trace, verdict in zip(listing.with_health(waiting, judged), judged, strict=True):
                if verdict is not PENDING:
                    health = screen.paint(trace.health, format_text.HEALTH_STYLE[trace.health])
                    screen.line(f"{screen.paint(short_id(trace.trace_id), 'bold')}  {health}")
                    _show_verdict(screen, trace, verdict, decisions)
            screen.stream.flush()
            waiting = [trace for trace, verdict in zip(waiting, judged, strict=True) if verdict is PENDING]


def _query(args: argparse.Namespace) -> Query:
    values = {filter_.name: getattr(args, filter_.name) for filter_ in filters.FILTERS}
    return Query(limit=args.limit + 1, text=args.text, sort=args.sort, reverse=args.reverse, **values)


def _watch(store: Store, args: argparse.Namespace) -> NoReturn:
    """Print the newest traces, the newest last, then each new trace when it has ended, until Ctrl-C."""
    screen, above, verdicts = Screen(sys.stdout), list[TraceSummary](), Verdicts(store)
    query = replace(_query(args), limit=max(args.limit, _MOST_WATCHED))
    window = _find(store, query, verdicts)
    fresh = window[: args.limit]
    if not fresh and not args.json:
        screen.line("no traces yet; waiting. Press Ctrl-C to stop", "dim")
    while True:
        fresh.reverse()
        if args.json:
            for content in _as_json(store, fresh, verdicts.get(fresh), args.used_record):
                screen.line(json_text(content))
        elif fresh:
            judged = verdicts.get(fresh)
            _show(screen, store, fresh, judged, above, record_id=args.used_record)
            above = [*above, *listing.with_health(fresh, judged)][-args.limit :]
        screen.stream.flush()
        complete = {trace.trace_id for trace in window if _is_complete(trace, args)}
        time.sleep(_REMOTE_SECONDS if store.is_remote else _SECONDS)
        window = _find(store, query, verdicts)
        fresh = [trace for trace in window if trace.trace_id not in complete and _is_complete(trace, args)]


def _is_complete(trace: TraceSummary, args: argparse.Namespace) -> bool:
    """Return True if ``--watch`` may print a trace: it has ended, or the user asked for running ones."""
    return trace.health != "running" or args.health == "running"


def _reach(store: Store, trace: TraceSummary, record_id: str | None) -> Reached | None:
    """Return how far the record of ``--used-record`` came in a trace; None without that filter."""
    if record_id is None:
        return None
    from llmtrace.reading.record_reach import reached  # loads the lineage

    return reached(store.trace(trace.trace_id), record_id)


def _reach_text(found: Reached) -> str:
    record = found.record
    version = f", version {record.version}" if record.version else ""
    digest = f", content {record.digest}" if record.digest else ""
    return f"record {record.id}{version}{digest}: {found.reach} (span {found.span_id})"


def _as_json(
    store: Store, traces: Sequence[TraceSummary], verdicts: Sequence[Verdict], record_id: str | None
) -> Iterator[dict[str, Any]]:
    waiting, decisions = listing.waiting(store), decisions_of(store.folder, Config.read())
    of_suspect = ("check", "span_id", "title", "confidence", "probability", "count")
    of_record = ("id", "version", "digest")
    for trace, verdict in zip(listing.with_health(traces, verdicts), verdicts, strict=True):
        suspect = {name: getattr(verdict, name) for name in of_suspect} if verdict.title else None
        undiagnosed = verdict.fault or verdict.undiagnosed or None
        run = JudgedRun(trace.trace_id, trace.start, verdict)
        issues = [{"issue": issue.issue, "state": state_in(run, issue, decisions)} for issue in verdict.issues]
        content = {**_trace_as_json(trace, waiting), "suspect": suspect, "issues": issues, "undiagnosed": undiagnosed}
        found = _reach(store, trace, record_id)
        if found is not None:
            record = {name: getattr(found.record, name) for name in of_record}
            content["record"] = {**record, "reach": found.reach, "span_id": found.span_id}
        yield content


def _trace_as_json(trace: TraceSummary, waiting: Collection[str]) -> dict[str, Any]:
    content: Any = format_text.as_json(trace)
    return {**content, "waits": trace.trace_id in waiting}


def _session_as_json(session: Session, waiting: Collection[str]) -> Any:
    return {
        "conversation": session.conversation,
        "health": session.health,
        "waits": any(turn.trace_id in waiting for turn in session.turns),
        "duration": session.total(lambda turn: turn.duration),
        "tokens": session.total(lambda turn: turn.tokens),
        "cost_usd": session.total(lambda turn: turn.cost_usd),
        "turns": [_trace_as_json(turn, waiting) for turn in session.turns],
    }


def _show(
    screen: Screen,
    store: Store,
    traces: Sequence[TraceSummary],
    verdicts: Sequence[Verdict],
    above: Sequence[TraceSummary] = (),
    *,
    record_id: str | None = None,
) -> None:
    """Print traces as a table. ``above``: traces that were printed before; the new rows continue their table.
    ``record_id``: of ``--used-record``."""
    pending = _ids_of_pending(traces, verdicts)
    traces, decisions = listing.with_health(traces, verdicts), decisions_of(store.folder, Config.read())
    header, *lines = _table(screen, (*above, *traces), listing.waiting(store), pending)
    if not above:
        screen.line(header)
    reasons: dict[str, None] = {}
    for trace, line, verdict in zip(traces, lines[len(above) :], verdicts, strict=True):
        screen.line(line)
        room = screen.width - 10
        conversation = _conversation(trace, room)
        if conversation:
            screen.line(" " * 10 + screen.paint(conversation, "dim"))
        found = _reach(store, trace, record_id)
        if found is not None:
            screen.line(" " * 10 + screen.paint(short(_reach_text(found), room), "bold"))
        if trace.replay_of:
            screen.line(" " * 10 + screen.paint(format_text.replay(store.trace(trace.trace_id)), "dim"))
        if trace.findings:
            screen.line(" " * 10 + screen.paint(short("! " + format_text.findings(trace.findings), room), "yellow"))
        if verdict is PENDING:
            screen.line(" " * 10 + screen.paint("? still being judged", "dim"))
        else:
            _show_verdict(screen, trace, verdict, decisions)
        if verdict.undiagnosed and not verdict.hint:
            reasons[verdict.undiagnosed] = None
    for reason in reasons:
        screen.prose(f"{reason[:1].upper()}{reason[1:]}. See llmtrace why", "dim")


def _table(screen: Screen, traces: Iterable[TraceSummary], waiting: Collection[str], pending: Collection[str]) -> Iterable[str]:
    """Return the lines of a table. ``waiting``, ``pending``: ids of traces that wait for a person, and for their verdicts."""
    now = time.time_ns()
    titles = ["TRACE", "AGE", "HEALTH", "TIME", "SPANS", "TOKENS", "COST", "NAME"]
    rows = [_row(trace, now, is_waiting=trace.trace_id in waiting, is_pending=trace.trace_id in pending) for trace in traces]
    if screen.width >= _WIDE:
        return screen.table_lines(titles, rows, right=(1, 3, 4, 5, 6))
    return screen.table_lines([*titles[:4], titles[-1]], [[*row[:4], row[-1]] for row in rows], right=(1, 3))


def _ids_of_pending(traces: Sequence[TraceSummary], verdicts: Sequence[Verdict]) -> set[str]:
    return {trace.trace_id for trace, verdict in zip(traces, verdicts, strict=True) if verdict is PENDING}


def _show_verdict(screen: Screen, trace: TraceSummary, verdict: Verdict, decisions: Decisions) -> None:
    """Print the issues that relapsed in a trace, and its suspect, or why there is none."""
    for issue, decision in relapses_in(JudgedRun(trace.trace_id, trace.start, verdict), decisions):
        for line in screen.wrapped(f"! {relapse_words(issue, decision)}", 10):
            screen.line(" " * 10 + screen.paint(line, "red", "bold"))
    room, see = screen.width - 10, f"See llmtrace why {short_id(trace.trace_id)}"
    style: Style = "dim"
    if verdict.fault:
        text = f"? not diagnosed because of a bug in llmtrace: {verdict.fault}. {see} for how to report it"
    elif verdict.hint:
        text = f"? {verdict.hint}. {see}"
    elif verdict.report:
        text, style = short(f"! {clean(verdict.report)}", room), "red"
    elif verdict.confidence is not None:
        times = "" if verdict.count == 1 else f", {format_text.plural(verdict.count, 'time')}"
        confidence = f" ({format_text.confidence(verdict)}{times})"
        text = short(f"? {clean(verdict.title)}", room - len(confidence)) + confidence
        style = format_text.CONFIDENCE_STYLE[verdict.confidence]
    else:
        return
    for line in screen.wrapped(text, 10):
        screen.line(" " * 10 + screen.paint(line, style))


def _show_sessions(screen: Screen, sessions: list[Session], waiting: Collection[str]) -> None:
    """Print each conversation with its totals, and each turn with its question and answer."""
    if not sessions:
        screen.line("No trace that matches belongs to a conversation. llmtrace.context(conversation=...) names one.")
    for number, session in enumerate(sessions):
        if number:
            screen.line()
        facts = (
            format_text.plural(len(session.turns), "turn"),
            format_text.duration(session.total(lambda turn: turn.duration)),
            f"{format_text.count(session.total(lambda turn: turn.tokens))} tokens",
            format_text.cost(session.total(lambda turn: turn.cost_usd)),
        )
        screen.spread(Cell(f"conversation {clean(session.conversation)}", ("bold",)), Cell("  ".join(facts), ("dim",)))
        lines = iter(_table(screen, session.turns, waiting, session.pending))
        screen.line(next(lines))
        for turn, line in zip(session.turns, lines, strict=True):
            screen.line(line)
            if question_and_answer := _conversation(turn, screen.width - 10):
                screen.line(" " * 10 + screen.paint(question_and_answer, "dim"))


def _row(trace: TraceSummary, now: int, *, is_waiting: bool, is_pending: bool) -> list[Cell]:
    waits, health = Cell("waits", ("blue",)), Cell(trace.health, (format_text.HEALTH_STYLE[trace.health],))
    if is_pending and trace.health in listing.UNMARKED:
        health = Cell(format_text.UNKNOWN, ("dim",))
    return [
        Cell(short_id(trace.trace_id), ("bold",)),
        Cell(format_text.age(trace.start, now)),
        waits if is_waiting and trace.health != "failed" else health,
        Cell(format_text.duration(trace.duration)),
        Cell(format_text.count(trace.spans)),
        Cell(format_text.count(trace.tokens)),
        Cell(format_text.cost(trace.cost_usd)),
        Cell(clean(", ".join(trace.title))),
    ]


def _conversation(trace: TraceSummary, width: int) -> str:
    """Return task and answer, as ``task → answer``, each shortened to half the line."""
    if not trace.task and not trace.answer:
        return ""
    half = (width - 3) // 2
    answer = short(trace.answer, half) if trace.answer else format_text.UNKNOWN
    return f"{short(trace.task or format_text.UNKNOWN, half)} → {answer}"
