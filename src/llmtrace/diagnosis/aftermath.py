"""What came after a call, asked for often and counted once: did its tool succeed later, did an answer speak of a failure?"""

from __future__ import annotations

import re

from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.tools import acts, has_failed, is_left_out
from llmtrace.lineage import Use
from llmtrace.model import Trace
from llmtrace.signals._answers import admits_failure

_NEAR = 12
_NOTHING = re.compile(
    r"\b(?:(?:find|found|see|ha(?:ve|s)|got|is|are|was|were|shows?|returned|gave) (?:\w+ ){0,2}no\b|no such|none|nothing|empty"
    r"|zero|kein\w*|nichts|leer|aucune?|rien|vide|ning[uú]n\w*|nada|vac[ií][oa]s?|nessun\w*|niente|vuot[oi]|nenhum\w*|geen|niets"
    r"|leeg|нет|ничего|brak)\b|没有|沒有|ありません|없",
    re.IGNORECASE,
)
"""Words that an answer has which says that nothing was found."""


class Aftermath:
    def __init__(self, trace: Trace, flow: Flow) -> None:
        self._nodes = flow.nodes
        self._silent = any(is_left_out(span) for span in trace.spans)
        self._went_well: dict[str, int] = {}
        self._went_well_with: dict[tuple[str, str], int] = {}
        self._relied_on: dict[str, int] = {}
        self._said = said = [
            "" if node.alternative else node.text if node.kind == "answer" else node.said_with for node in flow.nodes
        ]
        self._admits = [bool(words) and admits_failure(words) for words in said]
        self._next_words = _next(said)
        for node in flow.nodes:
            well = node.kind == "call" and (node.has_result or node.execution is not None) and not has_failed(node)
            if well:
                self._went_well[node.tool] = node.place
            for use in () if node.alternative else node.uses:
                if well:
                    self._went_well_with[node.tool, use.key] = node.place
                if node.kind == "call" or not self._admits[node.place]:
                    self._relied_on[use.key] = node.place
        changing = [node for node in flow.nodes if node.kind == "call" and acts(node)]
        self._last_change = {node.tool: node.place for node in changing}

    def made_up_next(self, node: Node, steps: int = _NEAR) -> int:
        """How many values the model made up in its next steps."""
        return sum(use.made_up for later in self._nodes[node.place + 1 : node.place + 1 + steps] for use in later.uses)

    def done(self, node: Node) -> bool:
        """True if a later call of the same tool went well that was about the same: they share a value, or nothing relies on a
        value of this one any more. So is a failure that was told at once, where the run went on without its values."""
        if any(self._went_well_with.get((node.tool, use.key), -1) > node.place for use in node.uses):
            return True
        if any(self.relied_on(use, node) for use in node.uses):
            return False
        return self._went_well.get(node.tool, -1) > node.place or (self._told_of(node) and self.went_on(node))

    def relied_on(self, use: Use, node: Node) -> bool:
        """True if a later call, or a later answer that speaks of no failure, has this value too."""
        return self._relied_on.get(use.key, -1) > node.place

    def _told_of(self, node: Node) -> bool:
        """True if the next words of the model speak of a failure."""
        next_words = self._next_words[node.place]
        return next_words is not None and self._admits[next_words]

    def went_on(self, node: Node) -> bool:
        """True if any later call went well."""
        return any(place > node.place for place in self._went_well.values())

    def unnoticed(self, node: Node, *, empty: bool = False) -> bool:
        """True if the run went on to an answer or a change, and the next words of the model do not speak of a failure; of an
        ``empty`` result, not of nothing either. Where answers were left out nothing can be said of them."""
        if self._silent:
            return False
        next_words = self._next_words[node.place]
        if next_words is not None:
            return not self._admits[next_words] and not (empty and _NOTHING.search(self._said[next_words]))
        return any(place > node.place for tool, place in self._last_change.items() if tool != node.tool)


def _next(said: list[str]) -> list[int | None]:
    """For each place the next one at which the model says something."""
    found: list[int | None] = []
    following = None
    for place in range(len(said) - 1, -1, -1):
        found.append(following)
        following = place if said[place] else following
    return found[::-1]
