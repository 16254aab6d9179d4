"""The checkpoints of a recorded run, and the state that one of them holds."""

from __future__ import annotations

from llmtrace import semconv
from llmtrace.errors import StateUnavailable
from llmtrace.guards.checkpoint import lost_state
from llmtrace.model import Span, Trace
from llmtrace.model.traces import short_id


def find_checkpoint(trace: Trace, name: str | None = None) -> Span:
    """The last checkpoint of this name; without a name, the last one whose state passed its check or had none.

    Raises `StateUnavailable` if there is none, or if its state was not kept whole.
    """
    checkpoints = [span for span in trace.spans if semconv.CHECKPOINT in span.attributes and span.end is not None]
    found = [span for span in checkpoints if span.attributes[semconv.CHECKPOINT] == name]
    if name is None:
        found = [span for span in checkpoints if span.attributes.get(semconv.CHECKPOINT_PASSED) is not False]
    what = f"trace {short_id(trace.trace_id)}"
    if not found:
        names = ", ".join(dict.fromkeys(repr(span.attributes[semconv.CHECKPOINT]) for span in checkpoints)) or "none"
        which = "good checkpoint" if name is None else f"checkpoint {name!r}"
        raise StateUnavailable(f"{what} has no {which}. Its checkpoints: {names}")
    if problem := lost_state(found[-1]):
        raise StateUnavailable(f"the state of {found[-1].name} in {what} was not kept whole: {problem}")
    return found[-1]
