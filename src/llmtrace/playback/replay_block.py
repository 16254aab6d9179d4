"""Runs a replay in this process: `replay`, a ``with`` block."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, ReplayDiverged
from llmtrace.model import Trace
from llmtrace.model.traces import short_id
from llmtrace.playback.network_guard import no_network
from llmtrace.playback.player import Replay
from llmtrace.playback.recorded_run import RecordedRun, find_checkpoint
from llmtrace.recorder import active
from llmtrace.recorder.player import use_player
from llmtrace.semconv import CHECKPOINT
from llmtrace.store import Store, open_store

ToolPolicy: TypeAlias = Literal["recorded", "live"]


@contextmanager
def replay(
    trace: Trace | str | os.PathLike[str] = "last",
    *,
    tools: Mapping[str, ToolPolicy] | None = None,
    loose: bool = False,
    live_after: str | None = None,
    connect: Collection[str] = (),
) -> Iterator[Replay]:
    """Answer every call that the block makes from a recorded run: of models, and of tools. Nothing is sent anywhere.

    ``trace``: a trace, its id (or the first digits of it) in the configured store, ``"last"`` (default), or the path of a file
    that `llmtrace export` wrote. ``tools``: ``{"refund": "live"}`` runs that tool's body; default, all
    are answered from the recording. ``loose``: answer a request that is not the recorded one, too, and note the difference.
    ``live_after``: id of the recorded span, or name of the `checkpoint`, after which calls are made for real (`checkpoint`
    returns the recorded state there); or ``"change"``: from the first call on that has no recorded answer. ``connect``:
    servers, as ``HOST:PORT``, that the program may connect to outside of recorded calls (an MCP server); default, none.

    ``with replay() as replayed:`` gives ``served`` and ``live``, numbers of calls, and ``divergences``, each with ``kind``,
    ``what``, ``where``, ``span_id`` and ``is_served``.

    The program has called `configure` before. At the end of the block, `ReplayDiverged` is raised if the program did something
    else than the recorded one, or did not do all of it. Raises `ConfigurationError` for a wrong option, `TraceNotFound`,
    `UnreadableStore`, and `StateUnavailable` where the state of the checkpoint was not kept.
    """
    for name, policy in (tools or {}).items():
        if policy not in ("recorded", "live"):
            raise ConfigurationError(f"replay(tools={{{name!r}: {policy!r}}}): expected 'recorded' or 'live'")
    if active() is None:
        raise ConfigurationError("llmtrace.replay(): call llmtrace.configure() before, so that the calls are seen")
    recorded, key = load_trace(trace)
    if live_after is not None and any(span.attributes.get(CHECKPOINT) == live_after for span in recorded.spans):
        live_after = find_checkpoint(recorded, live_after).span_id
    live_tools = [name for name, policy in (tools or {}).items() if policy == "live"]
    run = RecordedRun([recorded])
    player = Replay(run, key=key, loose=loose, live_tools=live_tools, live_after=live_after, connect=connect)
    before = use_player(player)
    try:
        with no_network(player.refuse_network):
            yield player
    finally:
        use_player(before)
    player.finish()
    failed = [divergence for divergence in player.divergences if not divergence.is_served]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise ReplayDiverged(f"replay of {short_id(recorded.trace_id)}: {failed[0].what}{more}", kind=failed[0].kind)


def load_trace(trace: Trace | str | os.PathLike[str]) -> tuple[Trace, bytes | None]:
    """A trace that ``trace`` names as in `replay`, and the secret of its store. Raises `TraceNotFound`, `UnreadableStore`."""
    if isinstance(trace, Trace):
        return trace, None
    path = Path(trace)
    is_file = path.is_file()
    recorder = active()
    own = None if recorder is None or is_file else next((sink for sink in recorder.sinks if isinstance(sink, Store)), None)
    if own is not None:
        own.flush()
        return own.trace(str(trace)), key_of(own)
    with open_store(str(path) if is_file else Config.read().store) as store:
        return store.trace("last" if is_file else str(trace)), key_of(store)


def key_of(store: Store) -> bytes | None:
    """The secret with which the digests in a store were made; None for a file, which has none."""
    return store.replay_key() if store.folder is not None else None
