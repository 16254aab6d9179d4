"""Changes in words. Law: no content, only nouns, numbers, names and pointers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmtrace.model import Evaluation
from llmtrace.monitors._change_causes import Cause, when
from llmtrace.monitors._monitor import Observation
from llmtrace.monitors._number_stream import Shift

PREFIX: Final = "drift."
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SHAPES: Final = {
    "new_type": "holds a type{} that none of the {} before had there",
    "missing_field": "lacks a field{} that all of the {} before had",
    "new_field": "has a field{} that none of the {} before had",
}


def what(seen: Observation, shift: Shift) -> str:
    if seen.kind == "shape":
        stays = f", and so it is in others of the {shift.calls} calls since" if shift.calls > 1 else ""
        where = f" ({shift.pointer})" if shift.pointer else ""
        return f"{seen.noun} {_SHAPES[shift.word].format(where, f'{shift.baseline:,}')}{stays}"
    if seen.kind == "share":
        noun = seen.noun if seen.event else f"{seen.noun}: the share of {shift.word}"
        moved = "rose" if shift.now > shift.before else "fell"
        return f"{noun} {moved} from {shift.before:.1%} to {shift.now:.0%}".replace("%", " %")
    numbers = f"median {_short(shift.before, seen.unit)} -> {_short(shift.now, seen.unit)}"
    if seen.unit not in ("", "s"):
        numbers += f" {seen.unit}"
    change = shift.now / shift.before - 1 if shift.before else 0.0
    if abs(change) < 0.1:
        return f"{seen.noun} is spread otherwise than before ({numbers})"
    moved = f"rose {change:.0%}" if change > 0 else f"fell {-change:.0%}"
    return f"{seen.noun} {moved.replace('%', ' %')} ({numbers})"


def _short(number: float, unit: str) -> str:
    if unit == "s":
        size, unit = next(((size, unit) for size, unit in _UNITS if number >= size), _UNITS[-1])
        return f"{_short(number / size, '')} {unit}"
    return f"{number:,.0f}" if number >= 20 else f"{number:.2g}"


def evaluation(monitor: str, seen: Observation, shift: Shift, causes: Sequence[Cause]) -> Evaluation:
    text = what(seen, shift)
    if seen.kind != "shape":
        calls = f"{shift.calls:,} calls" if shift.calls > 1 else "1 call"
        text += f", told by {calls} since {when(shift.since)} against {shift.baseline:,} before"
    reasons = [cause.text() for cause in causes]
    label = shift.word if seen.kind == "shape" else causes[0].what if causes else "unexplained"
    return Evaluation(
        f"{PREFIX}{monitor}",
        "info" if seen.kind == "shape" and shift.calls == 1 else "warning",
        "; ".join([*reasons, text]) if reasons else f"{text}; nothing that is recorded changed with it",
        label,
        score=round(shift.now, 6),
        pointer=shift.pointer,
        derived=True,
    )
