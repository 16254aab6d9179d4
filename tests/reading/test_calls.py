"""A call is one call, whoever reports it and in whatever order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.evaluation import evaluate_trace
from llmtrace.model import (
    Failure,
    Inference,
    Message,
    Review,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
    replace,
)
from llmtrace.reading.calls import MOST_CALLS, Call, result_text
from llmtrace.reading.timeline import Timeline
from llmtrace.recorder.run import Run

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


# -- joins: the recorder, the timeline, and the spans of other writers


def asked_of(*calls: ToolCall, number: int = 1, below: str = "e" * 16) -> Span:
    return replace(asking(number, *calls), parent_id=below)


def joined(asked: Span, executions: list[ToolExecution]) -> dict[str, list[str | None]]:
    """The id of the call that each execution belongs to: live, in the timeline, and in an evaluated trace."""
    spans = [replace(span(execution, number), parent_id="e" * 16) for number, execution in enumerate(executions, 10)]
    run = Run("r", None)
    run.end_span(asked, outermost=False)
    timeline, (evaluated, _) = Timeline(), evaluate_trace(Trace([asked, *spans]))
    for each in (asked, *spans):
        timeline.add(each)
    calls = [timeline.calls.of_execution(each.span_id) for each in spans]
    return {
        "recorder": [run.join_call(execution).call_id for execution in executions],
        "timeline": [None if call is None or call.asking_span is None else call.id for call in calls],
        "evaluated": [getattr(evaluated.span(each.span_id).operation, "call_id", None) for each in spans],
    }


ONE, EQUAL, OTHER = ToolCall("f", {"n": 1}, "c1"), ToolCall("f", {"n": 1}, "c2"), ToolCall("f", {"n": 2}, "c2")


@pytest.mark.parametrize(
    ("asked", "executions", "ids"),
    [
        pytest.param([ONE, EQUAL], [{"n": 1}, {"n": 1}], ["c1", "c2"], id="equal calls, in order"),
        pytest.param([ONE, OTHER], [{"n": 2}, {"n": 1}], ["c2", "c1"], id="other order"),
        pytest.param([ONE, OTHER], [{"n": 3}], [None], id="arguments of no call"),
        pytest.param([ONE], [1], ["c1"], id="single argument without its name"),
        pytest.param([ONE], ['{"n": 1}'], ["c1"], id="arguments as text"),
        pytest.param([ToolCall("f", '{"n": 1', "c1")], ['{"n": 1'], ["c1"], id="text that is no JSON"),
        pytest.param([ToolCall("g", {"n": 1}, "c1")], [{"n": 1}], [None], id="another tool"),
    ],
)
def test_executions_without_ids_are_joined_alike_everywhere(
    asked: list[ToolCall], executions: list[Any], ids: list[str | None]
) -> None:
    found = joined(asked_of(*asked), [ToolExecution("f", arguments) for arguments in executions])
    assert found == {"recorder": ids, "timeline": ids, "evaluated": ids}


@pytest.mark.parametrize(
    ("asked", "executions", "ids"),
    [
        pytest.param([ToolCall("f", {"n": "1"}, "c1")], [{"n": 1}], ["c1"], id="the only call, arguments of another type"),
        pytest.param([ONE, OTHER], [None, None], ["c1", "c2"], id="arguments not recorded"),
    ],
)
def test_executions_that_only_the_order_shows_are_joined_live_and_in_the_timeline(
    asked: list[ToolCall], executions: list[Any], ids: list[str | None]
) -> None:
    """`reconcile` leaves them without an id. The timeline, which reads its result, joins them."""
    found = joined(asked_of(*asked), [ToolExecution("f", arguments) for arguments in executions])
    assert found == {"recorder": ids, "timeline": ids, "evaluated": ids}


def test_an_id_that_the_framework_gave_joins_by_equal_arguments() -> None:
    """The call is counted once, also if a client and its server report the same execution."""
    executions = [ToolExecution("f", {"n": 2}, call_id="x1"), ToolExecution("f", {"n": 1}, call_id="x2")]
    found = joined(asked_of(ONE, OTHER), executions)
    assert (found["recorder"], found["timeline"]) == (["c2", "c1"], ["c2", "c1"])
    assert joined(asked_of(ONE), [ToolExecution("f", {"n": 9}, call_id="x1")])["timeline"] == [None]
    outer, inner = span(executions[1], 10), replace(span(executions[1], 11), start=10, end=11, parent_id=f"{10:016x}")
    (call, other) = calls_of(asked_of(ONE, OTHER), inner, replace(outer, end=20))
    assert (call.id, call.execution is None, other.execution) == ("c1", False, None)


def test_ids_that_repeat_join_within_their_conversation() -> None:
    """Parallel agents whose server counts from 0: each result and each failure belongs to its own agent's call."""
    cities = ("Ghent", "Oslo", "Turin")
    prompts = [Message("user", (Text(f"The weather in {city}?"),)) for city in cities]
    asked = [ToolCall("weather", {"city": city}, "call_0") for city in cities]
    answers = [Message("assistant", (call,)) for call in asked]
    requests = [
        replace(span(Inference("x", input=(prompt,), output=(answer,)), at), parent_id=f"{at:x}" * 16)
        for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), 10)
    ]
    ran = [ToolExecution("weather", call.arguments, f"sun in {call.arguments}", True, "call_0") for call in asked]
    executions = [replace(span(one, at + 10), parent_id=f"{at:x}" * 16) for at, one in enumerate(ran, 10)]
    executions[1] = replace(executions[1], failure=Failure("TimeoutError", "late"))
    executions[1] = replace(executions[1], operation=replace(ran[1], result=None, has_result=False))
    results = ["sun in Ghent", "TimeoutError: late", "sun in Turin"]
    told = [
        replace(
            span(Inference("x", input=(prompt, answer, Message("tool", (ToolResult(text, "call_0"),)))), at + 20),
            parent_id=f"{at:x}" * 16,
        )
        for at, (prompt, answer, text) in enumerate(zip(prompts, answers, results, strict=True), 10)
    ]
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        for with_spans in (True, False):
            spans = [*requests, *([executions[at] for at in order] if with_spans else []), *(told[at] for at in order)]
            calls = calls_of(*spans)
            assert [call.arguments["city"] for call in calls] == list(cities)
            assert [call.failed for call in calls] == [False, True, False]
            assert [call.telling_span for call in calls] == [each.span_id for each in told]
            assert [call.conversation for call in calls] == [0, 1, 2]
            if with_spans:
                assert [call.execution for call in calls] == executions


def test_an_id_that_comes_again_is_another_call() -> None:
    """Some servers count the calls of each answer from 0."""
    history = [Message("user", (Text("Pay"),))]
    spans = []
    for turn in range(3):
        answer = Message("assistant", (ToolCall("pay", {"n": turn}, "call_0"),))
        spans.append(span(Inference("x", input=tuple(history), output=(answer,)), 10 * turn))
        spans.append(span(ToolExecution("pay", {"n": turn}, f"paid {turn}", True, "call_0"), 10 * turn + 2))
        history += [answer, Message("tool", (ToolResult(f"paid {turn}", "call_0"),))]
    spans.append(span(Inference("x", input=tuple(history)), 40))
    calls = calls_of(*spans)
    assert [(call.arguments["n"], call.result, call.execution) for call in calls] == [
        (turn, f"paid {turn}", spans[2 * turn + 1]) for turn in range(3)
    ]
    assert [call.telling_span for call in calls] == [spans[2].span_id, spans[4].span_id, spans[6].span_id]
