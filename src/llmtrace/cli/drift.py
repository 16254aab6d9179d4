"""``llmtrace drift``: show what changed over many runs, since when, and what changed at the same time; manage baselines.

``DETECTS`` is the smallest change that the baseline can detect; if the baseline is too small, it shows what is missing. See
docs/explanation/drift.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from llmtrace.cli import format_stats, format_text
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, BadInput, positive, print_json, read_file
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Cell, Progress, Screen, short
from llmtrace.model.traces import short_id
from llmtrace.monitors import MINIMUM, RUNS_BEFORE, Block, Key, Report, reports
from llmtrace.monitors import baselines as learned
from llmtrace.store import Store, baselines
from llmtrace.store.local import LocalStore
from llmtrace.text.unsafe_characters import clean

NAME = "drift"
HELP = "show what changed over many runs, since when, and what else changed"
EXAMPLE = "llmtrace drift --since 7d"

_INDENT = "  "
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*#@"
_KEYS = 10
_WORD = 14
"""Maximum width of the word whose share is shown."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "baseline",
        nargs="*",
        metavar="baseline",
        help=f"baseline {'|'.join(ACTIONS)} [FILE]: manage the baselines to compare with",
    )
    parser.add_argument("--since", metavar="WHEN", type=since, help="only changes since: 30m, 2h, 7d, or 2026-01-31[T12:00]")
    parser.add_argument("--agent", metavar="NAME", help="only this agent or service")
    parser.add_argument("--changed", action="store_true", help="only what changed")
    parser.add_argument(
        "--text", choices=["table", "plot"], default="table", help="a line for each monitor, or its values over time"
    )
    parser.add_argument("--limit", metavar="N", type=positive, default=_KEYS, help=f"at most N keys (default: {_KEYS})")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        if args.baseline:
            return _act_on_baselines(store, args)
        with Progress("comparing runs"):
            followed = [report for report in reports(store.monitor_states()) if args.agent in (None, report.key.agent)]
    keys: dict[Key, list[Report]] = {}
    for report in followed:
        keys.setdefault(report.key, []).append(report)
    newest: dict[Key, int] = {}
    for key, key_reports in keys.items():
        changes = [change for report in key_reports for change in _changes(report, args.since)]
        newest[key] = max((int(change["since"]) for change in changes), default=0)
    if args.changed:
        keys = {key: key_reports for key, key_reports in keys.items() if newest[key]}
    shown = dict(sorted(keys.items(), key=lambda pair: (-newest[pair[0]], -pair[1][0].last))[: args.limit])
    if args.json:
        print_json({"keys": [_as_json(key, key_reports, args.since) for key, key_reports in shown.items()]})
        return FINE
    screen = Screen(sys.stdout)
    if not followed:
        of = f"No calls of {clean(args.agent)}: no agent or service with this name has a call" if args.agent else ""
        screen.line(of or "No calls of a model or tool yet. Try: llmtrace demo")
        return FINE
    every = [report for key_reports in keys.values() for report in key_reports]
    change_count = sum(len(_changes(report, args.since)) for report in every)
    screen.line(f"{format_text.plural(len(keys), 'key')}, {format_text.plural(change_count, 'change')}")
    few = sum(bool(missing(report)) for report in every)
    if few:
        screen.prose(
            f"Not enough data yet for {few:,} of {format_text.plural(len(every), 'monitor')}: each needs {MINIMUM} calls in"
            f" {RUNS_BEFORE} runs. What is missing is shown beside it.",
            "yellow",
        )
    for key, key_reports in shown.items():
        _key(screen, key, key_reports, args)
    if len(keys) > len(shown):
        screen.line(f"and {format_text.plural(len(keys) - len(shown), 'key')} more: --limit {len(keys)}", "dim")
    return FINE


def _changes(report: Report, after: int | None) -> list[Mapping[str, Any]]:
    return [change for change in report.changes if after is None or int(str(change["since"])) >= after]


def _as_json(key: Key, key_reports: list[Report], after: int | None) -> dict[str, Any]:
    streams = []
    for report in key_reports:
        shown = {name: getattr(report, name) for name in Report.__slots__ if name not in ("key", "history", "changes")}  # type: ignore[attr-defined]
        history = [block._asdict() for block in report.history]
        streams.append(shown | {"history": history, "changes": _changes(report, after)})
    return {"key": key._asdict(), "monitors": streams}


def _key(screen: Screen, key: Key, key_reports: list[Report], args: argparse.Namespace) -> None:
    screen.line()
    title = called(key)
    last = f"last {format_text.age(key_reports[0].last, time.time_ns())} ago"
    screen.spread(Cell(clean(title), ("bold",)), Cell(last, ("dim",)))
    if args.text == "plot":
        _plots(screen, key_reports, args)
    else:
        rows = [_row(screen, report) for report in key_reports]
        titles = ["CALLS", "USUAL", "DETECTS", "OVER TIME", "MEASURE"]
        screen.table(titles, rows, right=(0, 1, 2), prefix=_INDENT, spare=(3, 2))
    changes = sorted(
        (change for report in key_reports for change in _changes(report, args.since)), key=lambda change: int(change["since"])
    )
    for change in changes[-5:]:
        _change(screen, change)


def _row(screen: Screen, report: Report) -> list[Cell]:
    name = f"{report.noun.removeprefix('the ')}{' (pinned)' if report.pinned else ''}"
    detects = missing(report)
    if not detects and report.visible is not None:
        change = f"{report.visible - 1:+.0%}" if report.kind == "number" else f"{report.visible:.0%}"
        detects = change.replace("%", " %")
    course = Cell(_course(screen, report.history), ("yellow",) if report.changes else ())
    calls, level = Cell(format_text.count(report.calls)), Cell(_level(report, report.level))
    return [calls, level, Cell(detects, ("dim",)), course, Cell(name)]


def _level(report: Report, level: float | None) -> str:
    if level is None or report.kind == "shape":
        return format_text.UNKNOWN
    if report.kind == "share":
        return f"{level:.1%}".replace("%", " %") + ("" if report.word in ("", "yes") else f" {short(report.word, _WORD)}")
    if report.unit == "s":
        return format_text.duration(level)
    return f"{level:,.0f} {report.unit}" if level >= 10 else f"{level:.2g} {report.unit}"


def _course(screen: Screen, history: tuple[Block, ...]) -> str:
    """Return the history as a sparkline: one bar for every two blocks, scaled from the lowest to the highest level."""
    bars = _BARS if screen.unicode else _ASCII_BARS
    pairs = [history[at : at + 2] for at in range(0, len(history), 2)]
    levels = [sum(block.level * block.calls for block in pair) / sum(block.calls for block in pair) for pair in pairs]
    low, high = min(levels, default=0.0), max(levels, default=0.0)
    steps = len(bars) - 1
    return "".join(bars[round(steps * (level - low) / (high - low)) if high > low else 0] for level in levels)


def _plots(screen: Screen, key_reports: list[Report], args: argparse.Namespace) -> None:
    for report in key_reports:
        if report.kind == "shape" or not report.history:
            continue
        steady = len({round(block.level, 9) for block in report.history}) == 1
        remarks = [_level(report, report.history[0].level) + " all the time"] if steady else []
        remarks += [f"not enough data: {missing(report)}"] if missing(report) else []
        noun = clean(report.noun.removeprefix("the "))
        first, *rest = screen.wrapped(f"{noun}: {', '.join(remarks)}" if remarks else noun, 2 * len(_INDENT))
        screen.line(_INDENT + screen.paint(first[: len(noun)], "cyan") + first[len(noun) :])
        for line in rest:
            screen.line(2 * _INDENT + line)
        if steady:
            continue
        at = [int(change["since"]) for change in _changes(report, args.since)]
        rows = [(block, _level(report, block.level)) for block in report.history]
        for line in format_stats.course(screen, rows, at):
            screen.line(_INDENT + line)


def _change(screen: Screen, change: Mapping[str, Any]) -> None:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(int(change["since"]) // 1_000_000_000))
    causes = "; ".join(f"{cause['word']} changed {cause['before']} -> {cause['now']}" for cause in change["causes"])
    causes = clean(causes) or "no recorded change at the same time"
    screen.prose(f"! {when} UTC  {causes}: {clean(str(change['what']))}", "yellow", prefix=_INDENT)
    compared = f"from {format_text.plural(int(change['calls']), 'call')}, compared with {change['baseline']:,} before"
    summary = short(f"{compared}: llmtrace show {short_id(change['trace_id'])}", screen.width - 4)
    screen.line(f"    {summary}", "dim")


# -- baselines: show, pin, export, import and unpin what later calls are compared with


ACTIONS: Final = ("show", "pin", "unpin", "export", "import")

_SHOWN: Final = 5

Pins = Mapping[str, Mapping[str, Mapping[str, Any]]]


def _act_on_baselines(store: Store, args: argparse.Namespace) -> int:
    word, *rest = args.baseline
    if word != "baseline":
        raise BadInput(f"unknown argument {word!r}.\nUse llmtrace drift, or llmtrace drift baseline export FILE.")
    action, *files = rest or ["show"]
    if action not in ACTIONS:
        raise BadInput(f"unknown action {action!r} for baseline.\nUse one of: {', '.join(ACTIONS)}.")
    takes_file = action in ("export", "import")
    if len(files) != takes_file:
        raise BadInput(f"baseline {action} takes {'one file' if takes_file else 'no file'}.")
    if not isinstance(store, LocalStore):
        raise BadInput("baselines need a local store.\nName its folder with --store FOLDER.")
    if action == "export":
        _export_pins(_learned_pins(store, args.agent), files[0])
        _say_left_out(store, args.agent)
        return FINE
    if action == "pin":
        store.pin({**store.pins(), **_learned_pins(store, args.agent)})
        _say_left_out(store, args.agent)
    elif action == "import":
        store.pin({**store.pins(), **_chosen_pins(read_file(files[0], baselines.parse), args.agent)})
    elif action == "unpin":
        gone = _chosen_pins(store.pins(), args.agent)
        store.pin({name: streams for name, streams in store.pins().items() if name not in gone})
    _show_pins(store.pins(), as_json=args.json)
    return FINE


def _learned_pins(store: LocalStore, agent: str | None) -> Pins:
    pins = _chosen_pins(learned(store.monitor_states()), agent)
    if not pins:
        whose = "" if agent is None else f" of {agent!r}"
        needs = f"a monitor needs {format_text.plural(MINIMUM, 'call')} in {format_text.plural(RUNS_BEFORE, 'run')}"
        raise BadInput(f"no baseline{whose} yet: {needs}.\nSee llmtrace drift.")
    return pins


def _say_left_out(store: LocalStore, agent: str | None) -> None:
    """Print which monitors have no baseline yet, and what each key still needs."""
    keys: dict[Key, list[Report]] = {}
    for report in reports(store.monitor_states()):
        if missing(report) and agent in (None, report.key.agent):
            keys.setdefault(report.key, []).append(report)
    screen = Screen(sys.stderr)
    for key, lacking in [*keys.items()][:_SHOWN]:
        neediest = max(lacking, key=lambda report: (report.missing, report.missing_runs))
        nouns = ", ".join(report.noun.removeprefix("the ") for report in lacking)
        screen.prose(f"Not enough data yet, so left out: {called(key)}: {nouns} ({missing(neediest)})", "yellow")
    if len(keys) > _SHOWN:
        screen.prose(f"and of {format_text.plural(len(keys) - _SHOWN, 'key')} more: llmtrace drift", "yellow")


def missing(report: Report) -> str:
    """Return what a monitor still needs before it can find changes, or "" if it has enough."""
    if report.missing:
        return f"{format_text.plural(report.missing, 'call')} more"
    return f"{format_text.plural(report.missing_runs, 'run')} more" if report.missing_runs else ""


def called(key: Key) -> str:
    parts = key.agent, key.tool or key.operation, key.model, key.prompt and f"prompt {key.prompt[:8]}"
    return " · ".join(filter(None, parts))


def _chosen_pins(pins: Pins, agent: str | None) -> Pins:
    return {name: streams for name, streams in pins.items() if agent in (None, baselines.key(name).agent)}


def _export_pins(pins: Pins, path: str) -> None:
    text = baselines.text(pins)
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}.") from error


def _show_pins(pins: Pins, *, as_json: bool) -> None:
    if as_json:
        print_json([{"key": baselines.key(name)._asdict(), "monitors": sorted(streams)} for name, streams in pins.items()])
        return
    screen = Screen(sys.stdout)
    if not pins:
        screen.prose("No baseline is pinned: each key is compared with its own past.")
        return
    screen.line(f"{format_text.plural(len(pins), 'key')} with a pinned baseline")
    for name, streams in pins.items():
        parts = " · ".join(part for part in baselines.key(name) if part)
        screen.prose(f"{parts}: {format_text.plural(len(streams), 'monitor')}", prefix="  ")
