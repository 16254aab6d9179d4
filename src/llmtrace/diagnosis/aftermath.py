"""What came after a call, asked for often and counted once: did its tool succeed later, did an answer speak of a failure?"""

from __future__ import annotations

from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.tools import acts, has_failed, is_left_out
from llmtrace.model import Trace
from llmtrace.signals._answers import admits_failure

_NEAR = 6


class Aftermath:
    def __init__(self, trace: Trace, flow: Flow) -> None:
        self._nodes = flow.nodes
        self._silent = any(is_left_out(span) for span in trace.spans)
        self._done: dict[str, int] = {}
        self._answered = self._admitted = -1
        for node in flow.nodes:
            if node.kind == "answer":
                self._answered = node.place
                self._admitted = node.place if admits_failure(node.text) else self._admitted
            elif (node.has_result or node.execution is not None) and not has_failed(node):
                self._done[node.tool] = node.place
        changing = [node for node in flow.nodes if node.kind == "call" and acts(node.tool)]
        self._last_change = {node.tool: node.place for node in changing}

    def made_up_next(self, node: Node) -> int:
        """How many values the model made up in its next steps."""
        return sum(use.made_up for later in self._nodes[node.place + 1 : node.place + 1 + _NEAR] for use in later.uses)

    def done(self, node: Node) -> bool:
        """True if a later call of the same tool went well."""
        return self._done.get(node.tool, -1) > node.place

    def unnoticed(self, node: Node) -> bool:
        """True if the run went on to an answer or a change, and no later answer speaks of a failure. Where answers
        were left out nothing can be said of them."""
        if self._silent or self._admitted > node.place:
            return False
        changed = any(place > node.place for tool, place in self._last_change.items() if tool != node.tool)
        return changed or self._answered > node.place
