"""What a monitor takes from a span."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from llmtrace.model import JsonValue, Span
from llmtrace.model.value import value

Kind: TypeAlias = Literal["number", "share", "shape"]


@value
class Observation:
    """One value of one stream. A stream's observations are all of one kind."""

    kind: Kind
    value: JsonValue
    """A number above 0 (number), a word of few (share), any JSON (shape)."""
    noun: str
    """What it is, as a report words it: ``response length``."""
    unit: str = ""
    part: str = ""
    """Tells several streams of one monitor apart; the label of its evaluations."""
    event: str = ""
    """Of a share: the word whose share is reported. Empty: that of the word which changed most."""


@runtime_checkable
class Monitor(Protocol):
    """What is followed over many runs."""

    @property
    def name(self) -> str:
        """Its evaluations are called ``drift.<name>``."""
        ...

    def observe(self, span: Span) -> Iterable[Observation]:
        """What an ended span tells; nothing where it is not about it. Law: a pure function of the span."""
        ...


class PlainMonitor:
    """A monitor that is a function of the span."""

    __slots__ = ("name", "observe")

    def __init__(self, name: str, observe: Callable[[Span], Iterable[Observation]]) -> None:
        self.name = name
        self.observe = observe


@functools.cache
def share(happened: bool, noun: str, part: str = "") -> Observation:
    """An observation of something that happens or does not."""
    return Observation("share", "yes" if happened else "no", noun, part=part, event="yes")
