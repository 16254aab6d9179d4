"""Replays a recorded run in a Python process that ``llmtrace replay`` started, and in each Python process that this one starts.

The command passes the assignment in a variable. What happens is noted in the replay's file of progress at once.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from llmtrace.config import Config
from llmtrace.errors import ReplayDiverged
from llmtrace.guards.review_settings import expect
from llmtrace.launch import PATH, VARIABLE
from llmtrace.playback import RecordedRun, Replay
from llmtrace.playback.difference import Loose
from llmtrace.playback.edit import Edit, apply
from llmtrace.playback.no_network import leave_network, network
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.progress import Progress
from llmtrace.playback.replay_block import key_of
from llmtrace.playback.ways_out import guarded
from llmtrace.recorder.player import use_player
from llmtrace.runtime import record_only_into
from llmtrace.store import open_store

_until_the_end = ExitStack()
"""Blocks that stay open until the process ends."""

INHERITED = (VARIABLE, "LLMTRACE_STORE", "LLMTRACE_EXPORTERS", "LLMTRACE_UNATTENDED")
"""Variables that a child process of the program needs to take part in the replay."""


@dataclass(frozen=True)
class Assignment:
    """The replay of a program, for each of its processes."""

    store: str
    """URL of the store that holds the recording."""
    traces: list[str]
    """Ids: of the trace to replay, then of those that the same program made beside it."""
    into: str
    """URL of the store in which the new run is recorded."""
    progress: str = ""
    """The file in which the processes note what happens, see `Progress`."""
    permissions: Permissions = field(default_factory=Permissions)
    network: str = ""
    """The network that the processes leave before they begin, see `no_network`; "": they stay in it."""
    loose: Loose = False
    compares_outputs: bool = True
    live_after: str | None = None
    edit: Sequence[Any] | None = None
    """The fields of an `Edit`."""
    request_of: str | None = None
    """Id of the recorded span whose new request is to be noted."""
    resume: Sequence[str] | None = None
    """Id and digest of the review with which a run goes on for real. The run is then recorded in the program's own store, not
    in ``into``."""

    @property
    def needs_network(self) -> bool:
        """True if something may run for real that may connect to a server."""
        return self.permissions.needs_network or self.live_after is not None or self.resume is not None

    def as_text(self) -> str:
        """Return the value of `VARIABLE`."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Assignment:
        fields = json.loads(text)
        return cls(**{**fields, "permissions": Permissions(**fields["permissions"])})

    def player(self, progress: Progress) -> Replay:
        """Return the player of the recorded run. Raises `LlmtraceError` if the recording cannot be read."""
        with open_store(self.store, config=Config.read(store=self.store)) as store:
            run = RecordedRun([store.trace(trace_id) for trace_id in self.traces])
            key = key_of(store)
        if self.edit is not None:
            apply(run, Edit(*self.edit))
        return Replay(
            run,
            self.permissions,
            key=key,
            loose=self.loose,
            compares_outputs=self.compares_outputs,
            live_after=self.live_after,
            request_of=self.request_of,
            progress=progress,
        )


def start() -> None:
    """Begin the assignment of this process, if it has one. Raises if the recording cannot be read: a program that runs for real
    instead of a replay would be worse."""
    text = os.environ.get(VARIABLE)
    if not text:
        return
    assignment = Assignment.read(text)
    progress = Progress(Path(assignment.progress))
    player = assignment.player(progress)
    if assignment.network and assignment.network == network() and not leave_network():
        with progress:
            progress.note("online")
    _take_part(progress)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _take_part(progress))
    if assignment.resume is None:
        record_only_into(assignment.into)
    else:
        expect(*assignment.resume)
    use_player(player)
    _until_the_end.enter_context(guarded(player.guard(VARIABLE)))
    _pass_on()
    _end_workers_quietly()
    hook = sys.excepthook

    def end_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _is_divergence(error):  # the command reports divergences itself
            hook(kind, error, trace)

    sys.excepthook = end_quietly


def _take_part(progress: Progress) -> None:
    with progress:
        if progress.is_over:  # a worker that was being started while the processes of the replay were ended
            os._exit(1)
        progress.note("process", os.getpid())


def _end_workers_quietly() -> None:
    """Let a worker of `multiprocessing` that differs end without a traceback: the command reports the difference."""
    run = BaseProcess.run

    @functools.wraps(run)
    def run_quietly(this: BaseProcess) -> None:
        try:
            run(this)
        except BaseException as error:
            if not _is_divergence(error):
                raise
            sys.exit(1)

    BaseProcess.run = run_quietly  # type: ignore[method-assign, assignment]


def _pass_on() -> None:
    """Let Python processes that the program starts with an environment of their own take part, too, as an MCP server does."""
    begin = subprocess.Popen.__init__

    @functools.wraps(begin)
    def __init__(this: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        env = kwargs.get("env")
        if env is not None:
            inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
            paths = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path and path != PATH]
            kwargs["env"] = {**env, **inherited, "PYTHONPATH": os.pathsep.join([PATH, *paths])}
        begin(this, *args, **kwargs)

    subprocess.Popen.__init__ = __init__  # type: ignore[method-assign, assignment]


def _is_divergence(error: BaseException) -> bool:
    inner = getattr(error, "exceptions", None)  # of an exception group
    return isinstance(error, ReplayDiverged) if inner is None else all(map(_is_divergence, inner))
