"""What the recorder asks of the rooms above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.context import Context

from llmtrace.model import Inference
from llmtrace.recorder.repository import WorkingTree
from llmtrace.recorder.run import Run
from llmtrace.store import Store


class Hooks(NamedTuple):
    """Functions that the recorder calls, and parts that spans need. What is None is not asked."""

    enrich: Callable[[Inference], Inference] | None = None
    """Adds values computed from a model call: its cost and its fingerprint."""
    external_run: Callable[[Context], Run | None] | None = None
    """Returns the run of another instrumentation's agent, for a span of ours below it; see `external.open_spans`."""
    place_in: Callable[[Context], Context] | None = None
    """Returns a context with the span below which one of ours belongs; see `external.moved_spans`."""
    external_conversation: Callable[[Context], str | None] | None = None
    """Returns the conversation id of the agent around such a span."""
    make_replay_key: Callable[[], bytes] | None = None
    """Returns the secret key for the digests of requests. None: spans keep nothing for a replay."""
    working_tree: WorkingTree | None = None
    """Tells whether the program's files differ from the commit. None: not recorded."""
    review_store: Store | None = None
    """Keeps the reviews of this process. None: nobody can decide one."""
