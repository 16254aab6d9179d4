"""Agent runs with the lineage of their values."""

from __future__ import annotations

from llmtrace.model import Span
from llmtrace.reading.lineage import Lineage
from llmtrace.reading.provenance import ValueUse
from tests.agent_run import ROOT, TRACE_ID, AgentRun, tool

__all__ = ["ROOT", "TRACE_ID", "Story", "all_uses", "tool"]


def all_uses(lineage: Lineage, spans: list[Span]) -> list[ValueUse]:
    """Add the spans and return every value that the model wrote in them."""
    for span in spans:
        lineage.add(span)
    return [use for span in spans for use in lineage.uses(span.span_id)]


class Story(AgentRun):
    def uses(self) -> list[ValueUse]:
        """Every value that the model wrote, with its provenance."""
        return all_uses(Lineage(self.spans), self.spans)

    def live(self) -> list[ValueUse]:
        """The ungrounded identifiers that are found while the program runs."""
        lineage = Lineage(bounded=True)
        return [use for span in self.spans for use in lineage.add(span)]

    def use(self, pointer: str) -> ValueUse:
        """The last value of this argument."""
        return [use for use in self.uses() if use.pointer == pointer][-1]
