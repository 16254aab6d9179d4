"""``llmtrace review``: see what waits for a person, decide it, and go on with a run that ended to wait.

Without an action, in a terminal: one call after the other. See docs/how_to/reviews.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from llmtrace import reviews as programs
from llmtrace.cli import format_text
from llmtrace.cli.options import BAD_INPUT, FINE, BadInput, add_repeated, print_json
from llmtrace.cli.recording import load, program
from llmtrace.cli.terminal import Cell, Screen, short
from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, ReviewConflict
from llmtrace.launch.replay_process import run_replay
from llmtrace.model import JsonValue
from llmtrace.model.reviews import DECISIONS, Decision, ReviewRecord, ReviewRequest, ReviewState
from llmtrace.model.traces import short_id
from llmtrace.playback.edit import Edit, with_member
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.player import CHANGE
from llmtrace.store.reviews import Reviews, this_user
from llmtrace.text.unsafe_characters import clean
from llmtrace.validation.json_pointers import pointer

NAME = "review"
HELP = "decide calls that wait for a person"
EXAMPLE = "llmtrace review edit rev_3fa9 --set amount=12.50 --reason 'a typo'"

TAKES_COMMAND = True
_MOST_LISTED = 100
_DECIDED_ELSEWHERE = 0
"""Exit code of `ask` when the question is taken away."""
_TAKES = {"edit": " --set ARGUMENT=VALUE", "answer": " VALUE"}
_ACTIONS = ("ls", "show", "ask", "approve", "edit", "reject", "answer", "settle", "resume")
_WAITING: tuple[ReviewState, ...] = ("proposed", "in_doubt", "approved")
_EVERY: tuple[ReviewState, ...] = get_args(ReviewState)
_records: TypeAdapter[list[ReviewRecord]] = TypeAdapter(list[ReviewRecord])


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"%(prog)s [{'|'.join(_ACTIONS)}]\n       [ID] [options]"
    parser.add_argument(
        "action", nargs="?", choices=_ACTIONS, help="default: decide one after the other; ls if not in a terminal"
    )
    parser.add_argument("id", nargs="?", help="id of the review, or its first digits")
    parser.add_argument("value", nargs="?", help="answer: the answer, as JSON or text")
    parser.add_argument("--all", action="store_true", help="ls: decided ones, too")
    parser.add_argument("--watch", action="store_true", help="without an action: wait for the next")
    parser.add_argument(
        "--digest", metavar="DIGEST", help="refuse if the call is another one than this digest is of (see show)"
    )
    parser.add_argument("--by", metavar="NAME", help="who decides (default: your user name)")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; a rejection's is told to the model")
    text = "edit: a new value, as JSON or text; the argument's name or a JSON Pointer (can be repeated)"
    add_repeated(parser, "--set", "ARGUMENT=VALUE", text)
    text = "approve: later calls of this tool in this run, too, if this argument has the same value (can be repeated)"
    add_repeated(parser, "--always", "ARGUMENT", text)
    text = "resume: let the program start this other program before the held call, too, as git (can be repeated)"
    add_repeated(parser, "--allow-program", "NAME", text)
    parser.add_argument("--happened", choices=["yes", "no"], help="settle: did the call take effect before the program died?")


def run(args: argparse.Namespace) -> int:
    url = args.store or Config.read().store
    reviews = programs.of_store(url)
    try:
        return _run(args, reviews)
    except ReviewConflict as conflict:
        hint = " llmtrace review ls lists them." if conflict.kind == "unknown" else ""
        raise BadInput(f"{conflict}.{hint}") from None
    except BrokenPipeError:  # the output, not the reviews: `cli.main` handles it
        raise
    except (OSError, sqlite3.Error) as error:
        raise BadInput(f"the reviews of {url} cannot be read or written: {error}.") from None


def _run(args: argparse.Namespace, reviews: Reviews) -> int:
    if args.action is None and sys.stdin.isatty() and sys.stdout.isatty() and not args.json:
        return _one_by_one(args, reviews)
    _refuse_others(args)
    if args.action in (None, "ls"):
        return _list(args, reviews)
    if args.id is None:
        raise BadInput(f"{args.action} needs the id of a review.\nllmtrace review ls shows those that wait.")
    if args.action == "resume":
        return _resume(args, reviews)
    if args.action == "ask":
        return _ask_about(args, reviews)
    if args.action == "settle":
        if args.happened is None:
            raise BadInput("settle needs --happened yes or no: did the call take effect?")
        record = reviews.settle(args.id, happened=args.happened == "yes", by=_by(args))
    elif args.action == "show":
        record = reviews.get(args.id)
    else:
        record = reviews.get(args.id)
        digest = args.digest or record.request.digest
        record = reviews.decide(record.request.review_id, _decision(args, record, args.action), digest=digest)
    if args.json:
        print_json(_as_json([record])[0])
    else:
        _show(Screen(sys.stdout), record)
    return FINE


_MEANT: dict[str, tuple[str, ...]] = {
    "ls": ("all",),
    "show": (),
    "ask": ("by",),
    "approve": ("digest", "by", "reason", "always"),
    "edit": ("digest", "by", "reason", "set"),
    "reject": ("digest", "by", "reason"),
    "answer": ("value", "digest", "by", "reason"),
    "settle": ("by", "happened"),
    "resume": ("command", "allow_program"),
}


def _refuse_others(args: argparse.Namespace) -> None:
    """Raise BadInput for an option that the action does not take. A decision is final, so no option is silently ignored."""
    action = args.action or "ls"
    for name in ("value", "all", "digest", "by", "reason", "set", "always", "happened", "allow_program", "command"):
        if getattr(args, name) and name not in _MEANT[action]:
            option = {"value": f"{args.value!r}", "command": "a command"}.get(name, f"--{name.replace('_', '-')}")
            hint = " Give a reason with --reason." if action == "reject" and name == "value" else ""
            raise BadInput(f"{action} takes no {option}.{hint}")


def _by(args: argparse.Namespace) -> str:
    return this_user() if args.by is None else str(args.by)


# -- decisions


def _decision(args: argparse.Namespace, record: ReviewRecord, action: str) -> Decision:
    payload = record.request.payload
    value: JsonValue = None
    always: dict[str, JsonValue] = {}
    if action == "approve":
        for name in args.always:
            if not isinstance(payload, Mapping) or name not in payload:
                raise BadInput(f"--always {name}: the call has no such argument.")
            always[name] = payload[name]
    elif action == "edit":
        if not args.set:
            raise BadInput("edit needs what to change, as in: --set amount=12.50")
        value = _with(payload, args.set)
    elif action == "answer":
        if args.value is None:
            raise BadInput('answer needs the answer, as JSON or text: llmtrace review answer ID "yes"')
        value = _read(args.value)
    return Decision(DECISIONS[action], value, _by(args), time.time(), args.reason, always)


def _read(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _with(payload: JsonValue, settings: list[str]) -> JsonValue:
    """Return the payload with each ``ARGUMENT=VALUE`` set. Raises BadInput for a place that the payload cannot have."""
    for setting in settings:
        place, equals, text = setting.partition("=")
        if not equals or not place.strip("/"):
            raise BadInput(f"--set {setting}: expected ARGUMENT=VALUE, as in amount=12.50 or /items/0/price=3")
        place = place if place.startswith("/") else pointer((place,))
        try:
            payload = with_member(payload, Edit("", place, _read(text)), may_add=True)
        except (ConfigurationError, TypeError):
            raise BadInput(f"--set {setting}: the call's arguments have no such place.") from None
    return payload


# -- the dialogue in a terminal, one call after the other


def _ask_about(args: argparse.Namespace, reviews: Reviews) -> int:
    """Ask about one review until it is decided, here or elsewhere. The program that waits asks so at its own terminal."""
    screen, review_id = Screen(sys.stdout), reviews.get(args.id).request.review_id
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_DECIDED_ELSEWHERE))
    try:
        _show(screen, reviews.get(review_id), commands=False)
        while reviews.get(review_id).state == "proposed":
            if _dialogue(screen, args, reviews, reviews.get(review_id)) in ("skip", "quit"):
                screen.prose(f"It waits. To decide later: llmtrace review show {review_id}", "dim")
                return FINE
    except KeyboardInterrupt:  # the program gets it, too
        return _DECIDED_ELSEWHERE
    except SystemExit:
        screen.line()
        screen.line("It is decided, or waits no more.", "dim")
    return FINE


def _dialogue(
    screen: Screen, args: argparse.Namespace, reviews: Reviews, record: ReviewRecord
) -> Literal["asked", "skip", "quit"]:
    """Ask for a decision once, and make it."""
    edit = "" if record.request.tool is None else "[e]dit, "
    try:
        word = _ask(f"[a]pprove, {edit}[r]eject, a[n]swer, [s]kip, [q]uit? ").lower()
        if word in ("q", "quit"):
            return "quit"
        if word in ("s", "skip"):
            return "skip"
        decision = _asked_for(screen, args, record, word)
        if decision is not None:
            decided = reviews.decide(record.request.review_id, decision, digest=record.request.digest)
            screen.prose(_outcome(decided), "green" if decision.is_allowed else "yellow")
    except (ReviewConflict, BadInput) as problem:
        screen.prose(str(problem), "yellow")
    except EOFError:
        screen.line()
        return "quit"
    return "asked"


def _one_by_one(args: argparse.Namespace, reviews: Reviews) -> int:
    screen, skipped, is_watching = Screen(sys.stdout), set[str](), False
    while True:
        # the oldest first
        waiting = [record for record in reversed(reviews.list()) if record.request.review_id not in skipped]
        if not waiting and not args.watch:
            screen.line("Nothing waits for a review." if not skipped else "No other review waits.")
            return FINE
        if not waiting:
            if not is_watching:
                screen.line("Waiting for the next …")
            is_watching = True
            time.sleep(0.5)
            continue
        is_watching = False
        record = waiting[0]
        screen.line()
        _show(screen, record, commands=False)
        done = _dialogue(screen, args, reviews, record)
        if done == "quit":
            return FINE
        if done == "skip":
            skipped.add(record.request.review_id)


def _asked_for(screen: Screen, args: argparse.Namespace, record: ReviewRecord, word: str) -> Decision | None:
    if word in ("a", "approve"):
        return _decision(args, record, "approve")
    if word in ("r", "reject"):
        args.reason = _ask("why (the model is told)? ")
        return _decision(args, record, "reject")
    if word in ("n", "answer"):
        args.value = _ask("answer (JSON or text)? ")
        return _decision(args, record, "answer")
    if word not in ("e", "edit"):
        screen.line(f"{word!r} is none of these." if word else "")
        return None
    args.set = []
    while setting := _ask("set (ARGUMENT=VALUE; empty when done): "):
        args.set.append(setting)
    if not args.set:
        return None
    decision = _decision(args, record, "edit")
    _difference(screen, record.request.payload, decision.value)
    return decision if _ask("run it so? [y/N] ").lower() in ("y", "yes") else None


def _ask(question: str) -> str:
    """Print a question on stdout, and return the answer. Raises EOFError at the end of the input, which decides nothing."""
    print(question, end="", flush=True)  # `input` may write its prompt to stderr
    return input().strip()


# -- output


def _list(args: argparse.Namespace, reviews: Reviews) -> int:
    states = _EVERY if args.all else _WAITING
    records = reviews.list(states=states, oldest_first=not args.all, limit=_MOST_LISTED)
    more = sum(reviews.count(state) for state in states) - len(records) if len(records) == _MOST_LISTED else 0
    if not args.all:  # an approved call is listed only if its program is gone: somebody has to resume it
        records = [record for record in records if record.state != "approved" or not record.is_waiting]
    if args.json:
        print_json(_as_json(records))
        return FINE
    screen = Screen(sys.stdout)
    if not records:
        screen.line("Nothing waits for a review.")
        return FINE
    now = time.time()
    rows = [
        (
            Cell(record.request.review_id),
            Cell(format_text.duration(max(now - record.request.asked_at, 0.0))),
            Cell(_state(record)),
            Cell(_call(record)),
        )
        for record in records
    ]
    screen.table(("REVIEW", "AGE", "STATE", "CALL"), rows, right=(1,))
    if more > 0:
        screen.line(f"… and {more:,} {'older' if args.all else 'newer'} ones")
    return FINE


def _state(record: ReviewRecord) -> str:
    if record.state == "proposed" and time.time() >= record.request.deadline and not record.is_waiting:
        return "expired"
    if record.state == "proposed":
        return "waits" if record.is_waiting else "waits, to be resumed"
    if record.state == "approved" and record.decision is not None and not record.is_waiting:
        return f"{record.decision.kind}, to be resumed"
    kind = record.decision.kind if record.decision is not None else record.state
    return record.state.replace("_", " ") if record.state != "approved" else kind


def _call(record: ReviewRecord) -> str:
    request = record.request
    return format_text.call(request.question, request.payload) if request.tool is not None else clean(request.question)


def _show(screen: Screen, record: ReviewRecord, *, commands: bool = True) -> None:
    """Print a review. ``commands``: those that decide it, unless a person is asked right away."""
    request = record.request
    screen.prose(clean(request.question), "bold")
    screen.labelled("  review   ", f"{request.review_id}  {_state(record)}")
    if request.reason:
        screen.labelled("  held     ", clean(request.reason))
    if request.trace_id:
        screen.labelled("  trace    ", f"llmtrace show {short_id(request.trace_id)}")
    if record.state == "proposed":
        seconds = max(request.deadline - time.time(), 0.0)
        screen.labelled("  expires  ", f"in {format_text.duration(seconds)}, and is denied then")
    _show_payload(screen, request)
    screen.labelled("  digest   ", request.digest)
    if record.state == "proposed" and commands:
        verbs = ("approve", "edit", "reject", "answer") if request.tool is not None else ("approve", "reject", "answer")
        for verb in verbs:
            screen.labelled("           ", f"llmtrace review {verb} {request.review_id}{_TAKES.get(verb, '')}", "cyan")
    if record.state != "proposed":
        screen.prose(_outcome(record), prefix="  ")
        if record.decision is not None and record.decision.kind == "edited":
            _difference(screen, request.payload, record.decision.value)
        if record.decision is not None and record.decision.kind == "answered":
            screen.labelled("  answer   ", json.dumps(record.decision.value, ensure_ascii=False))


def _show_payload(screen: Screen, request: ReviewRequest) -> None:
    payload = request.payload
    rows = payload.items() if isinstance(payload, dict) else [("", payload)] if payload is not None else []
    for name, value in rows:
        screen.labelled(f"  {clean(short(str(name), 24)) or 'shown'} = ", json.dumps(value, ensure_ascii=False))
        for origin in request.origins:
            if origin.pointer == f"/{name}" or origin.pointer.startswith(f"/{name}/"):
                screen.labelled("      ", f"{origin.status}: {clean(origin.text)}", "yellow")
        if f"/{name}" in request.hidden or any(place.startswith(f"/{name}/") for place in request.hidden):
            screen.labelled("      ", "hidden: what would run is not what is shown", "yellow")
    if request.tool is None and request.schema is not None:
        screen.labelled("  wants    ", f"an answer of the form {json.dumps(request.schema, ensure_ascii=False)}")
    if "" in request.hidden:
        screen.prose("The arguments are hidden: what would run is not shown.", "yellow", prefix="  ")


def _outcome(record: ReviewRecord) -> str:
    decision = record.decision
    if record.state == "in_doubt":
        return "The program died while the call ran. Did it take effect? llmtrace review settle ID --happened yes|no"
    if decision is None:
        return "The program does not wait for it any more."
    by, because = f" by {decision.by}" if decision.by else "", f": {decision.reason}" if decision.reason else ""
    ran = {"started": ", and runs", "done": ", and ran", "failed": ", and failed when it ran"}.get(record.state, "")
    return f"{decision.kind.replace('_', ' ')}{by}{ran}{because}"


def _difference(screen: Screen, before: JsonValue, after: JsonValue) -> None:
    old, new = (value if isinstance(value, dict) else {"": value} for value in (before, after))
    for name in dict.fromkeys((*old, *new)):
        if name in old and (name not in new or old[name] != new[name]):
            screen.prose(f"- {name} = {json.dumps(old[name], ensure_ascii=False)}", "red", prefix="  ")
        if name in new and (name not in old or old[name] != new[name]):
            screen.prose(f"+ {name} = {json.dumps(new[name], ensure_ascii=False)}", "green", prefix="  ")


def _as_json(records: list[ReviewRecord]) -> list[Any]:
    contents: list[Any] = json.loads(_records.dump_json(records))
    return contents


# -- resuming the program


def _resume(args: argparse.Namespace, reviews: Reviews) -> int:
    command = program(args.command, f"llmtrace review resume {args.id} -- python agent.py")
    record = reviews.get(args.id)
    request = record.request
    if not request.trace_id:
        raise BadInput(f"review {request.review_id} belongs to no recorded run, so that there is nothing to go on with.")
    args.trace = request.trace_id
    recording = load(args, may_be_empty=True)
    resumed = replace(
        recording.assignment(),
        permissions=Permissions(rest="all", programs=args.allow_program),
        live_after=CHANGE,
        resume=(request.review_id, request.digest),
    )
    if record.state in ("done", "failed") and not args.json:
        ended = f"The call of {request.question} has run{' and failed' if record.state == 'failed' else ''}"
        Screen(sys.stderr).prose(f"{ended}, so it does not run again. The program gets what came of it, and goes on.", "yellow")
    ran = run_replay(command, resumed)
    if args.json:
        print_json(ran._asdict())
    else:
        screen = Screen(sys.stderr)
        answered = format_text.plural(ran.served, "call")
        then = ", then for real" if ran.went_live is not None else ""
        screen.prose(f"{answered} answered from {short_id(request.trace_id)}{then}: trace {(ran.trace_id or '-')[:8]}")
        for divergence in ran.divergences:
            screen.prose(f"{divergence['kind']}: {divergence['what']}", "yellow", prefix="  ")
    return ran.exit_code if ran.exit_code >= 0 else BAD_INPUT
