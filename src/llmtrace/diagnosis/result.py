"""What a diagnosis says: suspects, each with evidence and the way from the outcome back to it."""

from __future__ import annotations

from llmtrace.model import Health, JsonValue
from llmtrace.model.value import value


@value
class Step:
    """One stop on the way back from the outcome; it came from the step after it."""

    span_id: str
    title: str
    """``answer``, a tool's name, ``argument /order_id`` …"""
    value: JsonValue = None
    """What was said, asked or made up there."""
    note: str = ""
    """How it hangs together with the next step."""


@value
class Suspect:
    """A place where the run may have gone wrong."""

    span_id: str
    score: float
    """0 to 1: how strong the suspicion is. No probability; see `llmtrace.diagnosis.score` for what adds up to it."""
    title: str
    evidence: str
    """One sentence that can be checked by looking at the trace."""
    pointer: str | None = None
    """JSON Pointer into the call's arguments, where one value is suspected."""
    value: JsonValue = None
    chain: tuple[Step, ...] = ()
    """From the outcome to this place. The last step is the suspect itself."""
    advice: str = ""


@value
class Diagnosis:
    trace_id: str
    health: Health
    suspects: tuple[Suspect, ...] = ()
    """The strongest first."""
    unknown: tuple[str, ...] = ()
    """What was not visible, so that values found nowhere count as unknown instead of made up."""
