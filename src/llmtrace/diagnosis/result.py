"""The result of a diagnosis: suspects with evidence, places to look at first in a failed run, and a list of the checks that
ran and of what could not be checked."""

from __future__ import annotations

from typing import Literal

from llmtrace.diagnosis.identity import Identity
from llmtrace.model import Confidence, Health, JsonValue
from llmtrace.model.traces import short_id
from llmtrace.model.value import value

__all__ = ["ChainStep", "Confidence", "Diagnosis", "Place", "Suspect"]


@value
class ChainStep:
    """One step of the chain from the outcome back to the suspect. Its data came from the next step."""

    span_id: str
    title: str
    """``answer``, a tool's name, ``argument /order_id`` …"""
    value: JsonValue = None
    """The answer's text, the call's arguments or the argument's value."""
    note: str = ""
    """The way in which this step depends on the next one."""


@value
class Suspect:
    """One possible cause: a place where the run may have gone wrong."""

    check: str
    """Name of the law that found it: a quality signal; see docs/reference/signals.md."""
    label: str
    """The kind of problem, one of the law's labels."""
    confidence: Confidence
    span_id: str
    """The span to look at."""
    title: str
    """A short description without recorded content."""
    evidence: str
    """A sentence that can be checked by looking at the trace."""
    advice: str = ""
    """A measure that would have prevented this failure."""
    probability: float | None = None
    """The probability, 0 to 1, that the run went wrong at this place. None if it was not measured."""
    count: int = 1
    """Number of occurrences in the run."""
    tool: str = ""
    pointer: str | None = None
    """JSON Pointer into the call's arguments, if one value is suspected."""
    value: JsonValue = None
    spans: tuple[str, ...] = ()
    """Ids of all spans that the finding rests on."""
    symptoms: tuple[str, ...] = ()
    """Titles of later findings that this cause explains."""
    chain: tuple[ChainStep, ...] = ()
    """From the outcome to this place. The last step is the suspect itself."""
    issue: str = ""
    """Id of the failure over many runs: equal in all runs with the same fault of the same tool or agent in the same field."""
    identity: Identity | None = None
    """What ``issue`` is the id of: the kind of failure, the tool or agent, the field."""

    @property
    def is_marked(self) -> bool:
        """True if the suspect is certain or likely."""
        return self.confidence != "possible"


def advice_label(suspect: Suspect) -> str:
    """Return the words before the advice on a suspect."""
    return "What to do" if suspect.label == "waited" else "What would have prevented it"


@value
class Place:
    """A place to look at first in a run that is known to have failed, with or without evidence."""

    span_id: str
    title: str
    probability: float
    """The probability, 0 to 1, that the decisive mistake was made at this place, as measured on labelled failed runs."""
    evidence: str = ""
    """The evidence of a finding at this place; empty if only the place's features suggest it."""
    part: Literal["user", "call", "answer", "span"] = "span"
    value: JsonValue = None


@value
class Diagnosis:
    trace_id: str
    health: Health
    """The health of the trace, but *failed* if the run is known to have failed, and else *suspect* if a suspect marks it."""
    suspects: tuple[Suspect, ...] = ()
    """Certain ones first, then likely, then possible ones."""
    places: tuple[Place, ...] = ()
    """Up to five places to look at first. Empty unless the run is known to have failed."""
    checked: tuple[str, ...] = ()
    """Names of the laws that judged, because their data was recorded. A law that failed, or only states facts, is left out."""
    unchecked: tuple[str, ...] = ()
    """Sentences about what was not checked: it was not recorded, its spans were not evaluated, or the law failed."""
    reports: tuple[str, ...] = ()
    """Reports by the program, a person or a quality signal about the run as a whole."""
    is_judged: bool = False
    """True if a law judged that looks at calls or at the content of answers, not only at how a run or an answer ended."""
    failed: bool = False
    """True if the run is known to have failed: by its health, by feedback, or by a check of the program that refused its
    answer."""

    last_good_checkpoint: ChainStep | None = None
    """The last checkpoint before the failure whose state passed its check, or had no check. The step's title is the
    checkpoint's name. None in a run without a failure or marked suspect."""

    @property
    def marked(self) -> tuple[Suspect, ...]:
        """The suspects that mark the run: certain and likely ones."""
        return tuple(suspect for suspect in self.suspects if suspect.is_marked)

    @property
    def possible(self) -> tuple[Suspect, ...]:
        """The suspects that are only worth a look."""
        return tuple(suspect for suspect in self.suspects if not suspect.is_marked)

    @property
    def prime(self) -> Suspect | None:
        """The first suspect that marks the run; None if there is none."""
        return next(iter(self.marked), None)

    @property
    def is_wrong(self) -> bool:
        """True if something is wrong with the run: it is known to have failed, or a suspect marks it."""
        return self.failed or bool(self.marked)

    @property
    def is_running(self) -> bool:
        """True while the run has not ended, so that later spans may change the verdict."""
        return self.health == "running"

    @property
    def verdict(self) -> str:
        """The verdict in one sentence; empty if there is a marked suspect."""
        if self.marked:
            return ""
        if self.failed:
            return "The run failed, but no step is a clear cause."
        if self.is_running:
            return "Still running. Nothing so far."
        return "No suspect." if self.is_judged else "Nothing could be judged."

    @property
    def cards(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """A word, a title and paragraphs of each suspect, and of each place where no suspect is certain."""
        cards: list[tuple[str, str, tuple[str, ...]]] = [
            (
                suspect.confidence,
                suspect.title,
                (suspect.evidence, " ← ".join(step.title for step in suspect.chain), suspect.advice),
            )
            for suspect in self.suspects
        ]
        if not any(suspect.confidence == "certain" for suspect in self.marked):
            cards += [("look here first", place.title, (place.evidence,)) for place in self.places]
        return cards

    def __repr__(self) -> str:
        first = self.verdict if self.prime is None else f"{self.prime.title} ({self.prime.confidence})"
        return f"<diagnosis of {short_id(self.trace_id)}: {self.health}. {first}>"

    def __str__(self) -> str:
        """Return the verdict, or the first suspect with its evidence, chain and advice, as lines of text."""
        if self.prime is None:
            return self.verdict
        word, title, paragraphs = self.cards[0]
        return "\n".join([f"{title} ({word})", *filter(None, paragraphs)])

    def _repr_html_(self) -> str:
        from llmtrace.model.html import cards_as_html  # for notebooks only

        notes = [f"Reported: {report}" for report in self.reports]
        notes += [f"Checked: {', '.join(self.checked)}"] if self.checked else []
        notes += [f"Not checked: {sentence}" for sentence in self.unchecked]
        return cards_as_html("diagnosis", (self.health, self.trace_id, self.verdict), self.cards, notes)
