"""What is read once of a run and shared by all quality signals: its calls, its tasks, and where arguments came from.

`ungrounded` and `untrusted` say which arguments of a tool call a person should look at before the tool runs. They name no tool
and no domain, accept arguments of any form, and only read: asked again, or of a stored trace, they give the same answer. Hold
the run's lock while you ask.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.evidence.call_log import Call, CallLog
from llmtrace.lineage import DoubtfulValue, LiveLineage, ValueUse
from llmtrace.lineage.tasks import TaskTracker
from llmtrace.model import Inference, Span, ToolCall, ToolDefinition, ToolExecution
from llmtrace.text.tool_names import is_reading_name


class RunEvidence:
    """Evidence of one run while it goes on. `add` takes each span once, in the order in which spans ended."""

    completed: Sequence[Call] = ()
    """The calls of which the newest span is the first to show how they went."""
    ungrounded: Sequence[ValueUse] = ()
    """The ungrounded identifiers in the calls that the newest span asked for."""
    has_ungrounded = False
    """True if a call so far had an ungrounded argument."""
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


def ungrounded(evidence: RunEvidence, call: ToolCall) -> tuple[DoubtfulValue, ...]:
    """The identifiers and e-mail addresses, as whole arguments, that nothing visible contains: the model made them up.

    Empty if some context of the run is not visible. ``call``: with the arguments that the tool would be given.
    """
    return evidence.lineage.ungrounded_in(call)


def untrusted(evidence: RunEvidence, call: ToolCall, definition: ToolDefinition | None = None) -> tuple[DoubtfulValue, ...]:
    """The values that stand only in the free text of what tools returned: this is how an injected instruction takes hold.

    Values are e-mail and web addresses, identifiers, files, and numbers of seven digits or more, as whole arguments or within
    longer ones. A value is trusted if the user, the program or a definition says it, if it is a field of a structured result,
    or if the user said a word of it and also named the place where it was found. Of a tool that only reads, only the hosts of
    web addresses count: a request tells the host something, whatever it is for.

    ``definition``: of the tool, to know whether it reads; by default the one that the model was offered, else its name decides.
    """
    definition = definition or next((tool for tool in evidence.calls.tools if tool.name == call.name), None)
    changes = definition.changes if definition is not None else None
    return evidence.lineage.untrusted_in(call, reads=is_reading_name(call.name) if changes is None else not changes)
