"""``llmtrace replay``: run a program again, with every call answered from a recorded run, and say where the two differ.

Models are not asked, tools do not run, and nothing is sent anywhere, unless options say so. The new run is a trace of its own.

The program comes after ``--``. Exit codes: 0 the same, 3 it differs, 4 it cannot be compared. What the replay came to is
printed on stderr. ``llmtrace ls --replays`` lists the new run. See docs/how_to/replay.md.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from llmtrace.cli import format_text
from llmtrace.cli.editor import edit_in_editor
from llmtrace.cli.options import BadInput, positive, print_json
from llmtrace.cli.recording import Recording, live_tools, load, program
from llmtrace.cli.terminal import Screen, Style
from llmtrace.errors import ConfigurationError, LlmtraceError
from llmtrace.launch.replay_process import DIVERGED, INCOMPARABLE, SAME, NothingToldError, ReplayedProgram, run_replay
from llmtrace.model import Trace
from llmtrace.model.traces import short_id
from llmtrace.playback.checkpoints import find_checkpoint
from llmtrace.playback.corrections import edit_at
from llmtrace.playback.player import CHANGE
from llmtrace.playback.repeatability import repeatability

NAME = "replay"
HELP = "run a program again, answered from a recorded run: what differs"
EXAMPLE = "llmtrace replay last -- python agent.py"

TAKES_COMMAND = True
_BISECT = {SAME: 0, DIVERGED: 1, INCOMPARABLE: 125}
"""Exit codes for ``git bisect run``: good, bad, cannot be judged (as a commit at which the program does not start)."""
_BISECT_STOPS = 128
"""… and what ends the search: there is no such recording or command, whatever the commit."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [TRACE] [--tool NAME=live] [--loose] [--live-after SPAN | --from NAME] [--edit SPAN [--set PLACE=VALUE]]"
        " [--times N] [--bisect] [--store URL] [--json] -- COMMAND [ARGUMENTS …]"
    )
    parser.add_argument(
        "trace", nargs="?", default="last", help="id, its first digits, or last (default): the newest that is no replay itself"
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
        "--edit", metavar="SPAN", help="change this recorded answer, after a run that shows that the program replays unchanged"
    )
    parser.add_argument(
        "--set",
        metavar="PLACE=VALUE",
        help="with --edit, what to change: /pointer of a tool's result, TOOL/pointer of a call's argument, or text "
        "(default: VISUAL or EDITOR opens the answer)",
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
    tools = live_tools(recording, args.tool)
    live_after = _live_after(recording, args.live_after, args.checkpoint)
    edit = _edit(recording, args.edit, args.set)
    assignment = replace(recording.assignment(), live_tools=tools, loose=args.loose)
    unchanged = replace(assignment, live_after=None if edit is not None else live_after)
    screen = Screen(sys.stderr)
    runs: list[ReplayedProgram] = []
    for number in range(args.times):
        ran = run_replay(command, unchanged)
        runs.append(ran)
        if not args.json:
            _tell(screen, trace, ran, number + 1 if args.times > 1 else None)
    code = max(ran.code for ran in runs)
    if edit is not None and code == SAME:
        ran = run_replay(command, replace(assignment, live_after=live_after, edit=edit))
        runs.append(ran)
        code = ran.code
        if not args.json:
            _tell(screen, trace, ran, None, name="edited")
            if runs[0].trace_id and ran.trace_id:
                screen.labelled("        ", f"llmtrace diff {short_id(runs[0].trace_id)} {short_id(ran.trace_id)}", "cyan")
    elif edit is not None and not args.json:
        screen.line("The unchanged program does not replay, so an edit would show nothing.")
    if args.json:
        print_json({"of": trace.trace_id, "runs": [ran._asdict() for ran in runs]})
    elif args.times > 1:
        same = sum(ran.code == SAME for ran in runs[: args.times])
        screen.line(f"{same} of {args.times} runs were the same as {short_id(trace.trace_id)}")
        for line in repeatability([ran.divergences for ran in runs[: args.times]]):
            screen.prose(line)
    return _BISECT[code] if args.bisect else code


def _live_after(recording: Recording, span: str | None, checkpoint: str | None) -> str | None:
    """Where the recording ends: id of a span, `CHANGE`, or None for its own end."""
    if checkpoint is None:
        return span if span in (None, CHANGE) else recording.span_id("--live-after", span)
    if span is not None:
        raise BadInput("--from and --live-after both say where the recording ends.\nLeave out one of them.")
    return find_checkpoint(recording.trace, checkpoint).span_id


def _edit(recording: Recording, wanted: str | None, setting: str | None) -> tuple[Any, ...] | None:
    """The edit that is asked for, tried on the recording. Without ``setting`` it is made in the user's editor."""
    if wanted is None:
        if setting is not None:
            raise BadInput("--set needs --edit SPAN, as in: --edit 4360aab6 --set look_up/order_id=KS-20457")
        return None
    span_id = recording.span_id("--edit", wanted)
    if setting is None:
        return tuple(edit_in_editor(recording.trace.span(span_id)))
    try:
        return tuple(edit_at(recording.trace, span_id, setting))
    except ConfigurationError as error:
        raise BadInput(f"--set {setting}: {error}.") from None


_WORDS: dict[int, tuple[str, Style]] = {
    SAME: ("same", "green"),
    DIVERGED: ("differs", "red"),
    INCOMPARABLE: ("cannot be compared", "yellow"),
}


_REAL: tuple[str, Style] = ("went on for real", "cyan")


def _tell(screen: Screen, trace: Trace, ran: ReplayedProgram, number: int | None, *, name: str = "replay") -> None:
    word, style = _REAL if ran.live and ran.code == SAME else _WORDS[ran.code]
    answered = f"{format_text.plural(ran.served, 'call')} answered from {short_id(trace.trace_id)}"
    live = f", {ran.live} made for real" if ran.live else ", nothing was sent"
    live += f", in {ran.processes} processes, each from its start" if ran.processes > 1 else ""
    as_trace = f"; recorded as {short_id(ran.trace_id)}" if ran.trace_id else ""
    screen.labelled(f"{name}{'' if number is None else f' {number}'}  ", f"{word}: {answered}{live}{as_trace}", style)
    if ran.exit_code and ran.divergences and ran.divergences[0]["kind"] == "left over":
        screen.labelled("        ", f"the program ended with exit code {ran.exit_code}")
    for divergence in (*ran.divergences, *([ran.went_live] if ran.went_live else ())):
        where = f" ({divergence['where']})" if divergence["where"] else ""
        screen.labelled("        ", f"{divergence['kind']}: {divergence['what']}{where}")
