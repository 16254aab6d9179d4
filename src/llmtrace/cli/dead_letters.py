"""``llmtrace dead-letters``: list, show, retry and drop the work that runs gave up.

Exit codes of ``retry``: 0 all were retried, 1 one was not. See docs/how_to/checkpoints.md.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from llmtrace.cli import format_text
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, FOUND, BadInput, import_all, positive, print_json
from llmtrace.cli.stores import local_folder, opened
from llmtrace.cli.terminal import Cell, Screen, short
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.errors import LetterConflict
from llmtrace.model import Failure, Span
from llmtrace.model.traces import short_id
from llmtrace.store.dead_letters import DeadLetter
from llmtrace.store.letter_states import Entry, LetterState, LetterStates, letter_of, read_entries
from llmtrace.store.reviews import this_user
from llmtrace.text.unsafe_characters import clean

NAME = "dead-letters"
HELP = "list, show, retry or drop the work that runs gave up"
EXAMPLE = "llmtrace dead-letters retry 4360aab6 --with shop.letters:retry"

ACTIONS: Final = ("ls", "show", "retry", "drop")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="ls", help="default: ls")
    parser.add_argument("letters", nargs="*", metavar="LETTER", help="ids, or their first 4 or more digits")
    parser.add_argument(
        "--with", dest="handler", metavar="MODULE:FUNCTION", help="with retry: the function of your program that takes a letter"
    )
    parser.add_argument("--again", action="store_true", help="with retry: also what was retried or dropped, or is in doubt")
    parser.add_argument("--all", action="store_true", help="with ls: also what was retried or dropped")
    parser.add_argument("--limit", metavar="N", type=positive, default=100, help="with ls: at most N letters (default: 100)")
    parser.add_argument("--since", metavar="WHEN", type=since, help="only newer traces: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--by", metavar="NAME", help="who does it (default: you)")
    parser.add_argument("--note", metavar="TEXT", default="", help="with drop: why")


def run(args: argparse.Namespace) -> int:
    if (args.action == "ls") == bool(args.letters):
        raise BadInput(
            f"{args.action} takes {'no letter' if args.letters else 'at least one letter'}.\nllmtrace dead-letters lists them."
        )
    if args.action == "retry" and not args.handler:
        raise BadInput(
            f"retry needs --with MODULE:FUNCTION, the function of your program that takes a letter.\nAs in: {EXAMPLE}"
        )
    if args.handler and args.action != "retry":
        raise BadInput(f"--with is for retry, and {args.action} calls no function.\nLeave out --with.")
    with opened(args) as store:
        states = LetterStates(local_folder(store))
        entries = list(read_entries(store, states, args.since))
        if args.action == "ls":
            return _list(entries, args)
        found = [_find(entries, wanted) for wanted in args.letters]
        chosen = [(letter_of(store, entry), entry.state) for entry in found]
    if args.action == "show":
        return _show(chosen, args)
    by = args.by or this_user() or "unknown"
    if args.action == "drop":
        for letter, _ in chosen:
            states.drop(letter, by, args.note)
        return _report(args, [(letter, "dropped") for letter, _ in chosen])
    handler = _handler(args.handler)
    results = [(letter, _retry(letter, states, handler, by, again=args.again)) for letter, _ in chosen]
    _report(args, results)
    return FINE if all(result == "retried" for _, result in results) else FOUND


def _find(entries: list[Entry], wanted: str) -> Entry:
    if len(wanted) < 4:
        raise BadInput(
            f"{wanted}: give the first 4 or more characters of a dead letter's id.\nllmtrace dead-letters lists them."
        )
    matching = [entry for entry in entries if entry.letter.letter_id.startswith(wanted)]
    if len(matching) != 1:
        raise BadInput(
            f"{len(matching)} dead letters have an id that begins with {wanted}.\nllmtrace dead-letters --all lists them."
        )
    return matching[0]


def _list(entries: list[Entry], args: argparse.Namespace) -> int:
    listed = [entry for entry in entries if args.all or entry.is_open]
    shown = listed[: args.limit]
    if args.json:
        lines = [
            {**letter._asdict(), "trace_id": trace_id, "state": format_text.as_json(state)} for letter, trace_id, state in shown
        ]
        print_json({"letters": lines, "more": len(listed) - len(shown)})
        return FINE
    screen = Screen(sys.stdout)
    if not shown:
        screen.line("No dead letters." if not entries else "No open dead letters. --all shows those that were dealt with.")
        return FINE
    now = time.time_ns()
    for letter, _, state in shown:
        status = state.state if state.retries < 2 else f"{state.state} ({state.retries} retries)"
        screen.headed(
            Cell(f"{letter.letter_id[:8]}  {letter.reason.replace('_', ' ')}: {clean(letter.name)}", ("bold",)),
            Cell(f"{status}, {format_text.age(letter.at, now)} ago", ("dim",)),
        )
        if letter.what:
            screen.prose(short(letter.what, 300), prefix="          ")
    if len(listed) > len(shown):
        screen.line(f"{len(listed) - len(shown):,} more, older: --limit {len(listed)} lists all", "dim")
    screen.line("llmtrace dead-letters show LETTER for its attempts", "dim")
    return FINE


def _show(letters: list[tuple[DeadLetter, LetterState]], args: argparse.Namespace) -> int:
    if args.json:
        print_json(
            {"letters": [{**format_text.as_json(letter), "state": format_text.as_json(state)} for letter, state in letters]}
        )
        return FINE
    screen = Screen(sys.stdout)
    for letter, state in letters:
        screen.prose(f"{letter.letter_id}  {letter.reason.replace('_', ' ')}: {clean(letter.name)}", "bold")
        if letter.explanation:
            screen.prose(letter.explanation)
        rows: list[tuple[str, Any]] = [("arguments", letter.arguments)]
        rows += [(f"attempt {number}", attempt) for number, attempt in enumerate(letter.attempts, 1)]
        rows.append(("last answer", letter.completion))
        for label, value in rows:
            if value is not None:
                screen.labelled(f"{label}  ", short(format_text.text(value), 2000))
        if letter.usage is not None:
            usage = letter.usage
            screen.labelled("tokens  ", f"{usage.input_tokens or 0} in, {usage.output_tokens or 0} out")
        by = f" by {state.by}" if state.by else ""
        screen.labelled("state  ", f"{state.state}{by}{f': {state.note}' if state.note else ''}")
        screen.labelled("trace  ", f"llmtrace why {short_id(letter.trace_id)}", "cyan")
        screen.line()
    return FINE


def _handler(name: str) -> Callable[[DeadLetter], Any]:
    module, _, path = name.partition(":")
    if not module or not path:
        raise BadInput(f"--with {name}: expected MODULE:FUNCTION, as in --with shop.letters:retry")
    import_all([module])
    handler: Any = sys.modules[module]
    for part in path.split("."):
        handler = getattr(handler, part, None)
    if not callable(handler):
        raise BadInput(f"--with {name}: {module} has no function {path}.")
    function: Callable[[DeadLetter], Any] = handler
    return function


def _retry(letter: DeadLetter, states: LetterStates, handler: Callable[[DeadLetter], Any], by: str, *, again: bool) -> str:
    """Run the handler once. Returns ``retried``, or why the letter was not retried."""
    try:
        states.begin(letter, by, again=again)
    except LetterConflict as conflict:
        return str(conflict)
    try:
        result = handler(letter)
        if inspect.isawaitable(result):
            asyncio.run(_finish(result))
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
        # the handler's error is stored, so it is redacted first
        span = Span("0" * 32, "0" * 16, "", 0, failure=Failure(type(error).__name__, str(error)))
        failure = Content(Config.read()).clean(span).failure
        states.finish(letter, format_text.failure(failure) if failure is not None else type(error).__name__)
        if not isinstance(error, Exception):
            raise
        return problem
    states.finish(letter)
    return "retried"


async def _finish(result: Any) -> Any:
    return await result


def _report(args: argparse.Namespace, results: list[tuple[DeadLetter, str]]) -> int:
    if args.json:
        print_json({"letters": [{"letter_id": letter.letter_id, "result": result} for letter, result in results]})
        return FINE
    screen = Screen(sys.stdout)
    for letter, result in results:
        is_fine = result in ("retried", "dropped")
        screen.labelled(f"{letter.letter_id[:8]}  ", result if is_fine else f"failed: {result}", "green" if is_fine else "red")
    return FINE
