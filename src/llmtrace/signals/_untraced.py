"""Tool calls that no span tells of: a program that is traced as it is calls its tools where nobody looks.

What came of them stands in the model's next request. From there they are read, as executions, for signals that say
``untraced = True``; their findings stand on the model call that was told the results, their sources on the one that asked.

Law: an execution that has a span of its own is never read a second time. So where one span of a run tells no call id, and
cannot be told from the others, nothing is read in that run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmtrace import semconv
from llmtrace.model import Inference, Span, ToolCall, ToolDefinition, ToolExecution, ToolResult
from llmtrace.signals._answers import new_messages

CALLS = 1000
"""Calls without a result that are remembered in one run."""


@dataclass(slots=True)
class Untraced:
    """The calls of one run that have been asked for, and have no execution yet."""

    asked: OrderedDict[str, tuple[ToolCall, Sequence[ToolDefinition], str, int | None]] = field(default_factory=OrderedDict)
    """By call id: the call, the tools on offer, and the id and the end of the model call that asked for it."""
    unsure: bool = False
    """An execution came that tells no call id."""

    def seen(self, span: Span) -> Sequence[Span]:
        """The executions that only this span tells of, in the order in which it tells. Spans come in the order of ending."""
        operation = span.operation
        if isinstance(operation, Inference):
            found = self._told(span, operation) if self.asked else ()
            self._asks(span, operation)
            return found
        if isinstance(operation, ToolExecution):
            self._executed(operation)
        return ()

    def _executed(self, execution: ToolExecution) -> None:
        if execution.call_id is None:
            self.unsure = True
            self.asked.clear()
        elif self.asked:
            self.asked.pop(execution.call_id, None)

    def _asks(self, span: Span, inference: Inference) -> None:
        if self.unsure:
            return
        for message in inference.output:
            for part in message.parts:
                if type(part) is ToolCall and part.id is not None:
                    self.asked[part.id] = (part, inference.tools, span.span_id, span.end)
        while len(self.asked) > CALLS:
            self.asked.popitem(last=False)

    def _told(self, span: Span, inference: Inference) -> Sequence[Span]:
        results = (part for message in new_messages(inference) for part in message.parts if isinstance(part, ToolResult))
        return [
            _execution(*self.asked.pop(one.id), one, span) for one in results if one.id is not None and one.id in self.asked
        ]


def _execution(
    call: ToolCall, tools: Sequence[ToolDefinition], asking: str, since: int | None, result: ToolResult, told: Span
) -> Span:
    """Of a tool that was not on offer nothing ran."""
    offered = not tools or call.name in [tool.name for tool in tools]
    execution = ToolExecution(call.name, call.arguments, result.response, True, call.id, executed=offered, inferred=True)
    name, start = f"{semconv.EXECUTE_TOOL} {call.name}", since or told.start
    return Span(
        told.trace_id, asking, name, start, told.start, parent_id=told.parent_id, operation=execution, run_id=told.run_id
    )
