"""Runs a program as a replay, in a process of its own, and returns the outcome."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmtrace.errors import ConfigurationError
from llmtrace.launch import VARIABLE, environment
from llmtrace.launch.replayed import Assignment
from llmtrace.playback.no_network import network
from llmtrace.playback.player import outcome_of
from llmtrace.playback.progress import Progress


class NothingToldError(ConfigurationError):
    """The program ended without a report: it recorded nothing, or could not start."""


SAME: Final = 0
DIVERGED: Final = 3
INCOMPARABLE: Final = 4
KILLED: Final = 5
"""The program did the same up to where the recorded run was killed."""
_CODES = {"same": SAME, "killed": KILLED, "diverged": DIVERGED, "incomparable": INCOMPARABLE}
_GRACE_SECONDS = 3.0
"""Seconds that a program has to end after the replay was stopped, before its processes are ended."""
_LOOK_SECONDS = 0.05


class ReplayedProgram(NamedTuple):
    code: int
    """`SAME`, `KILLED`, `DIVERGED` or `INCOMPARABLE`."""
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
    """Servers that the program connected to outside of recorded calls, as it was allowed to."""
    programs: tuple[str, ...] = ()
    """Other programs that it started, as it was allowed to."""
    unclear: tuple[str, ...] = ()
    """Names of the answered calls that had an equal one at the same time, see `Progress.unclear`."""
    ran: Mapping[str, int] = {}
    """How often each tool ran for real, by name; and ``model calls``."""
    is_offline: bool = False
    """True if its processes had no network; else connections are refused that Python's own modules open."""
    is_ended: bool = False
    """True if its processes had to be ended, because it did not end by itself after the replay was stopped."""
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
    """Start the program and wait for its end. The new run is recorded in ``assignment.into``. After the first difference that
    is not served, its processes are ended if it does not end by itself.

    ``quiet``: do not show the program's output. ``timeout``: seconds until it is killed. Raises `ConfigurationError` if the
    program was not replayed, or did not end in time.
    """
    with tempfile.TemporaryDirectory(prefix="llmtrace-replay-") as folder:
        network_to_leave = "" if assignment.needs_network else network()
        assignment = replace(assignment, progress=str(Path(folder) / "progress"), network=network_to_leave)
        variables = {**os.environ, **environment({}), VARIABLE: assignment.as_text()}
        if assignment.resume is None:
            replaying = {"LLMTRACE_STORE": assignment.into, "LLMTRACE_EXPORTERS": "", "LLMTRACE_UNATTENDED": "deny"}
            variables |= replaying
        progress = Progress(Path(assignment.progress))
        with (Path(folder) / "printed").open("w+b") as file:
            shown = {} if not quiet else {"stdout": subprocess.DEVNULL, "stderr": file}
            process = subprocess.Popen(list(command), env=variables, **shown)  # type: ignore[call-overload]  # noqa: S603
            try:
                is_ended = _wait(process, progress, timeout)
            except subprocess.TimeoutExpired:
                raise ConfigurationError(f"the program did not end within {timeout:g} seconds and was killed") from None
            finally:
                _end(process, progress)
            file.seek(0)
            printed = file.read().decode(errors="replace").strip()
        progress.read()
        if progress.has_begun:
            assignment.player(progress).finish()
    if not progress.has_begun:
        raise NothingToldError(
            f"the program ended (exit code {process.returncode}) and was not replayed: it recorded nothing, was "
            "killed, or runs with a Python that has no llmtrace.\nSee that it records: llmtrace run, with the same command"
            + (f"\n{printed[-2000:]}" if printed else "")
        )
    return ReplayedProgram(
        _CODES[outcome_of(progress.divergences)],
        process.returncode,
        progress.served,
        sum(progress.ran.values()),
        progress.trace_id,
        [asdict(divergence) for divergence in progress.divergences],
        None if progress.went_live is None else asdict(progress.went_live),
        progress.request,
        tuple(progress.connections),
        tuple(progress.programs),
        tuple(progress.unclear),
        progress.ran,
        bool(network_to_leave) and not progress.is_online,
        is_ended,
        printed,
    )


def _wait(process: subprocess.Popen[bytes], progress: Progress, timeout: float | None) -> bool:
    """Wait for the program's end. Returns True if it had to be ended, because the replay was stopped and it went on."""
    began = time.monotonic()
    stopped: float | None = None
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            return False
        now = time.monotonic()
        if timeout is not None and now - began > timeout:
            raise subprocess.TimeoutExpired(process.args, timeout)
        if stopped is None and progress.read().stopped_by is not None:
            stopped = now
        if stopped is not None and now - stopped > _GRACE_SECONDS:
            return True


def _end(process: subprocess.Popen[bytes], progress: Progress) -> None:
    """End the program, and the Python processes that it left behind."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        process.kill()
        process.wait()
    with progress:
        progress.note("over")
    for process_id in progress.processes:
        with suppress(OSError, AttributeError):  # gone already; Windows has no sessions
            if process_id not in (process.pid, os.getpid()) and os.getsid(process_id) == os.getsid(0):  # else it is another's
                os.kill(process_id, signal.SIGKILL)
