"""``llmtrace forget``: erase traces, or all traces of a user or a conversation, from a local store.

It says first what goes, and what had left the machine, and asks. With ``--keep-verdicts``, ``ls``, ``stats`` and ``issues``
still count the traces: health, findings, usage and times stay, and the names of agents, models and tools. Exit code 1: a trace
was not forgotten because its program still runs. See docs/how_to/delete.md.
"""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import format_text
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, FOUND, BadInput, print_json
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Progress, Screen
from llmtrace.store.forget import Forgotten, erase, find, select
from llmtrace.store.local import LocalStore

NAME = "forget"
HELP = "erase traces, or all traces of a user, from a local store"
EXAMPLE = "llmtrace forget --user u-17"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="*", help="ids, or their first digits")
    parser.add_argument("--user", metavar="NAME", help="traces of this user")
    parser.add_argument("--conversation", metavar="ID", help="traces of this conversation")
    parser.add_argument(
        "--before", "--older-than", dest="before", metavar="WHEN", type=since, help="traces that began before: 30d, 2026-01-31"
    )
    text = "erase all content, but keep what ls, stats and issues count"
    parser.add_argument("--keep-verdicts", action="store_true", help=text)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be erased")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        if not isinstance(store, LocalStore):
            raise BadInput("only traces of a local store can be forgotten.\nA backend has its own way to delete what it holds.")
        try:
            wanted = select(store, args.trace, user=args.user, conversation=args.conversation, until=args.before)
        except ValueError as error:
            raise BadInput(
                f"name traces, or --user, --conversation or --before: got {error}.\nllmtrace ls lists traces."
            ) from None
        with Progress("looking for what they left"):
            forgotten, runs, letters = find(store, wanted)
        if args.dry_run or not forgotten.traces:
            _say(args, forgotten, done=False)
        elif args.yes or _agreed(args, forgotten):
            try:
                with Progress("erasing"):
                    erase(store, forgotten, runs, letters, keep_verdicts=args.keep_verdicts)
            except KeyboardInterrupt:
                Screen(sys.stderr).prose("Interrupted. The next command that reads this store erases the rest.")
                raise
            _say(args, forgotten, done=True)
        else:
            Screen(sys.stdout).line("Nothing was erased.")
            return FINE
    return FOUND if forgotten.running else FINE


def _agreed(args: argparse.Namespace, forgotten: Forgotten) -> bool:
    if args.json or not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("nobody can be asked here, so nothing was erased.\nErase without a question with --yes.")
    _write(args, forgotten, done=False)
    print(f"Erase {format_text.it_or_them(len(forgotten.traces))}? This cannot be undone. [y/N] ", end="", flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _say(args: argparse.Namespace, forgotten: Forgotten, *, done: bool) -> None:
    if args.json:
        sent = [{"endpoint": sent.endpoint, "spans": sent.spans, "until": _when(sent.until) or None} for sent in forgotten.sent]
        members = {name: getattr(forgotten, name) for name in ("traces", "replays", "running", "spans", "bytes", "damaged")}
        print_json({"erased": done, "verdicts_kept": args.keep_verdicts, **members, "sent": sent})
    elif done and not args.yes:
        Screen(sys.stdout).line("Erased.")  # the rest was said before the question
    else:
        _write(args, forgotten, done=done)


def _write(args: argparse.Namespace, forgotten: Forgotten, *, done: bool) -> None:
    screen, plural = Screen(sys.stdout), format_text.plural
    for trace_id in forgotten.running:
        screen.prose(f"Not erased: trace {trace_id}, whose program is still running. Forget it when the program has ended.")
    if forgotten.first is None or forgotten.last is None:
        if not forgotten.running:
            screen.prose("No trace in this store matches. Nothing to erase.")
        return
    times = " to ".join(dict.fromkeys(_when(moment / 1e9) for moment in (forgotten.first, forgotten.last)))
    number = len(forgotten.traces)
    what = f"{'the content of ' if args.keep_verdicts else ''}{plural(number, 'trace')}"
    replays = (
        f" and {plural(len(forgotten.replays), 'replay')} of {format_text.it_or_them(number)}" if forgotten.replays else ""
    )
    size = f"{plural(forgotten.spans, 'span')}, {format_text.size(forgotten.bytes)}"
    screen.prose(f"{'Erased' if done else 'Would erase'} {what}{replays}: {size}, recorded {times}.")
    if args.keep_verdicts:
        counted = f"ls, stats and issues still count {format_text.it_or_them(number)}"
        screen.prose(f"Health, findings, usage, times and names {'stayed' if done else 'would stay'}: {counted}.")
    if forgotten.damaged:
        unreadable = f"{plural(forgotten.damaged, 'byte')} of the journal that cannot be read"
        screen.prose(f"{'Also erased' if done else 'Would also erase'} {unreadable}, whoever wrote them.")
    for sent in forgotten.sent:
        by = f" by {_when(sent.until)}" if sent.until else ""
        screen.prose(f"{plural(sent.spans, 'span')} had been sent to {sent.endpoint}{by}. Delete them there, too.")
    if not forgotten.sent:
        screen.prose("None of the spans had been sent by OTLP.")


def _when(seconds: float) -> str:
    return format_text.moment(round(seconds * 1e9)) if seconds else ""
