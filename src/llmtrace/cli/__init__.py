"""The command line. Each command is a module of this folder. A module with a ``NAME`` is a command; nothing else lists them.

A command's module has ``NAME = "…"``, ``HELP = "…"`` (one line) and ``EXAMPLE = "…"`` at the left margin, a function
``configure(parser)`` that adds its arguments, and ``run(args) -> int``, which does the work and returns the exit code.
``--json``, ``--store`` and ``--help`` are added by this module. If a command's module has ``TAKES_COMMAND = True``, the words
after ``--`` are another program's command line: ``args.command``, a list.

Law: ``llmtrace --help`` imports no command; a command is imported when it is called.
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
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn, Protocol, cast

from llmtrace.cli.options import BAD_INPUT, FINE, FOUND, PIPE_CLOSED, STOPPED, BadInput, add_common, did_you_mean, json_text
from llmtrace.cli.terminal import Screen
from llmtrace.errors import DiagnosisFailed, LlmtraceError
from llmtrace.text.unsafe_characters import clean
from llmtrace.version import __version__


class Command(NamedTuple):
    name: str
    help: str
    module: str


USAGE = """\
`llmtrace COMMAND` or `python -m llmtrace COMMAND`. Every command takes `--json` (print JSON; later versions may add keys; an
error is one JSON object on stderr), `--store URL` (default: LLMTRACE_STORE, else your data folder; see
docs/explanation/store.md) and `--help`.

Name a trace by its id, by four or more of its first digits, or by `last`. A time is `30m`, `2h`, `7d`, `4w`, `2026-01-31` or
`2026-01-31T12:00`. `NO_COLOR`, `FORCE_COLOR` and `COLUMNS` set colour and width.
"""
"""Rules for all commands, for the reference in the docs."""
_SELDOM = (100_000, 50, 100)
"""Thresholds of the garbage collector, so that it runs seldom: a long trace has millions of objects that stay alive."""
_NAMED = 15
"""Width of the column of names in the overview."""
_STATED = re.compile(r'^(NAME|HELP) = "(.*)"$', re.MULTILINE)


def commands() -> dict[str, Command]:
    """Return every command by name. They are read from the source text: importing all modules would take half a second."""
    commands_by_name = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        spec = module.module_finder.find_spec(module.name, None)
        source = spec.loader.get_source(module.name) if spec is not None else None  # type: ignore[union-attr]
        stated = dict(_STATED.findall(source or ""))
        if "NAME" in stated:
            commands_by_name[stated["NAME"]] = Command(stated["NAME"], stated.get("HELP", ""), module.name)
    return commands_by_name


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one message, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{self._plain(message)} See {self.prog} --help.")

    def _plain(self, message: str) -> str:
        """Return argparse's message in our form: what is wrong, and what is expected."""
        kind, _, what = message.partition(": ")
        if kind == "unrecognized arguments":
            unknown = what.split()[0].partition("=")[0]
            if not unknown.startswith("-"):
                return f"unexpected argument {what}."
            names = {name.lstrip("-"): name for name in self._option_string_actions}
            return f"unknown option {unknown}.{did_you_mean(unknown.lstrip('-'), names, names.__getitem__)}"
        if kind == "the following arguments are required":
            return f"{what} is missing, as in: {(self.epilog or '').removeprefix(EXAMPLE)}."
        choice = _INVALID_CHOICE.fullmatch(message)
        if choice:
            return f"{choice[1]}expected one of {choice[3].replace(chr(39), '')}, got {choice[2]}."
        return f"{message}."


class _Formatter(argparse.HelpFormatter):
    """argparse's formatter. It does not break an example, so that it can be pasted."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLE) else super()._fill_text(text, width, indent)


EXAMPLE = "example: "
_INVALID_CHOICE = re.compile(r"(.*: )invalid choice: ('.*') \(choose from (.*)\)", re.DOTALL)


class CommandModule(Protocol):
    """The members of a command's module. See this module's docstring."""

    EXAMPLE: str

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


def parser_of(command: Command) -> tuple[argparse.ArgumentParser, CommandModule]:
    """Import a command's module. Returns its parser and the module."""
    module = cast("CommandModule", importlib.import_module(command.module))
    parser = _Parser(
        prog=f"llmtrace {command.name}",
        description=f"{command.help[:1].upper()}{command.help[1:]}.",
        epilog=f"{EXAMPLE}{module.EXAMPLE}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    add_common(parser)
    parser.set_defaults(parser=parser)
    return parser, module


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises SystemExit if argparse or a traced program does."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands_by_name = commands()
    if not words or words[0] in ("-h", "--help", "help"):
        return _guarded(lambda: _overview(commands_by_name), "llmtrace")
    if words[0] in ("-V", "--version"):
        print(f"llmtrace {__version__}")
        return FINE
    command = commands_by_name.get(words[0])
    if command is None:
        return _refuse("llmtrace", _unknown(words, commands_by_name))
    if argv is None and command.name != "run":  # `run` executes a program in this process: leave its collector alone
        gc.set_threshold(*_SELDOM)
    asked = argparse.Namespace(json="--json" in words)  # until the words are parsed
    return _guarded(lambda: _call(command, words[1:], asked), f"llmtrace {command.name}", asked)


def _unknown(words: list[str], commands_by_name: dict[str, Command]) -> str:
    """Return the error message for a first word that is not a command."""
    named = next((word for word in words if word in commands_by_name), None)
    if not words[0].startswith("-"):
        return f"unknown command {words[0]!r}.{did_you_mean(words[0], commands_by_name)} See llmtrace --help."
    if named is None:
        return f"expected a command before {words[0]}. Options come after the command. See llmtrace --help."
    at = words.index(named)
    return f"options come after the command.\nTry: llmtrace {shlex.join([named, *words[:at], *words[at + 1 :]])}"


def _call(command: Command, words: Sequence[str], asked: argparse.Namespace) -> int:
    parser, module = parser_of(command)
    words, command_line = split(module, words)
    args = parser.parse_args(words)
    asked.json = args.json
    args.command = command_line
    code = module.run(args)
    if "later" in args:  # slow work that the user need not wait for: see `stores.opened`
        _flush()
        args.later()
    return code


def split(module: CommandModule, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a command's own arguments, and the command line of another program after ``--`` if the command takes one."""
    at = words.index("--") if getattr(module, "TAKES_COMMAND", False) and "--" in words else len(words)
    return [*words[:at]], [*words[at + 1 :]]


def _flush() -> None:
    if sys.stdout is not None and not sys.stdout.closed:  # `llmtrace run` may have executed a program that closed it
        sys.stdout.flush()


def _overview(commands_by_name: dict[str, Command]) -> int:
    screen = Screen(sys.stdout)
    screen.prose("llmtrace: see what an LLM agent did, what went wrong, and where it started.")
    screen.line()
    screen.line("usage: llmtrace COMMAND [options]")
    screen.line("       llmtrace COMMAND --help")
    screen.line()
    for command in commands_by_name.values():
        first, *rest = screen.wrapped(command.help, _NAMED)
        screen.line(f"  {screen.paint(command.name.ljust(_NAMED - 3), 'bold')} {first}")
        for line in rest:
            screen.line(" " * _NAMED + line)
    screen.line()
    screen.prose("Start with llmtrace demo. Every command takes --json and --store.")
    return FINE


def _guarded(work: Callable[[], int], name: str, asked: argparse.Namespace | None = None) -> int:
    """Run ``work``, and return its exit code. An error that the user can fix becomes one message on stderr: a JSON object where
    ``asked.json``. Ctrl-C and a closed pipe are silent."""
    try:
        code = work()
        _flush()
    except BrokenPipeError:
        _abandon_stdout()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):  # stdout is a file on a full or broken disk
            raise
        _abandon_stdout()
        return _refuse(name, f"cannot write the output: {error.strerror}.", asked=asked)
    except KeyboardInterrupt:
        return STOPPED
    except (BadInput, LlmtraceError) as error:
        return _refuse(name, str(error), FOUND if isinstance(error, DiagnosisFailed) else BAD_INPUT, asked)
    return code


def _abandon_stdout() -> None:
    """Redirect stdout to the null device, because the interpreter flushes it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(name: str, message: str, code: int = BAD_INPUT, asked: argparse.Namespace | None = None) -> int:
    if asked is not None and asked.json:
        print(json_text({"error": message, "command": name, "exit_code": code}), file=sys.stderr)
        return code
    screen = Screen(sys.stderr)
    first, *rest = message.splitlines() or [""]
    screen.line(screen.paint(f"{name}: ", "red", "bold") + clean(first))
    for line in rest:
        screen.line("  " + clean(line))
    return code
