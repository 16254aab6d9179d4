"""The places of a trace that may be suspected: every turn of the user, call with its result, and answer; and any other span
that a clue points at. Each has the clues that were found there."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.flow import Flow, Node

MOST_CLUES = 400
"""Clues that are weighed at most, the first of each kind."""
_PER_KIND = 60


@dataclass(eq=False, slots=True)
class Candidate:
    span_id: str
    node: Node | None
    clues: list[Clue] = field(default_factory=list)

    @property
    def kinds(self) -> set[str]:
        return {clue.kind for clue in self.clues}


def candidates_of(flow: Flow, clues: list[Clue]) -> list[Candidate]:
    """In order of time; those without a node come last."""
    by_node = {node: Candidate(node.span_id, node) for node in flow.nodes}
    others: dict[str, Candidate] = {}
    counts: dict[str, int] = {}
    for clue in sorted(clues, key=lambda clue: clue.node.place if clue.node is not None else 1 << 62):
        counts[clue.kind] = counts.get(clue.kind, 0) + 1
        if counts[clue.kind] > _PER_KIND:
            continue
        node = clue.node
        if node is not None:
            by_node[node].clues.append(clue)
        else:
            others.setdefault(clue.span_id, Candidate(clue.span_id, None)).clues.append(clue)
    return [*by_node.values(), *others.values()]
