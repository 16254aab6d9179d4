"""``llmtrace drift baseline``: show, pin, export, import and unpin the baselines that later calls are compared with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, print_json, read_file
from llmtrace.cli.terminal import Screen
from llmtrace.monitors import MINIMUM, RUNS_BEFORE, Key, Report, reports
from llmtrace.monitors import baselines as learned
from llmtrace.store import Store, baselines
from llmtrace.store.local import LocalStore

ACTIONS: Final = ("show", "pin", "unpin", "export", "import")

_SHOWN: Final = 5

Pins = Mapping[str, Mapping[str, Mapping[str, Any]]]


def act(store: Store, args: argparse.Namespace) -> int:
    action, *files = args.baseline[1:] or ["show"]
    if action not in ACTIONS:
        raise BadInput(f"unknown action {action!r} for baseline.\nUse one of: {', '.join(ACTIONS)}.")
    if len(files) != (action in ("export", "import")):
        raise BadInput(f"baseline {action} takes {'one file' if action in ('export', 'import') else 'no file'}.")
    if not isinstance(store, LocalStore):
        raise BadInput("baselines need a local store.\nName its folder with --store FOLDER.")
    if action == "export":
        _export(_some(_chosen(learned(store.monitor_states()), args.agent), args.agent), files[0])
        _say_left_out(store, args.agent)
        return FINE
    if action == "pin":
        store.pin({**store.pins(), **_some(_chosen(learned(store.monitor_states()), args.agent), args.agent)})
        _say_left_out(store, args.agent)
    elif action == "import":
        store.pin({**store.pins(), **_chosen(read_file(files[0], baselines.parse), args.agent)})
    elif action == "unpin":
        gone = _chosen(store.pins(), args.agent)
        store.pin({name: streams for name, streams in store.pins().items() if name not in gone})
    _show(store.pins(), as_json=args.json)
    return FINE


def _some(pins: Pins, agent: str | None) -> Pins:
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
    for key, short in [*keys.items()][:_SHOWN]:
        neediest = max(short, key=lambda report: (report.missing, report.missing_runs))
        nouns = ", ".join(report.noun.removeprefix("the ") for report in short)
        screen.prose(f"Not enough data yet, so left out: {called(key)}: {nouns} ({missing(neediest)})", "yellow")
    if len(keys) > _SHOWN:
        screen.prose(f"and of {format_text.plural(len(keys) - _SHOWN, 'key')} more: llmtrace drift", "yellow")


def missing(report: Report) -> str:
    """What a monitor still needs before it can find changes; empty if it has enough."""
    if report.missing:
        return f"{format_text.plural(report.missing, 'call')} more"
    return f"{format_text.plural(report.missing_runs, 'run')} more" if report.missing_runs else ""


def called(key: Key) -> str:
    parts = key.agent, key.tool or key.operation, key.model, key.prompt and f"prompt {key.prompt[:8]}"
    return " · ".join(filter(None, parts))


def _chosen(pins: Pins, agent: str | None) -> Pins:
    return {name: streams for name, streams in pins.items() if agent in (None, baselines.key(name).agent)}


def _export(pins: Pins, path: str) -> None:
    text = baselines.text(pins)
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}.") from error


def _show(pins: Pins, *, as_json: bool) -> None:
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
