"""`resume` returns the state of a checkpoint, from which a program can go on; `resume_review` continues a held run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from llmtrace.errors import ConfigurationError
from llmtrace.guards.review_settings import resuming, review_settings
from llmtrace.model import Custom, JsonValue, Trace
from llmtrace.playback.player import CHANGE
from llmtrace.playback.recorded_run import find_checkpoint
from llmtrace.playback.replay_block import load_trace, replay
from llmtrace.recorder import active


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
def resume_review(review_id: str, *, from_recording: bool = True) -> Iterator[None]:
    """Run the program again in the block: the held call gets the decision that was made, and later calls are made for real. A
    review that nobody has decided yet goes on waiting.

    ``review_id``: of a `ReviewPending`. ``from_recording``: answer everything before that call from the record of the run, so
    that nothing is asked or done twice. Use False for a program that has kept its messages and only runs the held call again
    (``tools.run(message)``; calls of that message which ran before would run a second time, so leave them out).

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
            stack.enter_context(replay(request.trace_id, live_after=CHANGE))
        yield
