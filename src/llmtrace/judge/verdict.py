"""The judge's answer, read strictly. Law: an answer that is not exactly one verdict for each suspect is refused as a whole."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from llmtrace.errors import JudgeFailed
from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.validation.check_values import check_output, errors_in

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
        items = sorted(read_fields(text, SCHEMA)["verdicts"], key=lambda item: item["suspect"])
        in_range = all(0 <= item["probability"] <= 1 for item in items)
        if not in_range or [item["suspect"] for item in items] != list(range(1, suspects + 1)):
            raise ValueError
    except (ValueError, RecursionError):
        raise not_as_asked(text) from None
    total = max(1.0, sum(item["probability"] for item in items))
    return tuple(Verdict(item["probability"] / total, item["reason"][:LONGEST_REASON]) for item in items)


def read_fields(text: str, schema: JsonValue) -> Any:
    """Read an answer that must be JSON of this schema. Raises ValueError if it is not."""
    text = _THOUGHTS.sub("", text, count=1) if _THOUGHTS.match(text) else text
    fenced = _FENCED.fullmatch(text)  # as models without a response format like to write
    text = fenced[1] if fenced else text
    if errors_in(check_output(text, schema)):
        raise ValueError("not of the schema")
    return json.loads(text)


def not_as_asked(text: str) -> JudgeFailed:
    text = _THOUGHTS.sub("", text, count=1) if _THOUGHTS.match(text) else text
    began = " ".join(text[: 2 * _MOST_QUOTED].split())[:_MOST_QUOTED]
    return JudgeFailed(f"its answer is not in the form that was asked for; it begins: {began}")
