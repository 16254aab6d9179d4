"""Runs a command inside this process and returns what it printed, for the MCP server."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Sequence

from llmtrace import cli
from llmtrace.cli.options import BAD_INPUT
from llmtrace.mcp_server.reading_tools import Answer

_one_at_a_time = threading.Lock()
"""stdout and stderr belong to the whole process."""


def run_captured(words: Sequence[str]) -> Answer:
    """Run a command. Raises what a bug in it raises."""
    out, err = io.StringIO(), io.StringIO()
    with _one_at_a_time, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(words)
        except SystemExit as stopped:  # argparse refused the words
            code = stopped.code if isinstance(stopped.code, int) else BAD_INPUT
    return Answer(code, out.getvalue(), err.getvalue())
