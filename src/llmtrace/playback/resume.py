"""`resume`: the state of a checkpoint, so that a program can go on from it."""

from __future__ import annotations

import os

from llmtrace.model import Custom, JsonValue, Trace
from llmtrace.playback.checkpoints import find_checkpoint
from llmtrace.playback.replay_block import load_trace


def resume(trace: Trace | str | os.PathLike[str] = "last", name: str | None = None) -> JsonValue:
    """Return the state of a checkpoint of a recorded run, as JSON: ``Order.model_validate(llmtrace.resume("last"))``.

    ``trace``: a trace, its id (or the first digits of it) in the configured store, ``"last"`` (default), or the path of a file
    that ``llmtrace export`` wrote. ``name``: of the checkpoint, of several the last; default, the last one whose state passed
    its check or had none. Nothing runs and nothing is recorded.

    Raises `StateUnavailable` if there is no such checkpoint or its state was redacted, cut or not kept, `TraceNotFound`,
    `UnreadableStore`.
    """
    operation = find_checkpoint(load_trace(trace)[0], name).operation
    return operation.arguments if isinstance(operation, Custom) else None
