"""Turns that ask for tools and turns that answer: two kinds of output, whose lengths and paces have nothing to do with each
other.

Law: a monitor of how long or how fast output is follows each kind in a stream of its own, so that a change of one is not hidden
behind the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from llmtrace.model import Inference
from llmtrace.model.operations import CALLED
from llmtrace.monitors._monitor import Observation

CALLS: Final = "tool_calls"
"""The part of turns that ask for tools; turns that answer are the one without a name."""
_APART: Final = ("response_length", "token_latency")

T = TypeVar("T")


def of_turn(inference: Inference, number: float, noun: str, noun_of_calls: str, unit: str) -> Observation:
    """A number of the kind of turn that the inference is."""
    if inference.calls_tools:
        return Observation("number", number, noun_of_calls, unit, part=CALLS)
    return Observation("number", number, noun, unit)


def unmixed(streams: Mapping[str, T], words: Mapping[str, Mapping[str, Any]]) -> dict[str, T]:
    """The streams of a key without those in which an earlier version followed both kinds of turns together: where tools were
    called, they tell of neither. ``words``: of streams of shares, what is known of them."""
    called = _called(words)
    return {name: stream for name, stream in streams.items() if not (called and name.partition(":")[0] in _APART)}


def _called(words: Mapping[str, Mapping[str, Any]]) -> bool:
    rate, reasons = words.get("tool_call_rate::", {}), words.get("finish_reasons::", {})
    shown = rate.get("counts", {}).get("yes") or any(block[2] for block in rate.get("history", {}).get("blocks", ()))
    return bool(shown) or not CALLED.isdisjoint(reasons.get("counts", ()))
