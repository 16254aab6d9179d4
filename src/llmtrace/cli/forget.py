"""``llmtrace forget``: erase traces, or all traces of a user or a conversation, from a local store.

It says first what goes, and what had left the machine, and asks. Exit code 1: a trace was not forgotten because its program
still runs. See docs/how_to/delete.md.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from llmtrace.cli import format_text
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, FOUND, BadInput, print_json
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Progress, Screen
from llmtrace.store import Query, TraceSummary
from llmtrace.store.forget import Forgotten, erase, find
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
    parser.add_argument("--dry-run", action="store_true", help="only say what would be erased")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        if not isinstance(store, LocalStore):
            raise BadInput("only traces of a local store can be forgotten.\nA backend has its own way to delete what it holds.")
        with Progress("looking for what they left"):
            forgotten, runs, letters = find(store, _wanted(store, args))
        if args.dry_run or not forgotten.traces:
            _say(args, forgotten, done=False)
        elif args.yes or _agreed(args, forgotten):
            with Progress("erasing"):
                erase(store, forgotten, runs, letters)
            _say(args, forgotten, done=True)
        else:
            Screen(sys.stdout).line("Nothing was erased.")
            return FINE
    return FOUND if forgotten.running else FINE


def _wanted(store: LocalStore, args: argparse.Namespace) -> list[TraceSummary]:
    names = {"user": args.user, "conversation": args.conversation, "until": args.before}
    filters: dict[str, Any] = {name: written for name, written in names.items() if written is not None}
    if bool(args.trace) == bool(filters):
        raise BadInput("name traces, or --user, --conversation or --before, and not both.\nllmtrace ls lists traces.")
    if args.trace:
        return list({summary.trace_id: summary for summary in map(store.summary, args.trace)}.values())
    return store.traces(Query(limit=sys.maxsize, **filters))


def _agreed(args: argparse.Namespace, forgotten: Forgotten) -> bool:
    if args.json or not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("nobody can be asked here, so nothing was erased.\nErase without a question with --yes.")
    _write(Screen(sys.stdout), forgotten, "would be erased")
    print("Erase them? They cannot be brought back. [y/N] ", end="", flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _say(args: argparse.Namespace, forgotten: Forgotten, *, done: bool) -> None:
    if args.json:
        sent = [{"endpoint": sent.endpoint, "spans": sent.spans, "until": _when(sent.until) or None} for sent in forgotten.sent]
        members = {name: getattr(forgotten, name) for name in ("traces", "replays", "running", "spans", "bytes", "damaged")}
        print_json({"erased": done, **members, "sent": sent})
    else:
        _write(Screen(sys.stdout), forgotten, "erased" if done else "would be erased", whole=not done or args.yes)


def _write(screen: Screen, forgotten: Forgotten, what: str, *, whole: bool = True) -> None:
    plural = format_text.plural
    count = f"{plural(len(forgotten.traces), 'trace')} with {plural(forgotten.spans, 'span')}"
    replays = f", {plural(len(forgotten.replays), 'replay')} of them" if forgotten.replays else ""
    if forgotten.first is not None and forgotten.last is not None:
        days = f", from {_when(forgotten.first / 1e9)} to {_when(forgotten.last / 1e9)}" if len(forgotten.traces) > 1 else ""
        screen.prose(f"{count}{replays}{days}: {what}.")
    else:
        screen.prose("No trace matches, so nothing is erased.")
    for trace_id in forgotten.running:
        screen.prose(f"Trace {trace_id} stays: its program still runs. Forget it when the program has ended.")
    if not whole or not forgotten.traces:
        return
    if forgotten.damaged:
        screen.prose(f"So are {plural(forgotten.damaged, 'byte')} of the journal that cannot be read: they may be anyone's.")
    for sent in forgotten.sent:
        until = f" until {_when(sent.until)}" if sent.until else ""
        screen.prose(f"{plural(sent.spans, 'span')} had been sent to {sent.endpoint}{until}. Delete them there, too.")
    if not forgotten.sent:
        screen.prose("None of their spans had been sent by OTLP.")


def _when(seconds: float) -> str:
    return format_text.moment(round(seconds * 1e9)) if seconds else ""
