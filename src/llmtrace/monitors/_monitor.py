"""The interface of a monitor: it turns a span into observations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from llmtrace.model import Inference, JsonValue, Span
from llmtrace.model.value import value

Kind: TypeAlias = Literal["number", "share", "shape"]


@value
class Observation:
    """One value of one stream. All observations of a stream have the same kind."""

    kind: Kind
    value: JsonValue
    """By kind: a number above 0; for a share, one of a few words; for a shape, any JSON."""
    noun: str
    """Name of the measured quantity in reports: ``response length``."""
    unit: str = ""
    part: str = ""
    """Name of the stream, if the monitor has several."""
    event: str = ""
    """For a share: the word whose share is reported. If empty, it is the word whose share changed most."""


@runtime_checkable
class Monitor(Protocol):
    """Measures one quantity in every span, to find its drift over many runs."""

    @property
    def name(self) -> str:
        """Name of the monitor; its evaluations are called ``drift.<name>``."""
        ...

    def observe(self, span: Span) -> Iterable[Observation]:
        """Return the observations of an ended span; none if the monitor does not measure such spans.

        Law: a pure function of the span.
        """
        ...


class PlainMonitor(NamedTuple):
    """A monitor made of a function of the span."""

    name: str
    observe: Callable[[Span], Iterable[Observation]]


@functools.cache
def share(happened: bool, noun: str, part: str = "") -> Observation:
    """Return the observation that an event happened or did not happen. ``noun``: name of the share in reports."""
    return Observation("share", "yes" if happened else "no", noun, part=part, event="yes")


CALLS: Final = "tool_calls"
"""`Observation.part` of turns that call tools. For turns that answer, the part is empty."""


def of_turn(inference: Inference, number: float, noun: str, noun_of_calls: str, unit: str) -> Observation:
    """Return the observation of a number. Turns that call tools and turns that answer have separate streams and nouns."""
    if inference.calls_tools:
        return Observation("number", number, noun_of_calls, unit, part=CALLS)
    return Observation("number", number, noun, unit)
