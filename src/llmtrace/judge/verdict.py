"""The judge's answer, read strictly. Law: an answer that is not exactly one verdict for each suspect is refused as a whole."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from llmtrace.errors import JudgeFailed
from llmtrace.model.value import value

LONGEST_REASON = 400

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "verdicts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"suspect": {"type": "integer"}, "probability": {"type": "number"}, "reason": {"type": "string"}},
                "required": ["suspect", "probability", "reason"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["verdicts"],
    "additionalProperties": False,
}
_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
"""Reasoning in the text, from servers that do not separate it."""
_MOST_QUOTED = 80
_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*", re.DOTALL)


@value
class Verdict:
    probability: float
    reason: str


def read(text: str, suspects: int) -> tuple[Verdict, ...]:
    """Read one verdict for each suspect, in order. A sum of probabilities above 1 is scaled to 1. Raises JudgeFailed."""
    try:
        items = read_fields(text, {"verdicts"})["verdicts"]
        verdicts = dict(_verdict(verdict) for verdict in items)
        if len(verdicts) != len(items) or set(verdicts) != set(range(1, suspects + 1)):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise not_as_asked(text) from None
    total = max(1.0, sum(verdict.probability for verdict in verdicts.values()))
    return tuple(Verdict(verdicts[number].probability / total, verdicts[number].reason) for number in range(1, suspects + 1))


def read_fields(text: str, names: set[str]) -> dict[str, Any]:
    """Read an answer that must be a JSON object with exactly these fields. Raises ValueError or TypeError if it is not."""
    text = _THOUGHTS.sub("", text, count=1) if _THOUGHTS.match(text) else text
    fenced = _FENCED.fullmatch(text)  # as models without a response format like to write
    return _fields(json.loads(fenced[1] if fenced else text, parse_constant=_refuse), names)


def not_as_asked(text: str) -> JudgeFailed:
    text = _THOUGHTS.sub("", text, count=1) if _THOUGHTS.match(text) else text
    began = " ".join(text[: 2 * _MOST_QUOTED].split())[:_MOST_QUOTED]
    return JudgeFailed(f"its answer is not in the form that was asked for; it begins: {began}")


def _verdict(item: Any) -> tuple[int, Verdict]:
    fields = _fields(item, {"suspect", "probability", "reason"})
    number, probability, reason = fields["suspect"], fields["probability"], fields["reason"]
    if type(number) is not int or type(probability) not in (int, float) or not isinstance(reason, str):
        raise TypeError
    if not (math.isfinite(probability) and 0 <= probability <= 1):
        raise ValueError
    return number, Verdict(float(probability), reason[:LONGEST_REASON])


def _fields(value: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        raise TypeError
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
