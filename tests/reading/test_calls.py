"""A call is one call, whoever reports it and in whatever order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.model import Inference, Message, Review, Span, Text, ToolCall, ToolDefinition, ToolExecution, ToolResult
from llmtrace.reading.calls import MOST_CALLS, Call, result_text
from llmtrace.reading.timeline import Timeline

TOOL = ToolDefinition("pay", {"type": "object"}, cache={})


def span(operation: object, number: int) -> Span:
    return Span("a" * 32, f"{number:016x}", "s", number, number + 1, operation=operation)  # type: ignore[arg-type]


def asking(number: int, *calls: ToolCall) -> Span:
    messages = (Message("user", (Text("pay, please"),)),)
    return span(Inference("x", input=messages, output=(Message("assistant", calls),), tools=(TOOL,)), number)


def running(number: int, call_id: str | None, result: object = "paid", **arguments: object) -> Span:
    return span(ToolExecution("pay", arguments, result, True, call_id), number)


def telling(number: int, *results: ToolResult) -> Span:
    asked = Message("assistant", tuple(ToolCall("pay", {}, result.id) for result in results))
    messages = (Message("user", (Text("pay, please"),)), asked, Message("tool", results))
    return span(Inference("x", input=messages, output=(Message("assistant", (Text("done"),)),)), number)


def calls_of(*spans: Span) -> list[Call]:
    timeline = Timeline(bounded=True)
    for each in spans:
        timeline.add(each)
    return timeline.calls.all


def test_no_order_of_arrival_makes_two_of_one_call() -> None:
    """The model's request, the execution and the message with the result come in any order."""
    spans = (asking(1, ToolCall("pay", {"n": 1}, "c1")), running(2, "c1", n=1), telling(3, ToolResult("paid", "c1")))
    for order in permutations(spans):
        (call,) = calls_of(*order)
        assert (call.result, call.failed, call.execution) == ("paid", False, spans[1])
        assert call.asking_span == spans[0].span_id


def test_without_ids_tool_and_arguments_join() -> None:
    """In either order; two calls of one tool are told apart by their arguments."""
    first, second = ToolCall("pay", {"n": 1}), ToolCall("pay", {"n": 2})
    for spans in (
        (asking(1, first, second), running(2, None, "two", n=2), running(3, None, "one", n=1)),
        (running(1, None, "two", n=2), running(2, None, "one", n=1), asking(3, first, second)),
    ):
        assert sorted((call.arguments["n"], call.result) for call in calls_of(*spans)) == [(1, "one"), (2, "two")]


def test_a_result_that_only_messages_show_completes_the_call() -> None:
    """A program that runs its tools untraced tells the model all the same; it is reported once."""
    timeline = Timeline(bounded=True)
    timeline.add(asking(1, ToolCall("pay", {"n": 1}, "c1")))
    timeline.add(telling(2, ToolResult('{"error": "no"}', "c1")))
    (completed,) = timeline.completed
    assert completed.failed is True
    assert completed.telling_span == f"{2:016x}"
    timeline.add(running(3, "c1", n=1))
    assert timeline.completed == ()


@given(st.lists(st.sampled_from(["u1", "u2", "u3"]), max_size=6))
def test_a_turn_of_the_user_counts_once(words: list[str]) -> None:
    """However often the history is sent again; the same words behind an answer are another turn."""
    timeline = Timeline(bounded=True)
    history: list[Message] = []
    for number, text in enumerate(words):
        history += [Message("user", (Text(text),))]
        timeline.add(span(Inference("x", input=tuple(history)), number))
        history += [Message("assistant", (Text(f"a{number}"),))]
        timeline.add(span(Inference("x", input=tuple(history[:-1])), number))
    assert timeline.turn == len(words)


def reviewed(number: int, decision: str, call_id: str = "c1") -> Span:
    return span(Review("pay", tool="pay", call_id=call_id, decision=decision), number)


def held(number: int, call_id: str = "c1", **fields: Any) -> Span:
    return span(ToolExecution("pay", {"a": 1}, call_id=call_id, executed=False, **fields), number)


def test_a_call_that_a_person_holds_back_neither_failed_nor_went_well() -> None:
    """Not by its own span, nor by the message that tells the model."""
    ask = asking(1, ToolCall("pay", {"a": 1}, "c1"))
    answer = telling(4, ToolResult("Error: the person said no", "c1"))
    for decision in ("pending", "rejected", "timed_out"):
        denied = held(3, result="Error: the person said no", has_result=True)
        for spans in ((ask, reviewed(2, decision), denied, answer), (ask, reviewed(2, decision), answer)):
            (call,) = calls_of(*spans)
            assert (call.failed, call.has_result, call.is_held_back) == (None, False, True)


def test_a_call_that_waited_is_one_call() -> None:
    """It ended as held, and ran when the run went on; or a person's answer took the tool's place."""
    ask = asking(1, ToolCall("pay", {"a": 1}, "c1"))
    (call,) = calls_of(ask, reviewed(2, "pending"), held(3), reviewed(4, "approved"), running(5, "c1", a=1))
    assert (call.failed, call.result, call.is_held_back) == (False, "paid", False)
    (call,) = calls_of(ask, reviewed(2, "answered"), held(3, result="by cheque", has_result=True))
    assert (call.failed, call.result, call.is_held_back) == (False, "by cheque", False)


def test_a_live_timeline_is_bounded() -> None:
    """However many calls a run makes."""
    timeline = Timeline(bounded=True)
    for number in range(5 * MOST_CALLS):
        timeline.add(running(number, f"c{number}", n=number))
    assert len(timeline.calls.all) <= 2 * MOST_CALLS
    assert len(timeline.steps) <= 4 * MOST_CALLS
    assert timeline.calls.all[-1].position == 5 * MOST_CALLS - 1


@pytest.mark.parametrize(("other", "same"), [("paid", True), ("late", False), ({"paid": 1}, False)])
def test_same_results_are_equal_results(other: object, same: bool) -> None:
    """By value and type."""
    first, second = calls_of(running(1, "c1"), running(2, "c2", other))
    assert (result_text(first) == result_text(second)) is same
