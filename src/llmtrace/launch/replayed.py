"""Replays a recorded run in a Python process that ``llmtrace replay`` started.

The command passes the assignment in a variable, and reads the report from a file when the program has ended.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from llmtrace.config import Config
from llmtrace.errors import ReplayDiverged
from llmtrace.guards.review_settings import expect
from llmtrace.launch import VARIABLE
from llmtrace.playback import RecordedRun, Replay
from llmtrace.playback.edit import Edit, apply
from llmtrace.playback.network_guard import no_network
from llmtrace.playback.player import outcome_of
from llmtrace.playback.replay_block import key_of
from llmtrace.recorder.player import use_player
from llmtrace.runtime import record_only_into
from llmtrace.store import open_store

_until_the_end = ExitStack()
"""Blocks that stay open until the process ends."""


@dataclass(frozen=True)
class Assignment:
    """The replay of a process."""

    store: str
    """URL of the store that holds the recording."""
    traces: list[str]
    """Ids: of the trace to replay, then of those that the same process made beside it."""
    into: str
    """URL of the store in which the new run is recorded."""
    report: str = ""
    """The file to which the process adds a line of JSON when it ends."""
    live_tools: list[str] = field(default_factory=list)
    loose: bool = False
    live_after: str | None = None
    may_run: list[str] | None = None
    edit: Sequence[Any] | None = None
    """The fields of an `Edit`."""
    connect: list[str] = field(default_factory=list)
    request_of: str | None = None
    """Id of the recorded span whose new request is to be in the report."""
    resume: Sequence[str] | None = None
    """Id and digest of the review with which a run goes on for real. The run is then recorded in the program's own store, not
    in ``into``."""

    def as_text(self) -> str:
        """Return the value of `VARIABLE`."""
        return json.dumps(asdict(self))


def start() -> None:
    """Begin the assignment of this process, if it has one. Raises if the recording cannot be read: a program that runs for real
    instead of a replay would be worse."""
    text = os.environ.get(VARIABLE)
    if not text:
        return
    assignment = Assignment(**json.loads(text))
    with open_store(assignment.store, config=Config.read(store=assignment.store)) as store:
        run = RecordedRun([store.trace(trace_id) for trace_id in assignment.traces])
        key = key_of(store)
    if assignment.edit is not None:
        apply(run, Edit(*assignment.edit))
    player = Replay(
        run,
        key=key,
        loose=assignment.loose,
        live_tools=assignment.live_tools,
        live_after=assignment.live_after,
        may_run=assignment.may_run,
        request_of=assignment.request_of,
        connect=assignment.connect,
    )
    if assignment.resume is None:
        record_only_into(assignment.into)
    else:
        expect(*assignment.resume)
    use_player(player)
    _until_the_end.enter_context(no_network(player.refuse_network))
    hook = sys.excepthook

    def end_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _is_divergence(error):  # the command reports divergences itself
            hook(kind, error, trace)

    sys.excepthook = end_quietly
    atexit.register(_report, player, Path(assignment.report))


def _is_divergence(error: BaseException) -> bool:
    inner = getattr(error, "exceptions", None)  # of an exception group
    return isinstance(error, ReplayDiverged) if inner is None else all(map(_is_divergence, inner))


def _report(player: Replay, path: Path) -> None:
    """Write the outcome for the command. A process that made no call and recorded no span writes nothing."""
    if not player.has_begun:
        return
    player.finish()
    line = {
        "outcome": outcome_of(player.divergences),
        "served": player.served,
        "live": player.live,
        "trace_id": player.trace_id,
        "divergences": [asdict(divergence) for divergence in player.divergences],
        "went_live": None if player.went_live is None else asdict(player.went_live),
        "connections": player.connections,
        "request": None if player.request is None else player.request.decode(errors="replace"),
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
