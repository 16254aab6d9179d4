"""``llmtrace doctor``: check whether tracing works in this environment, and say how to fix what does not.

It looks at options, the store, library versions, other instrumentors, the other package called ``llmtrace``, and a
TracerProvider whose ids can repeat, and lists the quality signals. The exit code is 1 if it finds a problem. An installed
library that is too old is a problem if the program uses it (``--import`` and LLMTRACE_INSTRUMENT say so), else a note.
"""

from __future__ import annotations

import argparse
import platform
import sys

from llmtrace.cli import doctor_checks, doctor_vllm, format_text
from llmtrace.cli.options import FINE, FOUND, add_import, import_all, print_json
from llmtrace.cli.terminal import Screen, Style, pad
from llmtrace.version import __version__

NAME = "doctor"
HELP = "find problems that keep tracing from working, and how to fix them"
EXAMPLE = "llmtrace doctor --json"

_WIDE = 60
"""Smallest screen width at which a text is shown beside its subject."""
_STYLES: dict[str, Style] = {"ok": "green", "note": "yellow", "wrong": "red"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = f"{HELP.capitalize()}. Exit code 1 if something is wrong."
    add_import(parser)
    parser.add_argument(
        "--vllm",
        metavar="URL",
        help="test this vLLM server with one request: does it join traces, and which flags are missing?",
    )


def run(args: argparse.Namespace) -> int:
    import_all(args.imports)
    findings = (
        doctor_checks.everything(args.store) if args.vllm is None else list(doctor_vllm.everything(args.vllm, args.store))
    )
    wrong = sum(finding.status == "wrong" for finding in findings)
    if args.json:
        print_json(
            {
                "version": __version__,
                "python": platform.python_version(),
                "findings": [finding._asdict() for finding in findings],
            }
        )
    else:
        _show(Screen(sys.stdout), findings, wrong)
    return FOUND if wrong else FINE


def _show(screen: Screen, findings: list[doctor_checks.Finding], wrong: int) -> None:
    room = 22 if screen.width >= _WIDE else 4
    screen.prose(f"llmtrace {__version__} on Python {platform.python_version()}, {platform.system()} ({sys.executable})")
    screen.line()
    for finding in findings:
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
        screen.paint(f"{format_text.plural(wrong, 'problem')} to fix", "red", "bold")
        if wrong
        else screen.paint("no problems", "green")
    )
