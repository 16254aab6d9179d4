"""Runs a replay in this process (`replay`), or continues a run from a checkpoint (`resume`) or a review (`resume_review`)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, ReplayDiverged
from llmtrace.guards.review_settings import resuming, review_settings
from llmtrace.model import Custom, JsonValue, Trace
from llmtrace.model.traces import short_id
from llmtrace.playback.difference import Loose
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.player import CHANGE, Replay
from llmtrace.playback.recorded_run import RecordedRun, find_checkpoint
from llmtrace.playback.ways_out import guarded
from llmtrace.recorder import active
from llmtrace.recorder.player import use_player
from llmtrace.semconv import CHECKPOINT
from llmtrace.store import Store, open_store

ToolPolicy: TypeAlias = Literal["recorded", "live", "after"]
"""Of a tool in a replay: its recorded result is given; its body runs; or its body may run where the record has ended."""


@contextmanager
def replay(
    trace: Trace | str | os.PathLike[str] = "last",
    *,
    tools: Mapping[str, ToolPolicy] | None = None,
    loose: Loose = False,
    live_after: str | None = None,
    connect: Collection[str] = (),
    programs: Collection[str] = (),
) -> Iterator[Replay]:
    """Answer every model call and tool call of the block from a recorded run. What is not named below is refused.

    ``trace``: a trace, its id (or the first digits of it) in the configured store, ``"last"`` (default), or the path of a file
    that `llmtrace export` wrote. ``tools``: ``{"search": "live"}`` runs that tool's body, ``{"refund": "after"}`` lets it run
    after ``live_after``; by default all are answered from the recording, or refused. ``loose``: also answer a request that
    differs from the recorded one, and note the difference (``"prompts"``: only a model's request that differs in system prompts
    and descriptions of tools). ``live_after``: id of the recorded span, or name of the
    `checkpoint`, after which models are asked for real (`checkpoint` returns the recorded state there); or ``"change"``: from
    the first call without a recorded answer. ``connect``: servers, as ``HOST:PORT``, that the program may connect to outside of
    recorded calls (an MCP server); default, none. ``programs``: names of programs that it may start; default, none.

    ``with replay() as replayed:`` gives ``served`` and ``live``, numbers of calls, and ``divergences``, each with ``kind``,
    ``what``, ``where``, ``span_id`` and ``is_served``.

    Call `configure` before. At the end of the block, `ReplayDiverged` is raised if the program did not do exactly what the
    recorded one did. Raises `ConfigurationError` for a wrong option, `TraceNotFound`, `UnreadableStore`, and `StateUnavailable`
    if the state of the checkpoint was not kept.
    """
    if active() is None:
        raise ConfigurationError("llmtrace.replay(): call llmtrace.configure() before, so that the calls are seen")
    permissions = permissions_of(tools or {}, connect, programs)
    with replaying(trace, permissions, loose=loose, live_after=live_after) as player:
        yield player


def permissions_of(
    tools: Mapping[str, ToolPolicy], connect: Collection[str] = (), programs: Collection[str] = ()
) -> Permissions:
    """Return what the options of `replay` allow. Raises `ConfigurationError` for a wrong policy."""
    for name, policy in tools.items():
        if policy not in ("recorded", "live", "after"):
            raise ConfigurationError(f"replay(tools={{{name!r}: {policy!r}}}): expected 'recorded', 'live' or 'after'")
    live, after = ([name for name, policy in tools.items() if policy == wanted] for wanted in ("live", "after"))
    return Permissions(live, after, "named", tuple(connect), tuple(programs), how_to_allow='tools={{"{}": "live"}}')


@contextmanager
def replaying(
    trace: Trace | str | os.PathLike[str],
    permissions: Permissions,
    *,
    loose: Loose = False,
    live_after: str | None = None,
    compares_outputs: bool = True,
) -> Iterator[Replay]:
    """Do what `replay` does, with these permissions."""
    recorded, key = load_trace(trace)
    if live_after is not None and any(span.attributes.get(CHECKPOINT) == live_after for span in recorded.spans):
        live_after = find_checkpoint(recorded, live_after).span_id
    player = Replay(
        RecordedRun([recorded]), permissions, key=key, loose=loose, live_after=live_after, compares_outputs=compares_outputs
    )
    before = use_player(player)
    try:
        with guarded(player.guard()):
            yield player
    finally:
        use_player(before)
    player.finish()
    failed = [divergence for divergence in player.divergences if not divergence.is_served]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise ReplayDiverged(f"replay of {short_id(recorded.trace_id)}: {failed[0].what}{more}", kind=failed[0].kind)


def resume(trace: Trace | str | os.PathLike[str] = "last", name: str | None = None) -> JsonValue:
    """Return the state of a checkpoint of a recorded run, as JSON: ``Order.model_validate(llmtrace.resume("last"))``.

    ``trace``: a trace, its id (or the first digits of it) in the configured store, ``"last"`` (default), or the path of a file
    that ``llmtrace export`` wrote. ``name``: of the checkpoint; of several, the last is used. By default, the last one whose
    state passed its check or had none. Nothing runs and nothing is recorded.

    Raises `StateUnavailable` if there is no such checkpoint or its state was redacted, cut or not kept, `TraceNotFound`,
    `UnreadableStore`.
    """
    operation = find_checkpoint(load_trace(trace)[0], name).operation
    return operation.arguments if isinstance(operation, Custom) else None


@contextmanager
def resume_review(review_id: str, *, from_recording: bool = True, programs: Collection[str] = ()) -> Iterator[None]:
    """Run the program again in the block: the held call gets the decision that was made, and later calls are made for real. A
    review that nobody has decided yet goes on waiting.

    ``review_id``: of a `ReviewPending`. ``from_recording``: answer everything before that call from the record of the run, so
    that nothing is asked or done twice. Use False for a program that has kept its messages and only runs the held call again
    (``tools.run(message)``; calls of that message which ran before would run a second time, so leave them out).

    ``programs``: names of programs that it may start before the held call, too; by default they are refused there, since they
    would do again what they did.

    Call `configure` before, with the store that keeps the review. Raises `ReviewConflict` for an unknown id,
    `ConfigurationError`, and `TraceNotFound` if the run is not recorded. In the block, `ReplayDiverged` is raised if something
    before the held call cannot be answered from the record: the program acts differently, or an answer was redacted.
    """
    if active() is None:
        raise ConfigurationError("llmtrace.resume_review(): call llmtrace.configure() before, with the store of the review")
    request = review_settings().reviews.get(review_id).request
    with ExitStack() as stack:
        stack.enter_context(resuming(request.review_id, request.digest))
        if from_recording:
            stack.enter_context(
                replaying(request.trace_id, Permissions(rest="all", programs=tuple(programs)), live_after=CHANGE)
            )
        yield


def load_trace(trace: Trace | str | os.PathLike[str]) -> tuple[Trace, bytes | None]:
    """Load the trace that ``trace`` names as in `replay`, and the secret of its store. Raises `TraceNotFound`,
    `UnreadableStore`."""
    if isinstance(trace, Trace):
        return trace, None
    path = Path(trace)
    is_file = path.is_file()
    recorder = active()
    active_store = None if recorder is None or is_file else recorder.store
    if active_store is not None:
        active_store.flush()
        return active_store.trace(str(trace)), key_of(active_store)
    with open_store(str(path) if is_file else Config.read().store) as store:
        return store.trace("last" if is_file else str(trace)), key_of(store)


def key_of(store: Store) -> bytes | None:
    """Return the secret with which the digests in a store were made, or None for a file, which has none."""
    return store.replay_key() if store.folder is not None else None
