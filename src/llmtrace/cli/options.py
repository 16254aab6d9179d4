"""Options, exit codes, argparse types and JSON output that all commands share.

Law: bad input gets one message on stderr that says what is wrong, where, and what to do, and exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from llmtrace.text.unsafe_characters import escape_json

N = TypeVar("N", int, float)
T = TypeVar("T")

FINE, FOUND, BAD_INPUT, CHANGED, NOT_JUDGED, STOPPED, PIPE_CLOSED = 0, 1, 2, 3, 4, 130, 141
EXIT_CODES = {
    FINE: "done",
    FOUND: "done, and something is wrong (`check`, `doctor`); or llmtrace itself failed",
    BAD_INPUT: "bad input; the message says what is wrong, where, and what to do",
    CHANGED: "the run differs from the recorded one (`replay`), or something has changed (`verify`, `canary`)",
    NOT_JUDGED: "nothing could be judged (`check`) or compared (`replay`, `verify`, `canary`)",
    STOPPED: "stopped by Ctrl-C",
    PIPE_CLOSED: "the reader of the output closed it (`llmtrace ls | head -1`)",
}


class BadInput(Exception):
    """Ends the command with exit code 2. The message says what is wrong, where, and what to do."""


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--store", metavar="URL", help="folder or URL of the store (default: LLMTRACE_STORE, or your data folder)"
    )


def print_json(content: Any) -> None:
    """Print one JSON document on stdout."""
    print(json_text(content, indent=2))


def json_text(content: Any, *, indent: int | None = None) -> str:
    """Return JSON for stdout: no character in it can control a terminal, or hide or reorder other text.

    Other non-ASCII characters are escaped, too, unless the encoding of stdout is UTF-8.
    """
    encoding = sys.stdout.encoding if isinstance(sys.stdout, io.TextIOBase) else ""
    readable = (encoding or "").lower().replace("-", "") == "utf8"
    return escape_json(json.dumps(content, ensure_ascii=not readable, indent=indent))


def did_you_mean(name: str, names: Iterable[str], written: Callable[[str], str] = str) -> str:
    """Return a hint with the name that is most like ``name``; "" if none is. ``written``: writes that name for the user."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.55)
    return f" Did you mean {' or '.join(map(written, near))}?" if near else ""


def number_type(read: Callable[[str], N], is_right: Callable[[N], bool], expected: str) -> Callable[[str], N]:
    """Return an argparse type for numbers.

    ``read``: parses the text, and raises ValueError if it is not a number. ``expected``: names the accepted numbers in
    messages.
    """

    def parse(text: str) -> N:
        with contextlib.suppress(ValueError):
            if is_right(value := read(text)):
                return value
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")

    return parse


positive = number_type(int, lambda value: value > 0, "a whole number above 0")
share = number_type(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")
port = number_type(int, lambda value: 0 <= value <= 65535, "a port from 0 to 65535")


def read_file(path: str, parse: Callable[[str], T]) -> T:
    """Parse the text of a file with ``parse``; ``-`` is stdin. Raises BadInput, also if ``parse`` raises ValueError."""
    try:
        return parse(sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}.") from None
    except ValueError as error:
        raise BadInput(f"{path} cannot be used: {error}.") from None


def is_http(url: str) -> bool:
    """True for an ``http://`` or ``https://`` URL with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def add_repeated(parser: argparse.ArgumentParser, option: str, metavar: str | None, text: str, **more: Any) -> None:
    """Add an option that may be given several times. Its values become a list. ``text``: its help text."""
    parser.add_argument(option, metavar=metavar, action="append", default=[], help=text, **more)


def add_import(parser: argparse.ArgumentParser) -> None:
    text = "import this module first, for the quality signals that it registers"
    add_repeated(parser, "--import", "MODULE", text, dest="imports")


def import_all(names: list[str]) -> None:
    """Import modules, also from the working folder. Raises BadInput if one cannot be imported."""
    working_folder = os.getcwd()
    if names and working_folder not in sys.path:
        sys.path.insert(0, working_folder)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a user's module may raise anything
            raise BadInput(
                f"cannot import {name}: {type(error).__name__}: {error}.\nGive a module's name, as in --import my.agent."
            ) from error
