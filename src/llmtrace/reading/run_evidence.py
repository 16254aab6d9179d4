"""Evidence about a run that all quality signals share: its calls, its tasks, and the origins of arguments.

`ungrounded` and `untrusted` return the arguments of a tool call that a person should check before the tool runs. They work for
any tool, domain and form of arguments. They only read, so repeated calls, also for a stored trace, give the same result. Hold
the run's lock during a call.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.model import Inference, Span, ToolCall, ToolDefinition
from llmtrace.reading import DoubtfulValue, Lineage, ValueUse
from llmtrace.reading.call_log import Call, CallLog
from llmtrace.reading.tasks import TaskTracker
from llmtrace.text.tool_names import is_reading_name


class RunEvidence:
    """Evidence about a run in progress. Call `add` once for each span, in the order in which spans ended."""

    completed: Sequence[Call] = ()
    """The calls whose outcome the newest span is the first to show."""
    ungrounded: Sequence[ValueUse] = ()
    """The ungrounded identifiers in the calls that the newest span requested."""
    has_ungrounded = False
    """True if a call so far had an ungrounded argument."""
    newest: Span | None = None
    newest_inference: Span | None = None

    def __init__(self) -> None:
        self.calls = CallLog()
        self.lineage = Lineage(bounded=True)
        self.tasks = TaskTracker()

    def add(self, span: Span) -> None:
        self.newest = span
        self.completed = self.calls.add(span)
        self.ungrounded = self.lineage.add(span)
        self.has_ungrounded = self.has_ungrounded or bool(self.ungrounded)
        self.tasks.add(span)
        if isinstance(span.operation, Inference):
            self.newest_inference = span


def ungrounded(evidence: RunEvidence, call: ToolCall) -> tuple[DoubtfulValue, ...]:
    """Return identifiers and e-mail addresses, as whole arguments, that nothing visible contains: the model made them up.

    Empty if some context of the run is not visible. ``call``: a call with the arguments that the tool would get.
    """
    return evidence.lineage.ungrounded_in(call)


def untrusted(evidence: RunEvidence, call: ToolCall, definition: ToolDefinition | None = None) -> tuple[DoubtfulValue, ...]:
    """Return the values that occur only in the free text of tool results, as those of an injected instruction do.

    Values are e-mail and web addresses, identifiers, files, and numbers of seven digits or more, as whole arguments or inside
    longer ones. A value is trusted if the user, the program or a definition contains it, or if it is a field of a structured
    result. It is also trusted if the user said a word of it and named the place where it was found. For a tool that only reads,
    only the hosts of web addresses count, since any request can send data to the host.

    ``definition``: of the tool, which says if it only reads; default, the definition that the model was offered. Without one,
    the tool's name decides.
    """
    definition = definition or next((tool for tool in evidence.calls.tools if tool.name == call.name), None)
    changes = definition.changes if definition is not None else None
    return evidence.lineage.untrusted_in(call, reads=is_reading_name(call.name) if changes is None else not changes)
