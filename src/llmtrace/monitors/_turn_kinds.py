"""Turns that ask for tools and turns that answer: two kinds of output, whose lengths and paces have nothing to do with each
other.

Law: a monitor of how long or how fast output is follows each kind in a stream of its own, so that a change of one is not hidden
behind the other.
"""

from __future__ import annotations

from typing import Final

from llmtrace.model import Inference
from llmtrace.monitors._monitor import Observation

CALLS: Final = "tool_calls"
"""The part of turns that ask for tools; turns that answer are the one without a name."""


def of_turn(inference: Inference, number: float, noun: str, noun_of_calls: str, unit: str) -> Observation:
    """A number of the kind of turn that the inference is."""
    if inference.calls_tools:
        return Observation("number", number, noun_of_calls, unit, part=CALLS)
    return Observation("number", number, noun, unit)
