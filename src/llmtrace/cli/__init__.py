"""The command line. One command is one module of this folder, and the folder is the registry.

A command's module states ``NAME = "…"``, ``HELP = "…"`` (one line) and ``EXAMPLE = "…"`` at the left margin, and has
``configure(parser)``, which adds its arguments, and ``run(args) -> int``, which does its work and gives the exit code.
``--json``, ``--store`` and ``--help`` are added here.

Law: ``llmtrace --help`` loads no command; a command is loaded when it is called, with what it needs.
"""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import os
import pkgutil
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from llmtrace.cli.options import BAD_INPUT, FINE, FOUND, PIPE_CLOSED, STOPPED, BadInput, add_common, did_you_mean
from llmtrace.cli.paint import Screen, clean
from llmtrace.cli.usage import EXAMPLE, Formatter
from llmtrace.errors import DiagnosisFailed, LlmtraceError
from llmtrace.version import __version__


class Command(NamedTuple):
    name: str
    help: str
    module: str


_SELDOM = (100_000, 50, 100)
"""When the garbage collector looks: a long trace is millions of objects that stay."""
_NAMED = 11
"""Columns of the overview that a command's name takes."""
_STATED = re.compile(r'^(NAME|HELP) = "(.*)"$', re.MULTILINE)


def commands() -> dict[str, Command]:
    """Every command by name, read from the text of the modules, since loading them all would take half a second."""
    found = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        spec = module.module_finder.find_spec(module.name, None)
        source = spec.loader.get_source(module.name) if spec is not None else None  # type: ignore[union-attr]
        stated = dict(_STATED.findall(source or ""))
        if "NAME" in stated:
            found[stated["NAME"]] = Command(stated["NAME"], stated.get("HELP", ""), module.name)
    return found


def parser_of(command: Command) -> tuple[argparse.ArgumentParser, Any]:
    """The command's parser and its module, which is loaded by this."""
    module = importlib.import_module(command.module)
    parser = argparse.ArgumentParser(
        prog=f"llmtrace {command.name}",
        description=f"{command.help[:1].upper()}{command.help[1:]}.",
        epilog=f"{EXAMPLE}{module.EXAMPLE}",
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    add_common(parser)
    parser.set_defaults(parser=parser)
    return parser, module


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Raises SystemExit where argparse does, and where a traced program does."""
    words = list(sys.argv[1:] if argv is None else argv)
    known = commands()
    if not words or words[0] in ("-h", "--help", "help"):
        return _guarded(lambda: _overview(known), "llmtrace")
    if words[0] in ("-V", "--version"):
        print(f"llmtrace {__version__}")
        return FINE
    command = known.get(words[0])
    if command is None:
        return _refuse("llmtrace", _unknown(words, known))
    if argv is None and command.name != "run":  # the process is ours, and no program's
        gc.set_threshold(*_SELDOM)
    return _guarded(lambda: _call(command, words[1:]), f"llmtrace {command.name}")


def _unknown(words: list[str], known: dict[str, Command]) -> str:
    """What is wrong with a line whose first word is no command."""
    named = next((word for word in words if word in known), None)
    if not words[0].startswith("-"):
        return f"no command {words[0]!r}.{did_you_mean(words[0], known)} See llmtrace --help."
    if named is None:
        return f"{words[0]} stands where a command is expected; options stand after it. See llmtrace --help."
    at = words.index(named)
    return f"options stand after the command.\nTry: llmtrace {shlex.join([named, *words[:at], *words[at + 1 :]])}"


def _call(command: Command, words: Sequence[str]) -> int:
    parser, module = parser_of(command)
    args = parser.parse_args(words)
    code: int = module.run(args)
    if "later" in args:  # what is done once everything is shown
        _flush()
        args.later()
    return code


def _flush() -> None:
    if sys.stdout is not None and not sys.stdout.closed:  # a program that was run may have closed it
        sys.stdout.flush()


def _overview(known: dict[str, Command]) -> int:
    screen = Screen(sys.stdout)
    screen.prose("llmtrace: see what an LLM agent did, what was wrong, and where it began.")
    screen.line()
    screen.line("usage: llmtrace COMMAND [options]")
    screen.line("       llmtrace COMMAND --help")
    screen.line()
    for command in known.values():
        first, *rest = screen.wrapped(command.help, _NAMED)
        screen.line(f"  {screen.paint(command.name.ljust(8), 'bold')} {first}")
        for line in rest:
            screen.line(" " * _NAMED + line)
    screen.line()
    screen.prose("Start with llmtrace demo. Every command takes --json and --store.")
    return FINE


def _guarded(work: Any, name: str) -> int:
    """Run ``work``; errors that are the user's to mend become one message, Ctrl-C and a closed pipe are quiet."""
    try:
        code: int = work()
        _flush()
    except BrokenPipeError:
        _abandon_stdout()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _abandon_stdout()
        return _refuse(name, f"cannot write the output: {error.strerror}.")
    except KeyboardInterrupt:
        return STOPPED
    except (BadInput, LlmtraceError) as error:
        return _refuse(name, str(error), FOUND if isinstance(error, DiagnosisFailed) else BAD_INPUT)
    return code


def _abandon_stdout() -> None:
    """The interpreter flushes stdout once more at exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(name: str, message: str, code: int = BAD_INPUT) -> int:
    screen = Screen(sys.stderr)
    first, *rest = message.splitlines() or [""]
    screen.line(screen.paint(f"{name}: ", "red", "bold") + clean(first))
    for line in rest:
        screen.line("  " + clean(line))
    return code
