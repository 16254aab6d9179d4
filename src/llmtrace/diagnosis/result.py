"""What a diagnosis says: suspects, each with evidence and the way from the outcome back to it."""

from __future__ import annotations

from llmtrace.model import Health, JsonValue
from llmtrace.model.value import value

LIKELY = 0.5
"""From here on a suspect is worth a person's time."""


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
    """The probability, 0 to 1, that it began here; see `llmtrace.diagnosis.ranker`."""
    title: str
    evidence: str
    """One sentence that can be checked by looking at the trace."""
    pointer: str | None = None
    """JSON Pointer into the call's arguments, where one value is suspected."""
    value: JsonValue = None
    chain: tuple[Step, ...] = ()
    """From the outcome to this place. The last step is the suspect itself."""
    advice: str = ""
    """What would have prevented it."""
    reasons: tuple[str, ...] = ()
    """The features that raised the probability most, in words."""
    also: tuple[str, ...] = ()
    """What else was found at the same place."""
    part: str = "span"
    """What is suspected: a turn of the ``user``, a ``call`` with its result, an ``answer``, or another ``span``."""
    kind: str = ""
    """The kind of the clue that is given as evidence; empty where there is none."""


@value
class Diagnosis:
    trace_id: str
    health: Health
    suspects: tuple[Suspect, ...] = ()
    """The strongest first."""
    unknown: tuple[str, ...] = ()
    """What was not visible, so that values found nowhere count as unknown instead of made up."""
    symptoms: tuple[str, ...] = ()
    """What says that something is wrong, and not where: what a span is called, and one sentence that was said of it."""
    failed: bool = False
    """The run is known to have failed: by its health, by feedback, or by a check that refused its answer."""

    @property
    def prime(self) -> Suspect | None:
        """The strongest suspect, where it is likely or the run is known to have failed; else None."""
        first = self.suspects[0] if self.suspects else None
        return first if first is not None and (self.failed or first.score >= LIKELY) else None
