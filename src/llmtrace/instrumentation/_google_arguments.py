"""The arguments of a call that come in pieces, each with its place: ``{"jsonPath": "$.days[0].name", "stringValue": "Mo"}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from llmtrace.model import JsonValue

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_LONGEST = 10_000
"""An index beyond that is none."""


class Arguments:
    """Streamed arguments of a tool call. ``value`` grows in place and holds what has come so far."""

    def __init__(self) -> None:
        self.value: dict[str, JsonValue] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        steps = [
            int(number) if number else name or single_quoted or double_quoted
            for name, number, single_quoted, double_quoted in _STEP.findall(piece["json_path"])
        ]
        value = _value(piece)
        holder: Any = self.value
        for step, following in pairwise(steps):
            holder = _member(holder, step, [] if isinstance(following, int) else {})
        before = _member(holder, steps[-1], None)
        holder[steps[-1]] = before + value if isinstance(before, str) and isinstance(value, str) else value


def _member(holder: Any, step: Any, fresh: Any) -> Any:
    """Return the member at a place; create it if it is missing."""
    if isinstance(holder, list):
        if step > _LONGEST:
            raise IndexError(step)
        holder.extend([None] * (step + 1 - len(holder)))
        if holder[step] is None:
            holder[step] = fresh
    else:
        holder.setdefault(step, fresh)
    return holder[step]


def _value(piece: Mapping[str, Any]) -> JsonValue:
    for name in ("string_value", "number_value", "bool_value"):
        if piece.get(name) is not None:
            value = piece[name]
            return int(value) if isinstance(value, float) and value.is_integer() else value
    return None
