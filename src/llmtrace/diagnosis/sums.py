"""Clues of sums of money in answers: called a difference, and none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.lineage.forms import numbers_in, read_number

_DIFFERENCE = re.compile(
    r"\bdifference(?: in (?:price|cost))?(?: (?:is|of|was|will be|comes to|amounts to)|:)\s*\**[$€£]\s?(\d[\d,]*(?:\.\d+)?)",
    re.IGNORECASE,
)
_LONGEST_READ = 20_000
_ADVICE = "Have a tool work out the sum, and the answer quote what it gave."


class _Numbers:
    """The numbers of each place, read once, and only where they are asked for."""

    def __init__(self, flow: Flow) -> None:
        self.nodes = flow.nodes
        self._held: dict[int, set[float]] = {}

    def of(self, node: Node) -> set[float]:
        if node.place not in self._held:
            text = node.text
            if node.kind == "call" and node.has_result:
                text = node.result if isinstance(node.result, str) else str(node.result)
            self._held[node.place] = {round(abs(number), 2) for number in numbers_in(text[:_LONGEST_READ])}
        return self._held[node.place]


def no_difference(flow: Flow) -> Iterator[Clue]:
    """A sum to the cent that is called a difference, stands in a record as it is, and by which no two numbers there differ."""
    numbers = _Numbers(flow)
    for node in flow.nodes:
        for match in _DIFFERENCE.finditer(node.text) if node.kind == "answer" else ():
            amount = round(read_number(match.group(1)) or 0.0, 2)
            if not amount.is_integer() and _is_none(amount, node, numbers):
                title = "the answer calls a sum a difference that is none"
                evidence = f"It says {quote(match.group())}; in the results that is a sum of its own, and no two differ by it."
                yield Clue("contradicts", node.span_id, title, evidence, _ADVICE, "warning", node, value=match.group(1))
                break


def _is_none(amount: float, node: Node, numbers: _Numbers) -> bool:
    results = [one for one in numbers.nodes[: node.place] if one.kind == "call" and one.has_result]
    if any(one.structure is None and amount in numbers.of(one) for one in results):
        return False  # a tool has worked it out
    told = set().union(*(numbers.of(one) for one in results if one.structure is not None))
    every = told | numbers.of(node)
    return amount in told and not any(other >= 1 and other != amount and round(amount + other, 2) in every for other in every)
