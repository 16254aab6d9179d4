"""Runs a program as a replay, in a process of its own, and returns the outcome."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmtrace.errors import ConfigurationError
from llmtrace.launch import VARIABLE, environment
from llmtrace.launch.replayed import Assignment


class NothingToldError(ConfigurationError):
    """The program ended without a report: it recorded nothing, or could not start."""


SAME: Final = 0
DIVERGED: Final = 3
INCOMPARABLE: Final = 4
_CODES = {"same": SAME, "diverged": DIVERGED, "incomparable": INCOMPARABLE}


class ReplayedProgram(NamedTuple):
    code: int
    """`SAME`, `DIVERGED` or `INCOMPARABLE`."""
    exit_code: int
    """Exit code of the program itself."""
    served: int
    """Calls that were answered from the recording."""
    live: int
    """Calls that were made for real."""
    trace_id: str | None
    """The trace of the new run; None if it opened no span."""
    divergences: list[Mapping[str, Any]]
    """The fields of `llmtrace.playback.Divergence`."""
    went_live: Mapping[str, Any] | None
    """With ``live_after="change"``: the difference after which calls were made for real."""
    request: str | None = None
    """The HTTP body of the request that `Assignment.request_of` selects; None if no such request was made."""
    connections: tuple[str, ...] = ()
    """Servers that the program connected to outside of recorded calls, as `Assignment.connect` allows."""
    processes: int = 1
    """Processes of the program that replayed the run, each by itself."""
    printed: str = ""
    """The program's stderr, if it was not shown."""


def find_program(words: Sequence[str]) -> list[str]:
    """Return the command with the path of its program; a Python file is run by this Python. Raises `ConfigurationError`."""
    if words[0].endswith(".py") and Path(words[0]).is_file():
        return [sys.executable, *words]
    program = shutil.which(words[0])
    if program is None:
        raise ConfigurationError(f"no command {words[0]!r} was found")
    return [program, *words[1:]]


def run_replay(
    command: Sequence[str], assignment: Assignment, *, quiet: bool = False, timeout: float | None = None
) -> ReplayedProgram:
    """Start the program and wait for its end. The new run is recorded in ``assignment.into``.

    ``quiet``: do not show the program's output. ``timeout``: seconds until it is killed. Raises `ConfigurationError` if the
    program reported no replay, or did not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="llmtrace-replay-") as folder:
        report = Path(folder) / "report"
        variables = {**os.environ, **environment({}), VARIABLE: replace(assignment, report=str(report)).as_text()}
        if assignment.resume is None:
            replaying = {"LLMTRACE_STORE": assignment.into, "LLMTRACE_EXPORTERS": "", "LLMTRACE_UNATTENDED": "deny"}
            variables |= replaying
        try:
            process = subprocess.run(  # noqa: S603 - the user asked to run it
                list(command), env=variables, check=False, capture_output=quiet, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"the program did not end within {timeout:g} seconds and was killed") from None
        printed = process.stderr.decode(errors="replace").strip() if quiet else ""
        lines = report.read_text(encoding="utf-8").split("\n")[:-1] if report.exists() else []  # drop a cut last line
    if not lines:
        raise NothingToldError(
            f"the program ended (exit code {process.returncode}) and was not replayed: it recorded nothing, was "
            "killed, or runs with a Python that has no llmtrace.\nSee that it records: llmtrace run, with the same command"
            + (f"\n{printed[-2000:]}" if printed else "")
        )
    reports = [json.loads(line) for line in lines]
    return ReplayedProgram(
        max(_CODES[report["outcome"]] for report in reports),
        process.returncode,
        sum(report["served"] for report in reports),
        sum(report["live"] for report in reports),
        next((report["trace_id"] for report in reports if report["trace_id"]), None),
        [divergence for report in reports for divergence in report["divergences"]],
        next((report["went_live"] for report in reports if report["went_live"]), None),
        next((report["request"] for report in reports if report["request"] is not None), None),
        tuple(dict.fromkeys(server for report in reports for server in report["connections"])),
        len(reports),
        printed,
    )
