"""What is read once of a run and shared by all quality signals: its calls, its tasks, and where arguments came from."""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.evidence.call_log import Call, CallLog
from llmtrace.lineage import LiveLineage, ValueUse
from llmtrace.lineage.tasks import TaskTracker
from llmtrace.model import Inference, Span, ToolExecution


class RunEvidence:
    """Evidence of one run while it goes on. `add` takes each span once, in the order in which spans ended."""

    completed: Sequence[Call] = ()
    """The calls of which the newest span is the first to show how they went."""
    ungrounded: Sequence[ValueUse] = ()
    """The ungrounded identifiers in the calls that the newest span asked for."""
    has_ungrounded = False
    """Whether a call so far had one."""
    newest: Span | None = None
    newest_inference: Span | None = None

    def __init__(self) -> None:
        self.calls = CallLog()
        self.lineage = LiveLineage()
        self.tasks = TaskTracker()

    def add(self, span: Span) -> None:
        operation = span.operation
        self.newest = span
        self.completed = self.calls.add(span)
        self.ungrounded = self.lineage.add(span)
        self.has_ungrounded = self.has_ungrounded or bool(self.ungrounded)
        if isinstance(operation, Inference):
            self.newest_inference = span
            self.tasks.add_inference(span, operation)
        elif isinstance(operation, ToolExecution):
            self.tasks.add_execution(operation)
