"""``llmtrace replay``: run a program again, with every call answered from a recorded run, and say where the two differ.

Models are not asked, tools do not run, and nothing is sent anywhere, unless options say so. The new run is a trace of its own.

The program comes after ``--``. Exit codes: 0 the same, 3 it differs, 4 it cannot be compared, 5 the same up to where the
recorded run was killed. What the replay came to is printed on stderr. ``llmtrace ls --replays`` lists the new run. See
docs/how_to/replay.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from llmtrace.cli import format_text
from llmtrace.cli.edit_option import EditOption
from llmtrace.cli.options import BadInput, add_repeated, positive, print_json
from llmtrace.cli.recording import ALL, Recording, calls_made, live_tools, load, program, tools_that_ran
from llmtrace.cli.stores import find_span
from llmtrace.cli.terminal import Screen, Style
from llmtrace.errors import LlmtraceError
from llmtrace.launch.replay_process import DIVERGED, INCOMPARABLE, KILLED, SAME, NothingToldError, ReplayedProgram, run_replay
from llmtrace.launch.replayed import Assignment
from llmtrace.model import Trace
from llmtrace.model.traces import short_id
from llmtrace.playback.difference import repeatability
from llmtrace.playback.permissions import Permissions, Rest
from llmtrace.playback.player import CHANGE
from llmtrace.playback.recorded_run import find_checkpoint

NAME = "replay"
HELP = "run a program again, answered from a recorded run: what differs"
EXAMPLE = "llmtrace replay last -- python agent.py"

TAKES_COMMAND = True
_BISECT = {SAME: 0, KILLED: 0, DIVERGED: 1, INCOMPARABLE: 125}
"""Exit codes for ``git bisect run``: good, bad, and skip for a commit that cannot be judged."""
_WORST_LAST = (SAME, KILLED, DIVERGED, INCOMPARABLE)
_BISECT_STOPS = 128
"""Exit code that ends the search of ``git bisect run``: the recording or the command is missing at every commit."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [TRACE] [--tool NAME=live] [--connect HOST:PORT]\n"
        "       [--allow-program NAME]\n"
        "       [--loose] [--live-after SPAN | --from NAME]\n"
        "       [--edit SPAN [--set PLACE[=VALUE]]] [--times N] [--bisect]\n"
        "       [--store URL] [--json] -- COMMAND [ARGUMENTS …]"
    )
    parser.add_argument(
        "trace", nargs="?", default="last", help="id, its first digits, or last (default): the newest that is not a replay"
    )
    text = (
        "run the body of this tool (all=live: of every tool that changes nothing); default: its recorded result is given. With "
        "--live-after, --from or --edit it runs only after that (can be repeated)"
    )
    add_repeated(parser, "--tool", "NAME=live", text)
    text = (
        "let the program connect to this server, an MCP server's say; its recorded calls are still answered from the "
        "recording (can be repeated)"
    )
    add_repeated(parser, "--connect", "HOST:PORT", text)
    text = (
        "let the program start this other program, such as git, which does what it always does; Python processes take part in "
        "the replay (can be repeated)"
    )
    add_repeated(parser, "--allow-program", "NAME", text)
    parser.add_argument("--loose", action="store_true", help="answer a request that changed, too, and report the change")
    parser.add_argument(
        "--live-after",
        metavar="SPAN",
        help="answer from the recording up to this span, and do what comes later for real; the word change: "
        "up to the first call that the recording does not answer",
    )
    parser.add_argument(
        "--from", metavar="NAME", dest="checkpoint",
        help="begin at this checkpoint: answer from the recording up to it, give the program its recorded state, and do what "
        "comes later for real",
    )  # fmt: skip
    parser.add_argument(
        "--edit",
        metavar="SPAN",
        help="change this recorded answer, or what the model is asked there, after a run that shows that the program replays "
        "unchanged",
    )
    parser.add_argument(
        "--set",
        metavar="PLACE[=VALUE]",
        help="with --edit, what to change: /pointer of a tool's result, TOOL/pointer of a call's argument, text, or /pointer "
        "of a model's request (default: the answer). Without =VALUE, VISUAL or EDITOR opens it",
    )
    parser.add_argument("--times", metavar="N", type=positive, default=1, help="run it N times, to find what is not repeatable")
    parser.add_argument("--bisect", action="store_true", help="exit with 0, 1 and 125, as git bisect run expects")


def run(args: argparse.Namespace) -> int:
    try:
        return _run(args)
    except (BadInput, LlmtraceError) as error:
        if not args.bisect:
            raise
        Screen(sys.stderr).prose(f"llmtrace replay: {error}")
        return _BISECT[INCOMPARABLE] if isinstance(error, NothingToldError) else _BISECT_STOPS


def _run(args: argparse.Namespace) -> int:
    command = program(args.command, EXAMPLE)
    recording = load(args)
    trace = recording.trace
    permissions = _permissions(args, recording)
    live_after = _live_after(recording, args.live_after, args.checkpoint)
    edit = EditOption.read(args, recording, live_after)
    assignment = replace(recording.assignment(), permissions=permissions, loose=args.loose)
    unchanged = replace(assignment, live_after=live_after)
    if edit is not None:  # first from the record alone
        unchanged = replace(assignment, request_of=edit.request_of)
    screen = Screen(sys.stderr)
    if not args.json:
        _announce(screen, recording.trace, permissions, args.tool, live_after)
    runs: list[ReplayedProgram] = []
    for number in range(args.times):
        ran = run_replay(command, unchanged)
        runs.append(ran)
        if not args.json:
            _tell(screen, trace, ran, number + 1 if args.times > 1 else None)
    code = max((ran.code for ran in runs), key=_WORST_LAST.index)
    if edit is not None and code == SAME:
        ran = _run_edited(screen, command, replace(assignment, live_after=live_after), edit, runs[0], quiet=args.json)
        runs.append(ran)
        code = DIVERGED if ran.exit_code and ran.code == SAME else ran.code  # a program that fails is no success of the edit
    elif edit is not None and not args.json:
        screen.line("The unchanged program does not replay, so an edit would show nothing.")
    if args.json:
        contents = [{name: content for name, content in ran._asdict().items() if name != "request"} for ran in runs]
        print_json({"of": trace.trace_id, "runs": contents})
    elif args.times > 1:
        _tell_repeatability(screen, trace, runs[: args.times])
    return _BISECT[code] if args.bisect else code


def _tell_repeatability(screen: Screen, trace: Trace, runs: Sequence[ReplayedProgram]) -> None:
    same = sum(ran.code == SAME for ran in runs)
    screen.line(f"{same} of {len(runs)} runs were the same as {short_id(trace.trace_id)}")
    for line in repeatability([ran.divergences for ran in runs]):
        screen.prose(line)


def _permissions(args: argparse.Namespace, recording: Recording) -> Permissions:
    for server in args.connect:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit():
            raise BadInput(f"--connect {server}: expected HOST:PORT, as in --connect 127.0.0.1:8000")
    rest: Rest = "reading" if f"{ALL}=live" in args.tool else "named"
    tools = live_tools(recording, args.tool)
    comes_after = args.edit is not None or args.live_after is not None or args.checkpoint is not None
    first, after = ((), tools) if comes_after else (tools, ())
    return Permissions(first, after, rest, args.connect, args.allow_program)


def _live_after(recording: Recording, span: str | None, checkpoint: str | None) -> str | None:
    """Return where answers from the recording end: id of a span, `CHANGE`, or None for the recording's end."""
    if checkpoint is None:
        return span if span in (None, CHANGE) else find_span(recording.trace, span).span_id
    if span is not None:
        raise BadInput("--from and --live-after both say where the recording ends.\nLeave out one of them.")
    return find_checkpoint(recording.trace, checkpoint).span_id


def _run_edited(
    screen: Screen, command: list[str], assignment: Assignment, edit: EditOption, unchanged: ReplayedProgram, *, quiet: bool
) -> ReplayedProgram:
    new, change = edit.make(unchanged.request)
    if not quiet and change:
        screen.labelled("edit    ", f"{edit.span.name} [{edit.span.span_id[:8]}] is asked: {change}")
    ran = run_replay(command, replace(assignment, edit=tuple(new)))
    if not quiet:
        _tell(screen, edit.trace, ran, None, name="edited")
        if unchanged.trace_id and ran.trace_id:
            screen.labelled("        ", f"llmtrace diff {short_id(unchanged.trace_id)} {short_id(ran.trace_id)}", "cyan")
    return ran


def _announce(screen: Screen, trace: Trace, permissions: Permissions, asked_for: Sequence[str], live_after: str | None) -> None:
    """Say before what will run for real, if anything may."""
    real = [*(["models"] if live_after is not None else ()), *permissions.tools, *permissions.after]
    if real:
        when = " after that" if live_after is not None or permissions.after else ""
        screen.labelled("may     ", f"run for real{when}: {', '.join(real)}")
    allowed = {*permissions.tools, *permissions.after}
    left_out = [name for name, changes in tools_that_ran(trace).items() if changes and name not in allowed]
    if left_out and f"{ALL}=live" in asked_for:
        options = " ".join(f"--tool {name}=live" for name in left_out)
        screen.labelled(
            "        ", f"not run, because it changes something: {', '.join(left_out)} (allow it: {options})", "yellow"
        )


_WORDS: dict[int, tuple[str, Style]] = {
    SAME: ("same", "green"),
    DIVERGED: ("differs", "red"),
    INCOMPARABLE: ("cannot be compared", "yellow"),
    KILLED: ("same up to where the recorded run was killed", "green"),
}
_REAL: tuple[str, Style] = ("went on for real", "cyan")


def _tell(screen: Screen, trace: Trace, ran: ReplayedProgram, number: int | None, *, name: str = "replay") -> None:
    word, style = _REAL if ran.live and ran.code == SAME else _WORDS[ran.code]
    answered = f"{format_text.plural(ran.served, 'call')} answered from {short_id(trace.trace_id)}"
    live = f", made for real: {calls_made(ran.ran)}" if ran.live else ""
    live += f", connected to {' and '.join(ran.connections)}" if ran.connections else ""
    live += f", started {' and '.join(ran.programs)}" if ran.programs else ""
    live = live or (", nothing was sent" if ran.is_offline else ", nothing was sent by Python's own modules")
    as_trace = f"; recorded as {short_id(ran.trace_id)}" if ran.trace_id else ""
    screen.labelled(f"{name}{'' if number is None else f' {number}'}  ", f"{word}: {answered}{live}{as_trace}", style)
    if ran.exit_code and not ran.is_ended and (not ran.divergences or ran.divergences[0]["kind"] == "left over"):
        screen.labelled("        ", f"the program ended with exit code {ran.exit_code}")
        if ran.is_offline:
            how = "a library in C that needs a server finds none in a replay; --connect HOST:PORT leaves it the network"
            screen.labelled("        ", how)
    for name, count in Counter(ran.unclear).items():
        calls = f"{count} equal calls of {name} ran at once, and got different answers"
        screen.labelled(
            "        ", f"{calls}: which gets which is not recorded, so it may be another one in each replay", "yellow"
        )
    if ran.is_ended:
        screen.labelled("        ", "the program did not end by itself after that, and was ended")
    for divergence in (*ran.divergences, *([ran.went_live] if ran.went_live else ())):
        where = f" ({divergence['where']})" if divergence["where"] else ""
        screen.labelled("        ", f"{divergence['kind']}: {divergence['what']}{where}")
