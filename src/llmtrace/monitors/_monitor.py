"""The contract of a monitor: it turns a span into observations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from llmtrace.model import Inference, JsonValue, Span
from llmtrace.model.value import value

Kind: TypeAlias = Literal["number", "share", "shape"]


@value
class Observation:
    """One value of one stream. A stream's observations are all of one kind."""

    kind: Kind
    value: JsonValue
    """A number above 0 (number), a word of few (share), any JSON (shape)."""
    noun: str
    """Name of the measured quantity in reports: ``response length``."""
    unit: str = ""
    part: str = ""
    """Tells several streams of one monitor apart; the label of its evaluations."""
    event: str = ""
    """For a share: the word whose share is reported. Empty: the word that changed most."""


@runtime_checkable
class Monitor(Protocol):
    """Measures one thing in every span, to be followed over many runs."""

    @property
    def name(self) -> str:
        """Name of the monitor; its evaluations are called ``drift.<name>``."""
        ...

    def observe(self, span: Span) -> Iterable[Observation]:
        """Return the observations of an ended span; none if the span is not of interest. Law: a pure function of the span."""
        ...


class PlainMonitor(NamedTuple):
    """A monitor that is a function of the span."""

    name: str
    observe: Callable[[Span], Iterable[Observation]]


@functools.cache
def share(happened: bool, noun: str, part: str = "") -> Observation:
    """Return the observation of an event that happened or did not happen."""
    return Observation("share", "yes" if happened else "no", noun, part=part, event="yes")


CALLS: Final = "tool_calls"
"""The part of turns that ask for tools; turns that answer are the one without a name."""


def of_turn(inference: Inference, number: float, noun: str, noun_of_calls: str, unit: str) -> Observation:
    """A number of the kind of turn that the inference is."""
    if inference.calls_tools:
        return Observation("number", number, noun_of_calls, unit, part=CALLS)
    return Observation("number", number, noun, unit)
