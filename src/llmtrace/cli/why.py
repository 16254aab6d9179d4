"""``llmtrace why``: where a run went wrong. The suspects of one trace, each with its evidence and the way to the answer."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import words
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.paint import Cell, Screen, Style, short
from llmtrace.cli.show import headline
from llmtrace.cli.stores import opened, trace_of
from llmtrace.diagnosis import LIKELY, Diagnosis, Step, Suspect, diagnose
from llmtrace.model import Trace

NAME = "why"
HELP = "say where a run went wrong: suspects, evidence, the way to the answer"
EXAMPLE = "llmtrace why last"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--top", metavar="N", type=positive, default=3, help="how many suspects to show (default: 3)")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = trace_of(store, args.trace)
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
    if not diagnosis.suspects and diagnosis.unknown:
        screen.prose("No suspect in what is visible here; the rest cannot be judged.")
    elif not diagnosis.suspects:
        screen.prose("No suspect: nothing in this trace was invalid, failed, or came from nowhere.")
    elif diagnosis.suspects[0].score < LIKELY:
        screen.prose("Nothing here is likely to have done harm. What is a little suspect:")
        screen.line()
    for number, suspect in enumerate(diagnosis.suspects[:top], 1):
        _suspect(screen, number, suspect)
    hidden = len(diagnosis.suspects) - top
    if hidden > 0:
        screen.line(screen.paint(f"{hidden} more with --top {len(diagnosis.suspects)}", "dim"))
    for unknown in diagnosis.unknown:
        screen.prose(f"Not visible: {unknown}", "yellow")


def _suspect(screen: Screen, number: int, suspect: Suspect) -> None:
    screen.spread(Cell(f"{number}. {suspect.title}", ("bold",)), Cell(f"suspicion {suspect.score:.2f}", ("dim",)))
    screen.prose(suspect.evidence, prefix="   ")
    screen.line()
    for position, step in enumerate(suspect.chain):
        _step(screen, step, first=position == 0, last=position == len(suspect.chain) - 1)
    if suspect.chain:
        screen.line()
    screen.prose(f"What to do: {suspect.advice}", "green", prefix="   ")
    screen.line()


def _step(screen: Screen, step: Step, *, first: bool, last: bool) -> None:
    """One step of the way back from the outcome. The arrow says: this came from the next one down."""
    prefix = "     " if first else "   ← "
    style: tuple[Style, ...] = ("red", "bold") if last else ("bold",)
    screen.line(screen.paint(prefix, "dim") + screen.paint(short(_worded(step), screen.room(prefix)), *style))
    if step.note:
        screen.prose(step.note, "red" if last else "dim", prefix="       ")


def _worded(step: Step) -> str:
    """A call as a call, an argument with its value, an answer with its words."""
    if step.value is None:
        return step.title
    if step.title.startswith("argument "):
        return f"{step.title} = {words.value(step.value)}"
    if isinstance(step.value, dict):
        return words.call(step.title, step.value)
    return f"{step.title}: {step.value if isinstance(step.value, str) else words.value(step.value)}"
