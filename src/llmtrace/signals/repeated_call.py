"""The same call of the same tool gives the same result again: the model does not get on.

"The same" is the tool's name and the arguments as JSON, whatever the order of their members. A call whose result differs is a
new beginning, so polling fires only while nothing changes. Repeating a call that failed, and failing again in the same way, is
labelled ``retry``.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from pydantic_core import to_json

from llmtrace.model import Evaluation, JsonValue, Span, ToolExecution
from llmtrace.signals import Signal
from llmtrace.signals._results import failed

CALLS = 512
"""Different calls that are remembered; the one not seen for longest is forgotten first."""

_CONTAINERS = (dict, list)


@dataclass(slots=True)
class Seen:
    result: int
    first: str
    last: str
    count: int = 1


State: TypeAlias = "OrderedDict[tuple[str, int], Seen]"


class RepeatedCall:
    name = "repeated_call"
    looks_at = (ToolExecution,)

    def start(self) -> State:
        return OrderedDict()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        execution = span.operation
        if not isinstance(execution, ToolExecution):
            return ()
        arguments, result = _arguments_digest(execution.arguments), _result_digest(span, execution)
        if arguments is None or result is None:
            return ()
        key = (execution.name, arguments)
        seen = state.get(key)
        if seen is None or seen.result != result:
            state[key] = Seen(result, span.span_id, span.span_id)
            state.move_to_end(key)
            if len(state) > CALLS:
                state.popitem(last=False)
            return ()
        state.move_to_end(key)
        seen.count += 1
        found = self._evaluation(execution, seen)
        seen.last = span.span_id
        return (found,)

    def _evaluation(self, execution: ToolExecution, seen: Seen) -> Evaluation:
        retry = failed(execution)
        tool = f"`{execution.name}`" if execution.executed else "a tool"
        return Evaluation(
            self.name,
            "info" if retry and seen.count == 2 else "warning",
            f"call {seen.count} of {tool} with the same arguments and the same {'failure' if retry else 'result'}",
            label="retry" if retry else "repeat",
            evidence={"count": seen.count},
            call_id=execution.call_id,
            sources=tuple(dict.fromkeys((seen.first, seen.last))),
        )


def _arguments_digest(arguments: JsonValue) -> int | None:
    """Equal for equal arguments within this process; None where they are not known or no JSON."""
    if arguments is None:
        return None
    try:
        try:
            return hash(to_json(_in_order(arguments), inf_nan_mode="constants"))
        except ValueError:  # a lone surrogate; the other encoder takes 10 µs more
            return hash(json.dumps(arguments, sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        return None


def _in_order(value: JsonValue) -> JsonValue:
    """The same with the members of every object sorted by name."""
    if type(value) is dict:
        members = value.items() if len(value) == 1 else sorted(value.items())
        return {name: _in_order(member) if type(member) in _CONTAINERS else member for name, member in members}
    return [_in_order(item) if type(item) in _CONTAINERS else item for item in value] if type(value) is list else value


def _result_digest(span: Span, execution: ToolExecution) -> int | None:
    """The same, for what came of it. A tool builds its results in one order, so that is not undone: it may be long."""
    result = execution.result
    if not execution.has_result:
        return hash((span.failure.type, span.failure.message)) if span.failure else None
    if isinstance(result, str):
        return hash(result)
    try:
        return hash(to_json(result))
    except (TypeError, ValueError, RecursionError):
        return None


SIGNAL: Signal = RepeatedCall()
