"""Clues of sums of money in answers: called a difference, and none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.flow import Flow
from llmtrace.lineage.forms import numbers_in, read_number
from llmtrace.model import JsonValue

_DIFFERENCE = re.compile(
    r"\bdifference(?: in (?:price|cost))?(?: (?:is|of|was|will be|comes to|amounts to)|:)\s*\**[$€£]\s?(\d[\d,]*(?:\.\d+)?)",
    re.IGNORECASE,
)
_LONGEST_READ = 20_000
_ADVICE = "Have a tool work out the sum, and the answer quote what it gave."
_MOST_NUMBERS = 2_000
"""Of more numbers some two differ by any sum, by chance."""


def no_difference(flow: Flow) -> Iterator[Clue]:
    """A sum to the cent that is called a difference, stands in a record as it is, and by which no two numbers there differ."""
    told: set[float] = set()
    computed: set[float] = set()
    read = 0
    for node in flow.nodes:
        for match in _DIFFERENCE.finditer(node.text) if node.kind == "answer" else ():
            for one in flow.nodes[read : node.place]:
                if one.kind == "call" and one.has_result and len(told) <= _MOST_NUMBERS:
                    (computed if one.structure is None else told).update(_numbers(one.result))
            read = node.place
            amount = round(read_number(match.group(1)) or 0.0, 2)
            if amount.is_integer() or amount not in told or amount in computed or len(told) > _MOST_NUMBERS:
                continue
            if not _is_difference(amount, told, _numbers(node.text)):
                title = "the answer calls a sum a difference that is none"
                evidence = f"It says {quote(match.group())}; in the results that is a sum of its own, and no two differ by it."
                yield Clue("contradicts", node.span_id, title, evidence, _ADVICE, "warning", node, value=match.group(1))
                break


def _numbers(content: JsonValue) -> set[float]:
    text = content if isinstance(content, str) else str(content)
    return {round(abs(number), 2) for number in numbers_in(text[:_LONGEST_READ])}


def _is_difference(amount: float, told: set[float], said: set[float]) -> bool:
    """True if two of the numbers that were told, or are said along with it, differ by it."""
    others = (other for other in (*told, *said) if other >= 1 and other != amount)
    return any(round(amount + other, 2) in told or round(amount + other, 2) in said for other in others)
