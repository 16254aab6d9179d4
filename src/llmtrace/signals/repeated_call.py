"""The same call of the same tool gives the same result again: the model does not get on.

"The same" is the tool's name and the arguments as JSON, whatever the order of their members. A call whose result differs is a
new beginning; a tool that is declared to be polled (``@tool(polls=True)``) is passed over. Repeating a call that failed, and
failing again in the same way, is labelled ``retry``. The first retry, and a first repetition after a detour, is informational.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.model import Evaluation, Span, ToolExecution
from llmtrace.signals import Signal
from llmtrace.signals._calls import called, polls
from llmtrace.signals._results import failed

CALLS = 512
"""Different calls that are remembered; the one not seen for longest is forgotten first."""
LATELY = 2
"""Calls since the first time within which a second time counts fully; after a detour something is looked at again."""


@dataclass(slots=True)
class Seen:
    result: int
    first: str
    last: str
    place: int
    count: int = 1


@dataclass(slots=True)
class State:
    place: int = 0
    seen: OrderedDict[tuple[str, int], Seen] = field(default_factory=OrderedDict)


class RepeatedCall:
    name = "repeated_call"
    untraced = True
    per_task = True
    looks_at = (ToolExecution,)
    alone = 0

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        execution = span.operation
        if not isinstance(execution, ToolExecution):
            return ()
        arguments, _, result, _ = called(span, execution)
        if arguments is None or result is None or polls(execution):
            return ()
        state.place += 1
        key = (execution.name, arguments)
        seen = state.seen.get(key)
        if seen is None or seen.result != result:
            state.seen[key] = Seen(result, span.span_id, span.span_id, state.place)
            state.seen.move_to_end(key)
            if len(state.seen) > CALLS:
                state.seen.popitem(last=False)
            return ()
        state.seen.move_to_end(key)
        seen.count += 1
        found = self._evaluation(execution, seen, state.place - seen.place, retry=bool(failed(span, execution)))
        seen.last, seen.place = span.span_id, state.place
        return (found,)

    def _evaluation(self, execution: ToolExecution, seen: Seen, ago: int, *, retry: bool) -> Evaluation:
        tool = f"`{execution.name}`" if execution.executed else "a tool"
        return Evaluation(
            self.name,
            "info" if seen.count == 2 and (retry or ago > LATELY) else "warning",
            f"call {seen.count} of {tool} with the same arguments and the same {'failure' if retry else 'result'}",
            label="retry" if retry else "repeat",
            evidence={"count": seen.count},
            call_id=execution.call_id,
            sources=tuple(dict.fromkeys((seen.first, seen.last))),
        )


SIGNAL: Signal = RepeatedCall()
