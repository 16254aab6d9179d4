"""``llmtrace doctor``: whether tracing will work here, and for whatever will not, what to do."""

from __future__ import annotations

import argparse
import platform
import sys

from llmtrace.cli import examine, examine_vllm, words
from llmtrace.cli.importing import add_import, import_all
from llmtrace.cli.options import FINE, FOUND, print_json
from llmtrace.cli.paint import Screen, Style, pad
from llmtrace.version import __version__

NAME = "doctor"
HELP = "look for what keeps tracing from working, and say what to do"
EXAMPLE = "llmtrace doctor --json"

_WIDE = 60
"""Columns from which on what is said stands beside what it is about."""
_STYLES: dict[str, Style] = {"ok": "green", "note": "yellow", "wrong": "red"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{HELP.capitalize()}. Exit code 1 if something is wrong."
    add_import(parser)
    parser.add_argument(
        "--vllm", metavar="URL", help="ask this vLLM server, by one request, whether it joins traces, and which flags it lacks"
    )


def run(args: argparse.Namespace) -> int:
    import_all(args.imports)
    found = examine.everything(args.store) if args.vllm is None else list(examine_vllm.everything(args.vllm, args.store))
    wrong = sum(finding.status == "wrong" for finding in found)
    if args.json:
        print_json({"version": __version__, "python": platform.python_version(), "findings": [one._asdict() for one in found]})
    else:
        _show(Screen(sys.stdout), found, wrong)
    return FOUND if wrong else FINE


def _show(screen: Screen, found: list[examine.Finding], wrong: int) -> None:
    room = 22 if screen.width >= _WIDE else 4
    screen.prose(f"llmtrace {__version__} on Python {platform.python_version()}, {platform.system()} ({sys.executable})")
    screen.line()
    for finding in found:
        mark = screen.paint(pad(finding.status, 6), _STYLES[finding.status], *(("bold",) if finding.status == "wrong" else ()))
        lines = screen.wrapped(finding.text, room)
        beside = lines.pop(0) if room > 14 else ""
        screen.line(f"{mark} {pad(finding.about, 14)} {beside}")
        for line in lines:
            screen.line(" " * room + line)
        if finding.advice:
            for number, line in enumerate(screen.wrapped(finding.advice, room + 2)):
                screen.line(" " * room + screen.paint(("→ " if number == 0 else "  ") + line, "bold"))
    screen.line()
    screen.line(
        screen.paint(f"{words.plural(wrong, 'thing')} to mend", "red", "bold")
        if wrong
        else screen.paint("nothing is wrong", "green")
    )
