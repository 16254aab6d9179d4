"""``llmtrace drift``: what changed over many runs, for each key, since when, and what changed with it; baselines to ship."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from llmtrace.cli import plots, words
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, BadInput, positive, print_json
from llmtrace.cli.paint import Cell, Screen, clean, short
from llmtrace.cli.pinning import ACTIONS, act, called, missing
from llmtrace.cli.stores import opened
from llmtrace.monitors import MINIMUM, RUNS_BEFORE, Block, Key, Report, reports

NAME = "drift"
HELP = "what changed over runs, since when, and what changed with it"
EXAMPLE = "llmtrace drift --since 7d"

_INDENT = "  "
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*#@"
_KEYS = 10
_WORD = 14
"""Columns for the word whose share is told."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "baseline",
        nargs="*",
        metavar="baseline",
        help=f"baseline {'|'.join(ACTIONS)} [FILE]: the baselines that are compared with",
    )
    parser.add_argument("--since", metavar="WHEN", type=since, help="only changes since: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--agent", metavar="NAME", help="only what this agent or service does")
    parser.add_argument("--changed", action="store_true", help="only what changed")
    parser.add_argument(
        "--text", choices=["table", "plot"], default="table", help="a line for each monitor, or its course over time"
    )
    parser.add_argument("--limit", metavar="N", type=positive, default=_KEYS, help=f"at most N keys (default: {_KEYS})")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        if args.baseline:
            if args.baseline[0] != "baseline":
                raise BadInput(
                    f"{args.baseline[0]!r} is not known here.\nSay llmtrace drift, or llmtrace drift baseline export FILE."
                )
            return act(store, args)
        found = [one for one in reports(store.monitor_states()) if args.agent in (None, one.key.agent)]
    keys: dict[Key, list[Report]] = {}
    for one in found:
        if one.key in keys or not args.changed or any(_changes(own, args.since) for own in found if own.key == one.key):
            keys.setdefault(one.key, []).append(one)
    shown = dict(sorted(keys.items(), key=lambda pair: (-_newest(pair[1], args.since), -pair[1][0].last))[: args.limit])
    if args.json:
        print_json({"keys": [_as_json(key, own, args.since) for key, own in shown.items()]})
        return FINE
    screen = Screen(sys.stdout)
    if not found:
        of = f"Nothing of {clean(args.agent)} is followed: it is no agent or service with a call" if args.agent else ""
        screen.line(of or "Nothing is followed yet: there is no call of a model or tool. Try: llmtrace demo")
        return FINE
    changes = sum(len(_changes(one, args.since)) for own in keys.values() for one in own)
    screen.line(f"{words.plural(len(keys), 'key')}, {words.plural(changes, 'change')}")
    every = [one for own in keys.values() for one in own]
    few = sum(bool(missing(one)) for one in every)
    if few:
        screen.prose(
            f"Not enough data yet for {few:,} of {words.plural(len(every), 'monitor')}: each needs {MINIMUM} calls in"
            f" {RUNS_BEFORE} runs. What is missing stands beside it.",
            "yellow",
        )
    for key, own in shown.items():
        _key(screen, key, own, args)
    if len(keys) > len(shown):
        screen.line(screen.paint(f"and {words.plural(len(keys) - len(shown), 'key')} more: --limit {len(keys)}", "dim"))
    return FINE


def _changes(one: Report, after: int | None) -> list[Mapping[str, Any]]:
    return [change for change in one.changes if after is None or int(str(change["since"])) >= after]


def _newest(own: Iterable[Report], after: int | None) -> int:
    return max((int(change["since"]) for one in own for change in _changes(one, after)), default=0)


def _as_json(key: Key, own: list[Report], after: int | None) -> dict[str, Any]:
    streams = []
    for one in own:
        shown = {name: getattr(one, name) for name in Report.__slots__ if name not in ("key", "history", "changes")}  # type: ignore[attr-defined]
        history = [block._asdict() for block in one.history]
        streams.append(shown | {"history": history, "changes": _changes(one, after)})
    return {"key": key._asdict(), "monitors": streams}


def _key(screen: Screen, key: Key, own: list[Report], args: argparse.Namespace) -> None:
    screen.line()
    title = called(key)
    last = f"last {words.age(own[0].last, time.time_ns())} ago"
    screen.spread(Cell(clean(title), ("bold",)), Cell(last, ("dim",)))
    if args.text == "plot":
        _plots(screen, own, args)
    else:
        rows = [_row(screen, one) for one in own]
        titles = ["CALLS", "LEVEL", "WOULD SEE", "COURSE", "OF"]
        for line in screen.table(titles, rows, right=(0, 1, 2), prefix=_INDENT, spare=(3, 2)):
            screen.line(_INDENT + line)
    changes = sorted((change for one in own for change in _changes(one, args.since)), key=lambda one: int(one["since"]))
    for change in changes[-5:]:
        _change(screen, change)


def _row(screen: Screen, one: Report) -> list[Cell]:
    moved = ("yellow",) if one.changes else ()
    name = f"{one.noun.removeprefix('the ')}{' (pinned)' if one.pinned else ''}"
    course = _course(screen, one.history)
    return [
        Cell(words.count(one.calls)),
        Cell(_level(one, one.level)),
        Cell(_sees(one), ("dim",)),
        Cell(course, moved),  # type: ignore[arg-type]
        Cell(name),
    ]


def _sees(one: Report) -> str:
    if missing(one):
        return missing(one)
    if one.visible is None:
        return ""
    return (f"{one.visible - 1:+.0%}" if one.kind == "number" else f"{one.visible:.0%}").replace("%", " %")


def _level(one: Report, level: float | None) -> str:
    if level is None or one.kind == "shape":
        return words.UNKNOWN
    if one.kind == "share":
        return f"{level:.1%}".replace("%", " %") + ("" if one.word in ("", "yes") else f" {short(one.word, _WORD)}")
    if one.unit == "s":
        return words.duration(level)
    return f"{level:,.0f} {one.unit}" if level >= 10 else f"{level:.2g} {one.unit}"


def _course(screen: Screen, history: tuple[Block, ...]) -> str:
    """One character for each two blocks, at most 16, from the lowest to the highest level."""
    bars = _BARS if screen.unicode else _ASCII_BARS
    pairs = [history[at : at + 2] for at in range(0, len(history), 2)]
    levels = [sum(block.level * block.calls for block in pair) / sum(block.calls for block in pair) for pair in pairs]
    low, high = min(levels, default=0.0), max(levels, default=0.0)
    steps = len(bars) - 1
    return "".join(bars[round(steps * (level - low) / (high - low)) if high > low else 0] for level in levels)


def _plots(screen: Screen, own: list[Report], args: argparse.Namespace) -> None:
    for one in own:
        if one.kind == "shape" or not one.history:
            continue
        steady = len({round(block.level, 9) for block in one.history}) == 1
        said = [_level(one, one.history[0].level) + " all the time"] if steady else []
        said += [f"not enough data: {missing(one)}"] if missing(one) else []
        noun = clean(one.noun.removeprefix("the "))
        first, *rest = screen.wrapped(f"{noun}: {', '.join(said)}" if said else noun, 2 * len(_INDENT))
        screen.line(_INDENT + screen.paint(first[: len(noun)], "cyan") + first[len(noun) :])
        for line in rest:
            screen.line(2 * _INDENT + line)
        if steady:
            continue
        at = [int(change["since"]) for change in _changes(one, args.since)]
        rows = [(block, _level(one, block.level)) for block in one.history]
        for line in plots.course(screen, rows, at):
            screen.line(_INDENT + line)


def _change(screen: Screen, change: Mapping[str, Any]) -> None:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(int(change["since"]) // 1_000_000_000))
    causes = "; ".join(_cause(one) for one in change["causes"]) or "nothing that is recorded changed with it"
    screen.prose(f"! {when} UTC  {causes}: {clean(str(change['what']))}", "yellow", prefix=_INDENT)
    told = f"told by {words.plural(int(change['calls']), 'call')} against {change['baseline']:,} before"
    screen.line(
        _INDENT + "  " + screen.paint(short(f"{told}: llmtrace show {change['trace_id'][:8]}", screen.width - 4), "dim")
    )


def _cause(one: Mapping[str, Any]) -> str:
    return clean(f"{one['word']} changed {one['before']} -> {one['now']}")
