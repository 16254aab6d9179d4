"""``llmtrace completion``: print a script that completes commands, options and files in a shell.

The script is made by shtab from the commands' own parsers, so it holds all of them, those of this version. Needs
``pip install "llmtrace-otel[completion]"`` to make the script; the script itself needs nothing and starts no Python.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from llmtrace import cli
from llmtrace.cli.options import FINE, BadInput, print_json

NAME = "completion"
HELP = "print a script that completes commands and options in your shell"
EXAMPLE = 'eval "$(llmtrace completion bash)"'

SHELLS = ("bash", "zsh", "fish")
_FILES = ("file", "program", "FILE", "TRACE|FILE", "CEILINGS")
"""Names and metavars of the arguments that are files."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", nargs="?", choices=SHELLS, help="default: the one that SHELL names")


def run(args: argparse.Namespace) -> int:
    try:
        import shtab  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise BadInput('one more package is needed.\nInstall it: pip install "llmtrace-otel[completion]"') from None
    shell = args.shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise BadInput(f"which shell? SHELL names none of {', '.join(SHELLS)}.\nTry: llmtrace completion bash")
    script = shtab.complete(_whole_parser(shtab.FILE), shell=shell)
    if args.json:
        print_json({"shell": shell, "script": script})
    else:
        print(script)
    return FINE


def _whole_parser(file: Any) -> argparse.ArgumentParser:
    """Return one parser that has all commands below it. ``file``: what shtab calls a file's name."""
    whole = argparse.ArgumentParser(prog="llmtrace")
    below = whole.add_subparsers()
    for command in cli.commands().values():
        parser, _ = cli.parser_of(command)
        for action in parser._actions:
            if not action.choices and {action.dest, action.metavar} & {*_FILES}:
                action.complete = file  # type: ignore[attr-defined]
        below.add_parser(command.name, help=command.help, parents=[parser], add_help=False, prog=parser.prog)
    return whole
