"""Ten runs that failed in ten ways among many that did not, each judged as it would have been when it was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmtrace.evaluation import evaluate_trace
from llmtrace.model import (
    AgentInvocation,
    Failure,
    JsonValue,
    Message,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Trace,
    replace,
)
from tests.cli.traces import LOOK_UP, REFUND, Maker, answers, asks, chat, told, user
from tests.stored import append

GOOD = 40
FILTERS = {
    "a call that breaks its schema": {"finding": "wrong_type"},
    "a tool that timed out": {"finding": "timeout"},
    "a provider that refused the call": {"finding": "openai.RateLimitError"},
    "an answer that was cut": {"finding": "defective_output"},
    "a tool call that was written as text": {"finding": "leaked_tool_call"},
    "the same call again and again": {"finding": "repeated_call"},
    "a change that was made twice": {"finding": "duplicated_effect"},
    "a program that died": {"health": "failed", "finding": "interrupted"},
    "a budget that was spent": {"finding": "budget_exceeded"},
    "an identifier that was made up": {"finding": "ungrounded_argument"},
}
"""By kind of failure: the filters that find its run."""
TRACES = {kind: f"{number + 1:032x}" for number, kind in enumerate(FILTERS)}
"""By kind of failure: the id of its trace."""

_START = 1_700_000_000_000_000_000
_TASK = user("Refund the 42 EUR of order KS-20457.")
_LOOKED_UP: tuple[dict[str, JsonValue], JsonValue] = ({"order_id": "KS-20457"}, {"order_id": "KS-20457", "total": 42.0})
_REFUNDED: tuple[dict[str, JsonValue], JsonValue] = ({"order_id": "KS-20457", "amount": 42.0}, {"refunded": 42.0})
_ANSWER = answers("Done: I refunded 42.0 EUR for order KS-20457.")


def write(folder: str) -> None:
    """All runs, in a store whose programs have ended."""
    append(folder, *spans())


def spans() -> Iterator[Span]:
    """All runs, the failed ones first."""
    refused = Failure("openai.RateLimitError", "try again later")
    spent = Failure("llmtrace.errors.BudgetExceeded", "calls: 3 of 3")
    broken = ({"order_id": "KS-20457", "amount": "42 EUR"}, {"refunded": 42.0})
    made_up: tuple[dict[str, JsonValue], JsonValue] = ({"order_id": "KS-99831", "amount": 42.0}, {"refunded": 42.0})
    failed = (
        _Run().call("refund", broken).answer(),
        _Run()
        .call("look_up", _LOOKED_UP, Failure("builtins.TimeoutError", "no answer"))
        .answer(answers("I could not look it up.")),
        _Run().answer(None, refused),
        _Run().answer(Message("assistant", (Text("Done: I refunded 4"),), finish_reason="length")),
        _Run().answer(answers('<tool_call>{"name": "refund", "arguments": {"order_id": "KS-20457"}}</tool_call>')),
        _Run().call("look_up", _LOOKED_UP).call("look_up", _LOOKED_UP).call("look_up", _LOOKED_UP).answer(),
        _Run().call("refund", _REFUNDED).call("refund", _REFUNDED).answer(),
        _Run(died=True).call("look_up", _LOOKED_UP),
        _Run().call("look_up", _LOOKED_UP).answer(None, spent),
        _Run().call("refund", made_up).answer(answers("Done.")),
    )
    for trace_id, run in zip(TRACES.values(), failed, strict=True):
        yield from run.spans(trace_id)
    for number in range(GOOD):
        yield from _Run().call("look_up", _LOOKED_UP).call("refund", _REFUNDED).answer().spans(f"{100 + number:032x}")


class _Run:
    """One run of a support agent, step by step."""

    def __init__(self, *, died: bool = False) -> None:
        self._died = died
        self._messages = [_TASK]
        self._steps: list[tuple[str, Any, Failure | None]] = []

    def call(self, tool: str, arguments_and_result: tuple[Any, JsonValue], failure: Failure | None = None) -> _Run:
        (arguments, result), call_id = arguments_and_result, f"call_{len(self._steps)}"
        call = ToolCall(tool, arguments, call_id)
        self._steps.append((f"chat {tool}", chat(list(self._messages), asks(call)), None))
        definition = LOOK_UP if tool == "look_up" else REFUND
        ran = ToolExecution(
            tool,
            arguments,
            None if failure else result,
            failure is None,
            call_id,
            replace(definition, changes=tool == "refund"),
        )
        self._steps.append((f"execute_tool {tool}", ran, failure))
        self._messages += [asks(call), told(call_id, f"Error: {failure.message}" if failure else result)]
        return self

    def answer(self, message: Message | None = _ANSWER, failure: Failure | None = None) -> _Run:
        operation = chat(list(self._messages), message or _ANSWER)
        self._steps.append(("chat", operation if message else replace(operation, output=(), usage=None), failure))
        return self

    def spans(self, trace_id: str) -> tuple[Span, ...]:
        maker = Maker(trace_id, _START + int(trace_id, 16) * 60_000_000_000)
        last = self._steps[-1]
        output = last[1].output if last[0] == "chat" else ()
        root = maker.span(
            1,
            None,
            "invoke_agent support",
            AgentInvocation("support", input=(_TASK,), output=output),
            took=9.0,
            failure=last[2],
        )
        steps = [
            maker.span(number, 1, name, operation, failure=failure)
            for number, (name, operation, failure) in enumerate(self._steps, 2)
        ]
        if self._died:
            root, steps[-1] = replace(root, end=None), replace(steps[-1], end=None)
        return evaluate_trace(Trace([root, *steps]))[0].spans
