"""``llmtrace why``: where a run went wrong. The suspects of one trace, each with its evidence and the way to the answer."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import words
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.paint import Cell, Screen
from llmtrace.cli.show import headline
from llmtrace.cli.stores import opened
from llmtrace.diagnosis import Diagnosis, Step, Suspect, diagnose
from llmtrace.model import JsonValue, Trace

NAME = "why"
HELP = "say where a run went wrong: suspects, evidence, and the way to the answer"
EXAMPLE = "llmtrace why last"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--top", metavar="N", type=positive, default=3, help="how many suspects to show (default: 3)")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = store.trace(args.trace)
    diagnosis = diagnose(trace)
    if args.json:
        print_json(words.as_json(diagnosis))
    else:
        show(Screen(sys.stdout), trace, diagnosis, top=args.top)
    return FINE


def show(screen: Screen, trace: Trace, diagnosis: Diagnosis, *, top: int) -> None:
    """The diagnosis as text, its ``top`` first suspects."""
    headline(screen, trace)
    screen.line()
    if not diagnosis.suspects:
        screen.line("No suspect: nothing in this trace was invalid, failed, or came from nowhere.")
    for number, suspect in enumerate(diagnosis.suspects[:top], 1):
        _suspect(screen, number, suspect)
    hidden = len(diagnosis.suspects) - top
    if hidden > 0:
        screen.line(screen.paint(f"{hidden} more with --top {len(diagnosis.suspects)}", "dim"))
    for unknown in diagnosis.unknown:
        screen.prose(f"Not visible: {unknown}", "yellow")


def _suspect(screen: Screen, number: int, suspect: Suspect) -> None:
    screen.spread(Cell(f"{number}. {suspect.title}", ("bold",)), Cell(f"suspicion {suspect.score:.0%}", ("dim",)))
    screen.prose(suspect.evidence, prefix="   ")
    screen.line()
    for position, step in enumerate(suspect.chain):
        _step(screen, step, first=position == 0, last=position == len(suspect.chain) - 1)
    if suspect.chain:
        screen.line()
    screen.prose(f"What to do: {suspect.advice}", "green", prefix="   ")
    screen.line()


def _step(screen: Screen, step: Step, *, first: bool, last: bool) -> None:
    """One step of the way back from the answer. The arrow says: this came from the next."""
    mark = "   " if first else " ← "
    style = ("red", "bold") if last else ("bold",)
    screen.line("  " + mark + screen.paint(step.title, *style))
    if step.value is not None:
        screen.item(Cell(""), _text(step.value), "cyan", prefix="     ", gap=2)
    if step.note:
        screen.prose(step.note, *(("red",) if last else ("dim",)), prefix="       ")


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else words.value(value)
