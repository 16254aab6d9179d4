"""Agent runs with the lineage of their values."""

from __future__ import annotations

from llmtrace.reading import LineageTracker, LiveLineage, ValueUse
from tests.agent_run import ROOT, TRACE_ID, AgentRun, tool

__all__ = ["ROOT", "TRACE_ID", "Story", "tool"]


class Story(AgentRun):
    def uses(self) -> list[ValueUse]:
        """Every value that the model wrote, with its provenance."""
        tracker = LineageTracker(self.spans)
        return [use for span in self.spans for use in tracker.add(span)]

    def live(self) -> list[ValueUse]:
        """The ungrounded identifiers that are found while the program runs."""
        lineage = LiveLineage()
        return [use for span in self.spans for use in lineage.add(span)]

    def use(self, pointer: str) -> ValueUse:
        """The last value of this argument."""
        return [use for use in self.uses() if use.pointer == pointer][-1]
