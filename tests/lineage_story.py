"""Agent runs with the lineage of their values."""

from __future__ import annotations

from llmtrace.model import Span
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.timeline import Timeline
from tests.agent_run import ROOT, TRACE_ID, AgentRun, tool

__all__ = ["ROOT", "TRACE_ID", "Story", "all_uses", "tool"]


def live_uses(timeline: Timeline, *spans: Span) -> list[ValueUse]:
    """Add the spans and return the ungrounded identifiers of each, as they are found while a program runs."""
    found: list[ValueUse] = []
    for span in spans:
        timeline.add(span)
        found += timeline.ungrounded
    return found


def all_uses(timeline: Timeline, spans: list[Span]) -> list[ValueUse]:
    """Add the spans and return every value that the model wrote in them."""
    live_uses(timeline, *spans)
    return [use for span in spans for use in timeline.lineage.uses(span.span_id)]


class Story(AgentRun):
    def uses(self) -> list[ValueUse]:
        """Every value that the model wrote, with its provenance."""
        return all_uses(Timeline(self.spans), self.spans)

    def live(self) -> list[ValueUse]:
        """The ungrounded identifiers that are found while the program runs."""
        return live_uses(Timeline(bounded=True), *self.spans)

    def use(self, pointer: str) -> ValueUse:
        """The last value of this argument."""
        return [use for use in self.uses() if use.pointer == pointer][-1]
