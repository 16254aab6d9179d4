"""Two small traces made by hand, of a support agent: what `ls`, `show` and `check` have to say about them is known."""

from __future__ import annotations

import time
from typing import Any

from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    Failure,
    Inference,
    JsonValue,
    Message,
    Review,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Usage,
    Violation,
    replace,
)
from llmtrace.store import open_store

RECOVERED = "0af7651916cd43dd8448eb211c80319c"
SILENT = "4bf92f3577b34da6a3ce929d0e0e4736"

SECOND = 1_000_000_000

LOOK_UP = ToolDefinition(
    "look_up",
    {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    changes=True,
)
"""It assigns the order to the agent: a made-up id does harm."""
REFUND = ToolDefinition(
    "refund",
    {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
        "required": ["order_id", "amount"],
    },
)

BROKEN = Violation(
    "wrong_type",
    "/amount",
    "type",
    "must be a number, not a string",
    expected="number",
    got="42 EUR",
    tool="refund",
    call_id="call_1",
)


def append_to(url: str, *spans: Span) -> None:
    """Write spans into the store at ``url``."""
    with open_store(url) as store:
        for span in spans:
            store.append(span)


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def asks(*calls: ToolCall) -> Message:
    return Message("assistant", calls, finish_reason="tool_calls")


def told(call_id: str, response: JsonValue) -> Message:
    return Message("tool", (ToolResult(response, call_id),))


def answers(text: str) -> Message:
    return Message("assistant", (Text(text),), finish_reason="stop")


def recovered() -> tuple[Span, ...]:
    """One hour old. The first refund breaks its schema and is refused; the second is right."""
    maker = Maker(RECOVERED, time.time_ns() - 3600 * SECOND - 30 * SECOND)
    task, answer = user("Refund the 42 EUR of order KS-20457."), answers("Done: I refunded 42.0 EUR for order KS-20457.")
    first = ToolCall("refund", {"order_id": "KS-20457", "amount": "42 EUR"}, "call_1")
    second = ToolCall("refund", {"order_id": "KS-20457", "amount": 42.0}, "call_2")
    refusal = 'refund was not run: /amount must be a number, not a string; got "42 EUR"'
    system = Message("system", (Text("You are the support agent of a kitchen shop."),))
    history = [system, task, asks(first), told("call_1", refusal), asks(second), told("call_2", {"refunded": 42.0})]
    return (
        maker.span(1, None, "invoke_agent support", AgentInvocation("support", input=(task,), output=(answer,)), took=2.0),
        maker.span(2, 1, "chat gpt-4o-mini", chat(history[:2], asks(first), cost=0.00021), violations=(BROKEN,)),
        maker.span(
            3,
            1,
            "execute_tool refund",
            ToolExecution("refund", first.arguments, call_id="call_1", definition=REFUND, executed=False),
            took=0.0002,
            failure=Failure("invalid_tool_call", "/amount: must be a number, not a string"),
            violations=(replace(BROKEN, executed=False),),
        ),
        maker.span(4, 1, "chat gpt-4o-mini", chat(history[:4], asks(second), cost=0.00024)),
        maker.span(
            5,
            1,
            "execute_tool refund",
            ToolExecution("refund", second.arguments, {"refunded": 42.0}, True, "call_2", REFUND),
            took=0.0123,
        ),
        maker.span(6, 1, "chat gpt-4o-mini", chat(history, answer, cost=0.00025), took=0.4),
    )


def silent() -> tuple[Span, ...]:
    """One minute old. The order number is made up; nothing else is wrong."""
    maker = Maker(SILENT, time.time_ns() - 60 * SECOND)
    task, answer = user("The blue kettle I ordered leaks."), answers("Done: I looked at order KS-20431.")
    call = ToolCall("look_up", {"order_id": "KS-20431"}, "call_1")
    made_up = Evaluation(
        "ungrounded_argument",
        "warning",
        "no message and no result held this value before",
        evidence={"value": "KS-20431"},
        pointer="/order_id",
        call_id="call_1",
    )
    order = {"order_id": "KS-20431", "customer": "Jonas Okafor"}
    return (
        maker.span(1, None, "invoke_agent support", AgentInvocation("support", input=(task,), output=(answer,)), took=1.0),
        maker.span(2, 1, "chat local", chat([task], asks(call), model="local"), evaluations=(made_up,)),
        maker.span(3, 1, "execute_tool look_up", ToolExecution("look_up", call.arguments, order, True, "call_1", LOOK_UP)),
        maker.span(4, 1, "chat local", chat([task, asks(call), told("call_1", order)], answer, model="local", usage=None)),
    )


def chat(history: list[Message], output: Message, **fields: Any) -> Inference:
    model = fields.pop("model", "gpt-4o-mini")
    usage = fields.pop("usage", Usage(120, 18))
    return Inference(
        "openai",
        request_model=model,
        response_model=model,
        input=tuple(history),
        output=(output,),
        tools=(LOOK_UP, REFUND),
        usage=usage,
        cost_usd=fields.pop("cost", None),
        **fields,
    )


class Maker:
    """Numbers the spans of one trace; each begins a quarter of a second after the one before."""

    def __init__(self, trace_id: str, start: int) -> None:
        self._trace_id = trace_id
        self._start = start

    def span(self, number: int, parent: int | None, name: str, operation: Any, *, took: float = 0.2, **fields: Any) -> Span:
        start = self._start + (number - 1) * SECOND // 4
        return Span(
            self._trace_id,
            f"{number:016x}",
            name,
            start,
            start + int(took * SECOND),
            None if parent is None else f"{parent:016x}",
            operation=operation,
            run_id=f"{1:032x}",
            sequence=number - 2 if parent is not None else 9,
            **fields,
        )

    def with_two_made_up(self) -> tuple[Span, ...]:
        """Two calls, each with an order number that nobody gave."""
        first, second = (
            ToolCall("look_up", {"order_id": "KS-11111"}, "call_1"),
            ToolCall("look_up", {"order_id": "KS-22222"}, "call_2"),
        )
        task, found = user("What is the state of my orders?"), {"state": "sent"}
        history = [task, asks(first, second), told("call_1", found), told("call_2", found)]
        return (
            self.span(1, None, "invoke_agent support", AgentInvocation("support", input=(task,)), took=1.0),
            self.span(2, 1, "chat m", chat([task], asks(first, second))),
            self.span(3, 1, "execute_tool look_up", ToolExecution("look_up", first.arguments, found, True, "call_1", LOOK_UP)),
            self.span(4, 1, "execute_tool look_up", ToolExecution("look_up", second.arguments, found, True, "call_2", LOOK_UP)),
            self.span(5, 1, "chat m", chat(history, answers("They are sent."))),
        )

    def with_unexpected_argument(self) -> tuple[Span, ...]:
        """A call with an argument that its schema does not name and does not forbid."""
        call = ToolCall("look_up", {"order_id": "KS-20457", "color": "blue"}, "call_1")
        task = user("Look up KS-20457, the blue one.")
        order = {"order_id": "KS-20457"}
        history = [task, asks(call), told("call_1", order)]
        return (
            self.span(1, None, "invoke_agent support", AgentInvocation("support", input=(task,)), took=1.0),
            self.span(2, 1, "chat m", chat([task], asks(call))),
            self.span(3, 1, "execute_tool look_up", ToolExecution("look_up", call.arguments, order, True, "call_1", LOOK_UP)),
            self.span(4, 1, "chat m", chat(history, answers("It is order KS-20457."))),
        )


REVIEWED = "5c3e8d1f0b9a4c7d8e6f1a2b3c4d5e6f"


def reviewed(start: int) -> tuple[Span, ...]:
    """A refund that waited two seconds and was changed, and one that was rejected."""
    maker = Maker(REVIEWED, start)
    first, second = {"order_id": "KS-1", "amount": 42.0}, {"order_id": "KS-2", "amount": 9.0}
    review = Review("refund", "rev_1", "refund", "c1", payload=first, decision="edited", decided_by="ann")
    review = replace(review, value={**first, "amount": 12.0})
    rejected = Review("refund", "rev_2", "refund", "c2", payload=second, decision="rejected", note="it was paid back")
    waited = {"llmtrace.review.waited": 2.0}
    return (
        maker.span(1, None, "invoke_agent desk", AgentInvocation("desk"), took=3.0, attributes=waited),
        maker.span(2, 1, "review refund", review, took=2.0),
        maker.span(3, 1, "execute_tool refund", ToolExecution("refund", review.value, {"refunded": 12.0}, True, "c1")),
        maker.span(4, 1, "review refund", rejected, took=0),
        maker.span(5, 1, "execute_tool refund", ToolExecution("refund", second, call_id="c2", executed=False)),
    )
