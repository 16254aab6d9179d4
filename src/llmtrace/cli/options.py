"""Options, exit codes, argparse types and JSON output that all commands share.

Law: bad input gets one message on stderr that says what is wrong, where, and what to do, and exit code 2.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import sys
from collections.abc import Iterable
from typing import Any

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
    """The message says what is wrong, where, and what to do. It ends the command with exit code 2."""


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--store", metavar="URL", help="folder or URL of the store (default: LLMTRACE_STORE, or your data folder)"
    )


def print_json(content: Any) -> None:
    """Print one JSON document on stdout. Non-ASCII characters are escaped unless the encoding is UTF-8."""
    encoding = sys.stdout.encoding if isinstance(sys.stdout, io.TextIOBase) else ""
    readable = (encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(content, ensure_ascii=not readable, indent=2))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.55)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def positive(text: str) -> int:
    """An argparse type: a whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number <= 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return number


def share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return number


def port(text: str) -> int:
    """An argparse type: a port number, or 0."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return number
