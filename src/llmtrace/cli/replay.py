"""``llmtrace replay``: run a program again, with every call answered from a recorded run, and say where the two differ.

Models are not asked, tools do not run, and nothing is sent anywhere, unless options say so. The new run is a trace of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, positive, print_json
from llmtrace.cli.stores import opened, trace_of
from llmtrace.cli.terminal import Screen, Style
from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, StoreError
from llmtrace.launch import VARIABLE, environment
from llmtrace.launch.replayed import Assignment
from llmtrace.model import Trace
from llmtrace.playback.edit import Edit, edited
from llmtrace.playback.recorded_run import is_call, same_process
from llmtrace.semconv import REPLAY_OF, SERVICE_NAME
from llmtrace.store import Query, Store

NAME = "replay"
HELP = "run a program again, answered from a recorded run: what differs"
EXAMPLE = "llmtrace replay last -- python agent.py"

DIVERGED = 3
INCOMPARABLE = 4
TAKES_COMMAND = True
_AS_IN = "Give it after --, as in: llmtrace replay last -- python agent.py"
_BISECT = {FINE: 0, DIVERGED: 1, INCOMPARABLE: 125}
"""Exit codes for ``git bisect run``: good, bad, cannot be judged."""
_NEIGHBOURS = 50
"""Newest traces among which others of the same process are looked for …"""
_LONGEST_PROCESS = 3_600_000_000_000
"""… if they began within so many nanoseconds, one hour."""


class Ran(NamedTuple):
    """What one replay came to."""

    code: int
    """`FINE`, `DIVERGED` or `INCOMPARABLE`."""
    exit_code: int
    """The program's own."""
    served: int
    live: int
    trace_id: str | None
    divergences: list[Mapping[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [TRACE] [--tool NAME=live] [--loose] [--live-after SPAN] [--edit SPAN --set PLACE=VALUE] [--times N]"
        " [--bisect] [--store URL] [--json] -- COMMAND [ARGUMENTS …]"
    )
    parser.add_argument(
        "trace",
        nargs="?",
        default="last",
        help="id, its first digits, or last (default): the newest that is no replay itself",
    )
    parser.add_argument(
        "--tool",
        metavar="NAME=live",
        action="append",
        default=[],
        help="run the body of this tool; default: its recorded result is given (can be repeated)",
    )
    parser.add_argument("--loose", action="store_true", help="answer a request that changed, too, and report the change")
    parser.add_argument(
        "--live-after", metavar="SPAN", help="answer from the recording up to this span; what comes later is done for real"
    )
    parser.add_argument(
        "--edit", metavar="SPAN", help="change this recorded answer, after a run that shows that the program replays unchanged"
    )
    parser.add_argument(
        "--set",
        metavar="PLACE=VALUE",
        help="with --edit, what to change: /pointer of a tool's result, TOOL/pointer of a call's argument, or text",
    )
    parser.add_argument("--times", metavar="N", type=positive, default=1, help="run it N times, to find what is not repeatable")
    parser.add_argument("--bisect", action="store_true", help="exit with 0, 1 and 125, as git bisect run expects")


def run(args: argparse.Namespace) -> int:
    if not args.command:
        raise BadInput(f"no program to run.\n{_AS_IN}")
    command = _command(args.command)
    live_tools = [_live_tool(text) for text in args.tool]
    with opened(args) as store:
        trace = _newest(store) if args.trace == "last" else trace_of(store, args.trace)
        others = [other.trace_id for other in same_process(_neighbours(store, trace), trace)][1:]
        live_after = _span_id(trace, args.live_after)
        _check(trace, live_tools)
        edit = _edit(trace, args.edit, args.set)
    url = Config.read(store=args.store).store
    url = str(Path(url).absolute()) if Path(url).exists() else url
    assignment = {
        "store": url,
        "traces": [trace.trace_id, *others],
        "live_tools": live_tools,
        "loose": args.loose,
        "live_after": None if edit is not None else live_after,
    }
    screen = Screen(sys.stderr)
    runs: list[Ran] = []
    for number in range(args.times):
        ran = _replay(command, assignment)
        runs.append(ran)
        if not args.json:
            _tell(screen, trace, ran, number + 1 if args.times > 1 else None)
    code = max(ran.code for ran in runs)
    if edit is not None and code == FINE:
        ran = _replay(command, {**assignment, "live_after": live_after, "edit": edit})
        runs.append(ran)
        code = ran.code
        if not args.json:
            _tell_edited(screen, trace, ran, runs[0])
    elif edit is not None and not args.json:
        screen.line("The unchanged program does not replay, so an edit would show nothing.")
    if args.json:
        print_json({"of": trace.trace_id, "runs": [ran._asdict() for ran in runs]})
    elif args.times > 1:
        same = sum(ran.code == FINE for ran in runs)
        screen.line(f"{same} of {args.times} runs were the same as {trace.trace_id[:8]}")
    return _BISECT[code] if args.bisect else code


def _newest(store: Store) -> Trace:
    """The newest trace that is no replay itself."""
    for trace in _neighbours(store):
        if not any(REPLAY_OF in span.attributes for span in trace.spans):
            return trace
    return trace_of(store, "last")


def _command(words: Sequence[str]) -> list[str]:
    if words[0].endswith(".py") and Path(words[0]).is_file():
        return [sys.executable, *words]
    program = shutil.which(words[0])
    if program is None:
        raise BadInput(f"no command {words[0]!r} was found.\n{_AS_IN}")
    return [program, *words[1:]]


def _live_tool(text: str) -> str:
    name, _, policy = text.partition("=")
    if not name or policy != "live":
        raise BadInput(f"--tool {text}: expected NAME=live, as in --tool search=live")
    return name


def _span_id(trace: Trace, wanted: str | None, option: str = "--live-after") -> str | None:
    if wanted is None:
        return None
    found = [span.span_id for span in trace.spans if span.span_id.startswith(wanted)]
    if len(found) != 1:
        raise BadInput(f"{option} {wanted}: {len(found)} spans of trace {trace.trace_id[:8]} begin so.")
    return found[0]


def _edit(trace: Trace, wanted: str | None, setting: str | None) -> tuple[Any, ...] | None:
    """The edit that is asked for, tried on the recording."""
    if wanted is None and setting is None:
        return None
    place, equals, text = (setting or "").partition("=")
    if wanted is None or not equals:
        raise BadInput("--edit and --set belong together, as in: --edit 4360aab6 --set look_up/order_id=KS-20457")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    edit = Edit(_span_id(trace, wanted, "--edit") or "", place, value)
    try:
        edited(trace.span(edit.span_id), edit)
    except ConfigurationError as error:
        raise BadInput(f"--set {setting}: {error}.") from None
    return tuple(edit)


def _tell_edited(screen: Screen, trace: Trace, ran: Ran, unchanged: Ran) -> None:
    _tell(screen, trace, ran, None, name="edited")
    if unchanged.trace_id and ran.trace_id:
        screen.labelled("        ", f"llmtrace diff {unchanged.trace_id[:8]} {ran.trace_id[:8]}", "cyan")


def _check(trace: Trace, live_tools: Sequence[str]) -> None:
    """Refuse what cannot be replayed before the program is started."""
    calls = [span for span in trace.spans if span.run_id is not None and is_call(span.operation)]
    if not calls:
        raise BadInput(f"trace {trace.trace_id[:8]} holds no call that llmtrace recorded, so there is nothing to answer.")
    names = {getattr(span.operation, "name", None) for span in calls}
    for name in live_tools:
        if name not in names:
            raise BadInput(f"--tool {name}=live: no tool of this name ran in trace {trace.trace_id[:8]}.")


def _neighbours(store: Store, trace: Trace | None = None) -> Iterator[Trace]:
    """The newest traces; with ``trace``, only those that its process may have made too."""
    for summary in store.traces(Query(limit=_NEIGHBOURS)):
        if trace is not None:
            first = trace.spans[0]
            is_far = abs(summary.start - first.start) > _LONGEST_PROCESS
            if is_far or summary.service != first.resource.get(SERVICE_NAME):
                continue
        try:
            yield store.trace(summary.trace_id)
        except StoreError:  # gone meanwhile
            continue


def _replay(command: Sequence[str], assignment: Mapping[str, Any]) -> Ran:
    with tempfile.TemporaryDirectory(prefix="llmtrace-replay-") as folder:
        report = Path(folder) / "report"
        handed_over = Assignment(**assignment, report=str(report)).as_text()
        variables = {**os.environ, **environment({}), VARIABLE: handed_over, "LLMTRACE_STORE": assignment["store"]}
        variables["LLMTRACE_EXPORTERS"] = ""
        process = subprocess.run(list(command), env=variables, check=False)  # noqa: S603 - the user asked to run it
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    if not lines:
        raise BadInput(
            f"the program ended (exit code {process.returncode}) and told nothing of a replay: it recorded nothing, was "
            "killed, or runs with a Python that has no llmtrace.\nSee that it records: llmtrace run, with the same command"
        )
    reports = [json.loads(line) for line in lines]
    outcomes = {report["outcome"] for report in reports}
    code = INCOMPARABLE if "incomparable" in outcomes else DIVERGED if "diverged" in outcomes else FINE
    return Ran(
        code,
        process.returncode,
        sum(report["served"] for report in reports),
        sum(report["live"] for report in reports),
        reports[0]["trace_id"],
        [divergence for report in reports for divergence in report["divergences"]],
    )


_WORDS: dict[int, tuple[str, Style]] = {
    FINE: ("same", "green"),
    DIVERGED: ("differs", "red"),
    INCOMPARABLE: ("cannot be compared", "yellow"),
}


_REAL: tuple[str, Style] = ("went on for real", "cyan")


def _tell(screen: Screen, trace: Trace, ran: Ran, number: int | None, *, name: str = "replay") -> None:
    word, style = _REAL if ran.live and ran.code == FINE else _WORDS[ran.code]
    answered = f"{format_text.plural(ran.served, 'call')} answered from {trace.trace_id[:8]}"
    live = f", {ran.live} made for real" if ran.live else ", nothing was sent"
    as_trace = f"; recorded as {ran.trace_id[:8]}" if ran.trace_id else ""
    screen.labelled(f"{name}{'' if number is None else f' {number}'}  ", f"{word}: {answered}{live}{as_trace}", style)
    for divergence in ran.divergences:
        where = f" ({divergence['where']})" if divergence["where"] else ""
        screen.labelled("        ", f"{divergence['kind']}: {divergence['what']}{where}")
