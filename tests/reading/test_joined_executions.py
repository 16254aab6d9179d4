"""Executions whose writers gave no call id are joined to the calls of the model, whatever arrived when."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Inference, Message, Operation, Span, ToolCall, ToolExecution, ToolResult, Trace, replace

CALL = ToolCall("look_up", {"order_id": "KS-1"}, "call_1")


def span(number: int, operation: Operation, **fields: Any) -> Span:
    times = {"start": number, "end": 100 - number}
    return Span("1" * 32, f"{number:016x}", f"s{number}", operation=operation, **{**times, **fields})


def evaluated(spans: list[Span]) -> Trace:
    return evaluate_trace(Trace(spans))[0]


def test_an_execution_is_joined_to_its_call() -> None:
    """Name and arguments must be equal. Each call is used once, equal calls in order. The id is marked as inferred."""
    request = Inference("p", output=(Message("assistant", (CALL, ToolCall("look_up", {"order_id": "KS-1"}, "call_2"))),))
    runs = [ToolExecution("look_up", {"order_id": "KS-1"}) for _ in range(2)]
    unmatched = ToolExecution("look_up", {"order_id": "KS-2"})
    executions = [span(n, run, start=n, end=n + 1) for n, run in enumerate([*runs, unmatched], 3)]
    trace = evaluated([span(1, request, start=1, end=2), *executions])
    operations = [item.operation for item in trace.spans[1:]]
    assert [(item.call_id, item.inferred) for item in operations] == [("call_1", True), ("call_2", True), (None, False)]  # type: ignore[union-attr]


def test_a_call_whose_result_came_without_an_execution_is_not_the_one_that_ran() -> None:
    """The program answered the first of two equal calls itself: the execution belongs to the second."""
    calls = [replace(CALL, id=call_id) for call_id in ("call_1", "call_2")]
    first, second = (Message("assistant", (call,)) for call in calls)
    told = Message("tool", (ToolResult("not now", "call_1"),))
    asked = [Inference("p", output=(first,)), Inference("p", input=(first, told), output=(second,))]
    spans = [span(n, one, start=10 * n, end=10 * n + 5) for n, one in enumerate(asked)]
    trace = evaluated([*spans, span(9, ToolExecution("look_up", CALL.arguments), start=20, end=21)])
    assert getattr(trace.spans[-1].operation, "call_id", None) == "call_2"


def test_an_argument_without_its_name_is_compared_too() -> None:
    """Some writers omit the name of a tool's only argument. The execution is joined, and its arguments do not change."""
    request = Inference("p", output=(Message("assistant", (CALL,)),))
    trace = evaluated([span(1, request, start=1, end=2), span(3, ToolExecution("look_up", "KS-1"), start=3, end=4)])
    assert trace.spans[1].operation == ToolExecution("look_up", "KS-1", call_id="call_1", inferred=True)


TICK = 1_000_000


@st.composite
def loops(draw: st.DrawFn) -> list[Span]:
    """Return an agent's loop: each model call requests tools, which run while it streams or after it."""
    spans: list[Span] = []
    now = 0
    for turn in range(draw(st.integers(1, 5))):
        calls = [
            ToolCall("look_up", {"order_id": draw(st.sampled_from(["KS-1", "KS-2"]))}, f"call_{turn}_{place}")
            for place in range(draw(st.integers(1, 3)))
        ]
        called_at = now
        now += draw(st.integers(2 * TICK, 9 * TICK))
        for call in calls:
            start = now + draw(st.integers(0, TICK // 2))
            now = start + draw(st.integers(1, 3 * TICK))
            spans.append(span(len(spans) + 1, ToolExecution(call.name, call.arguments, call_id=call.id), start=start, end=now))
        end = now + draw(st.sampled_from([-TICK, 1, TICK]))
        spans.append(
            span(
                len(spans) + 1,
                Inference("p", output=(Message("assistant", tuple(calls)),)),
                start=called_at,
                end=max(end, called_at),
            )
        )
        now += draw(st.integers(1, TICK))
    return spans


def _without_ids(item: Span) -> Span:
    operation = item.operation
    return replace(item, operation=replace(operation, call_id=None)) if isinstance(operation, ToolExecution) else item


def _joined(trace: Trace) -> dict[str, str | None]:
    return {item.span_id: item.operation.call_id for item in trace.spans if isinstance(item.operation, ToolExecution)}


@settings(max_examples=200, deadline=None)
@given(loops(), st.data())
def test_no_order_of_arrival_changes_the_calls(spans: list[Span], data: st.DataObject) -> None:
    """Spans may arrive shuffled, twice, or before they have ended, and the result is the same."""
    without_ids = [_without_ids(item) for item in spans]
    again = data.draw(st.lists(st.sampled_from(without_ids), max_size=4))
    early = [replace(item, end=None) for item in data.draw(st.lists(st.sampled_from(without_ids), max_size=2))]
    arrived = data.draw(st.permutations([*without_ids, *again, *early]))
    trace = evaluated(arrived)
    assert trace == evaluated(without_ids)
    assert _joined(trace) == _joined(Trace(spans))


@settings(max_examples=200, deadline=None)
@given(loops())
def test_a_clock_of_whole_milliseconds_changes_no_call(spans: list[Span]) -> None:
    """An execution may seem to begin with the next model call and to take no time. It is joined to the same call."""
    coarse = [replace(item, start=item.start // TICK * TICK, end=(item.end or 0) // TICK * TICK) for item in spans]
    assert set(_joined(evaluated([_without_ids(item) for item in coarse])).values()) == set(_joined(Trace(spans)).values())


@settings(max_examples=100, deadline=None)
@given(loops())
def test_written_ids_do_not_change(spans: list[Span]) -> None:
    assert _joined(evaluated(spans)) == _joined(Trace(spans))


@pytest.mark.parametrize("written", ['{"order_id": "KS-1"}', [{"order_id": "KS-1"}], ['{"order_id":"KS-1"}']])
def test_all_arguments_as_one_value(written: Any) -> None:
    """A program may pass a tool the model's text or one object. The execution is still joined to its call."""
    call = span(1, Inference("p", output=(Message("assistant", (CALL,)),)), end=2)
    trace = evaluated([call, span(3, ToolExecution("look_up", written))])
    assert trace.spans[1].operation == ToolExecution("look_up", written, call_id="call_1", inferred=True)
