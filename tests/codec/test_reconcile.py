"""Several spans of one model call count once; executions find the calls they answer; only spans of other writers change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.codec.dialects import decode
from llmtrace.codec.reconcile import reconcile
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Failure,
    Inference,
    Message,
    Operation,
    RawSpan,
    Scope,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Trace,
    Usage,
    replace,
)

RUN = "f" * 32
CALL = ToolCall("look_up", {"order_id": "KS-1"}, "call_1")
TOOL = ToolDefinition("look_up", {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]})


def span(number: int, operation: Operation, parent: int | None = None, **fields: Any) -> Span:
    times = {"start": number, "end": 100 - number}
    return Span(
        "1" * 32,
        f"{number:016x}",
        f"s{number}",
        parent_id=None if parent is None else f"{parent:016x}",
        operation=operation,
        **{**times, **fields},
    )


def answer(text: str, tokens: int | None = None, **fields: Any) -> Inference:
    usage = None if tokens is None else Usage(10, tokens)
    return Inference("p", output=(Message("assistant", (Text(text),)),), usage=usage, **fields)


def kinds(*spans: Span) -> list[str]:
    return [type(one.operation).__name__ for one in reconcile(Trace(spans)).spans]


def test_a_wrapper_becomes_a_plain_step() -> None:
    """A framework's span around the client's, plain spans between: the client's is the inference."""
    trace = reconcile(Trace([span(1, answer("a", 5)), span(2, Custom(), 1), span(3, answer("a", 5), 2)]))
    wrapper, _, inner = trace.spans
    assert isinstance(wrapper.operation, Custom)
    assert isinstance(inner.operation, Inference)
    assert wrapper.attributes[sc.SAME_CALL] == inner.span_id
    assert wrapper.attributes[sc.USAGE_OUTPUT_TOKENS] == 5
    assert reconcile(trace) == trace
    for one in trace.spans:
        assert decode(genai.encode(one)) == genai.decode(genai.encode(one)) == one


def test_three_levels_count_once() -> None:
    """A framework, a gateway's client and the SDK."""
    assert kinds(span(1, answer("a")), span(2, answer("a"), 1), span(3, answer("a"), 2)) == ["Custom", "Custom", "Inference"]


def test_a_wrapper_of_several_calls() -> None:
    """Its tokens are their sum, or its answer is the last one's: they are the inferences."""
    assert kinds(span(1, answer("b", 12)), span(2, answer("a", 5), 1), span(3, answer("b", 7), 1)) == [
        "Custom",
        "Inference",
        "Inference",
    ]


def test_a_call_inside_a_tool_is_another() -> None:
    """What runs below a tool's execution, or differs in its answer and its length, is a call of its own."""
    assert kinds(span(1, answer("a")), span(2, ToolExecution("t"), 1), span(3, answer("a"), 2)) == [
        "Inference",
        "ToolExecution",
        "Inference",
    ]
    assert kinds(span(1, answer("a", 5)), span(2, answer("b", 9), 1)) == ["Inference", "Inference"]


def test_the_engines_side_counts_where_no_client_is() -> None:
    """A span of kind server below an inference is the same call, even below ours; by itself it is the inference."""
    ours = span(1, answer("a", 5), run_id=RUN)
    engine = span(2, Inference("vllm", usage=Usage(10, 7)), 1, kind="server")
    trace = reconcile(Trace([ours, engine]))
    assert trace.spans[0] is ours
    assert isinstance(trace.spans[1].operation, Custom)
    assert trace.spans[1].attributes[sc.SAME_CALL] == ours.span_id
    assert kinds(engine) == ["Inference"]


def test_a_vendors_spans_of_our_call_count_once() -> None:
    """Those of Anthropic's API, as its reference has them: one for each attempt, with a tool that the API ran."""
    asked = {
        sc.OPERATION_NAME: "chat",
        sc.PROVIDER_NAME: "anthropic",
        sc.REQUEST_MODEL: "claude-opus-5",
        sc.RESPONSE_ID: "msg_1",
        sc.USAGE_INPUT_TOKENS: 10,
        sc.USAGE_OUTPUT_TOKENS: 5,
    }
    tool = {sc.OPERATION_NAME: "execute_tool", sc.TOOL_NAME: "web_search", sc.TOOL_CALL_ID: "srvtoolu_1"}
    scope = Scope("com.anthropic.claude-platform")
    for run_id in (RUN, None):
        client = span(1, answer("a", 5, response_id="msg_1"), run_id=run_id, kind="client")
        api = [
            decode(RawSpan("1" * 32, f"{number:016x}", name, number, 50, parent, kind, attributes=attributes, scope=scope))
            for number, name, parent, kind, attributes in (
                (2, "anthropic.messages.create", client.span_id, "server", {**asked, sc.ERROR_TYPE: "529"}),
                (3, "anthropic.messages.create", client.span_id, "server", asked),
                (4, "anthropic.tool_use web_search", f"{3:016x}", "internal", tool),
            )
        ]
        assert kinds(client, *api) == ["Inference", "Custom", "Custom", "ToolExecution"]


def test_ours_counts() -> None:
    """Of another's span and ours about one call, whichever is around the other, ours is the inference, and stays as it is."""
    for outer, inner in ((RUN, None), (None, RUN)):
        trace = reconcile(Trace([span(1, answer("a", 5), run_id=outer), span(2, answer("a", 5), 1, run_id=inner)]))
        counted = [one for one in trace.spans if isinstance(one.operation, Inference)]
        assert [one.run_id for one in counted] == [RUN]


def test_what_only_the_wrapper_saw_is_kept() -> None:
    """The tools on offer, say, where the client's instrumentation left content out."""
    trace = reconcile(Trace([span(1, answer("a", 5, tools=(TOOL,))), span(2, Inference("openai", usage=Usage(10, 5)), 1)]))
    assert trace.spans[1].operation == answer("a", 5, tools=(TOOL,)).__class__(
        "openai", usage=Usage(10, 5), tools=(TOOL,), output=answer("a").output
    )


def test_an_execution_finds_its_call() -> None:
    """By name and arguments, each call once, alike ones in order; the id is marked as inferred."""
    asked = Inference("p", output=(Message("assistant", (CALL, ToolCall("look_up", {"order_id": "KS-1"}, "call_2"))),))
    runs = [ToolExecution("look_up", {"order_id": "KS-1"}) for _ in range(2)]
    other = ToolExecution("look_up", {"order_id": "KS-2"})
    trace = reconcile(
        Trace([span(1, asked, start=1, end=2), *(span(n, run, start=n, end=n + 1) for n, run in enumerate([*runs, other], 3))])
    )
    found = [one.operation for one in trace.spans[1:]]
    assert [(one.call_id, one.inferred) for one in found] == [("call_1", True), ("call_2", True), (None, False)]  # type: ignore[union-attr]


def test_an_argument_without_its_name_is_the_calls() -> None:
    """Some writers give a tool's only argument by itself: the execution is joined, and keeps what was written."""
    asked = Inference("p", output=(Message("assistant", (CALL,)),))
    trace = reconcile(Trace([span(1, asked, start=1, end=2), span(3, ToolExecution("look_up", "KS-1"), start=3, end=4)]))
    assert trace.spans[1].operation == ToolExecution("look_up", "KS-1", call_id="call_1", inferred=True)


TICK = 1_000_000


@st.composite
def loops(draw: st.DrawFn) -> list[Span]:
    """An agent's loop: each model call asks for tools, which run while it streams or after it. No execution has an id."""
    spans: list[Span] = []
    now = 0
    for turn in range(draw(st.integers(1, 5))):
        calls = [
            ToolCall("look_up", {"order_id": draw(st.sampled_from(["KS-1", "KS-2"]))}, f"call_{turn}_{place}")
            for place in range(draw(st.integers(1, 3)))
        ]
        asked = now
        now += draw(st.integers(2 * TICK, 9 * TICK))
        for call in calls:
            start = now + draw(st.integers(0, TICK // 2))
            now = start + draw(st.integers(1, 3 * TICK))
            spans.append(span(len(spans) + 1, ToolExecution(call.name, call.arguments, call_id=call.id), start=start, end=now))
        end = now + draw(st.sampled_from([-TICK, 1, TICK]))
        spans.append(
            span(len(spans) + 1, Inference("p", output=(Message("assistant", tuple(calls)),)), start=asked, end=max(end, asked))
        )
        now += draw(st.integers(1, TICK))
    return spans


def _without_ids(one: Span) -> Span:
    operation = one.operation
    return replace(one, operation=replace(operation, call_id=None)) if isinstance(operation, ToolExecution) else one


def _joined(trace: Trace) -> dict[str, str | None]:
    return {one.span_id: one.operation.call_id for one in trace.spans if isinstance(one.operation, ToolExecution)}


@settings(max_examples=200, deadline=None)
@given(loops(), st.data())
def test_no_order_of_arrival_changes_the_calls(spans: list[Span], data: st.DataObject) -> None:
    """Spans that come shuffled, twice, or while they are still open are the same calls, and so are their joins."""
    told = [_without_ids(one) for one in spans]
    again = data.draw(st.lists(st.sampled_from(told), max_size=4))
    early = [replace(one, end=None) for one in data.draw(st.lists(st.sampled_from(told), max_size=2))]
    arrived = data.draw(st.permutations([*told, *again, *early]))
    trace = reconcile(Trace(arrived))
    assert trace == reconcile(Trace(told))
    assert _joined(trace) == _joined(Trace(spans))


@settings(max_examples=200, deadline=None)
@given(loops())
def test_a_clock_of_whole_milliseconds_changes_no_call(spans: list[Span]) -> None:
    """An execution may then seem to begin with the model call after it, and to take no time: it is joined as before."""
    coarse = [replace(one, start=one.start // TICK * TICK, end=(one.end or 0) // TICK * TICK) for one in spans]
    assert set(_joined(reconcile(Trace([_without_ids(one) for one in coarse]))).values()) == set(_joined(Trace(spans)).values())


@settings(max_examples=100, deadline=None)
@given(loops())
def test_ids_that_were_written_are_kept(spans: list[Span]) -> None:
    assert reconcile(Trace(spans)) == Trace(spans)


def test_two_writers_side_by_side_count_once() -> None:
    """Of a stream, an SDK and its instrumentation have the same parent. A third span is another call, and so is a later one."""
    instrumentation, sdk = Scope("instrumentation"), Scope("sdk")
    outer = span(2, answer("a", 5), 1, scope=instrumentation, end=20)
    failure = Failure("api_error", "lost")
    inner = span(3, Inference("p", usage=Usage(10, 5), response_id="r"), 1, scope=sdk, end=19, failure=failure)
    other, later = span(4, answer("b", 7), 1, scope=sdk, end=18), span(30, answer("a", 5), 1, scope=sdk)
    spans = [span(1, Custom()), outer, inner, other, later]
    for arrived in (spans, spans[::-1]):
        trace = reconcile(Trace(arrived))
        calls = [one for one in trace.spans if isinstance(one.operation, Inference)]
        assert {one.span_id for one in calls} == {outer.span_id, other.span_id, later.span_id}
        counted = trace.span(outer.span_id)
        assert (counted.operation.response_id, counted.failure) == ("r", failure)  # type: ignore[attr-defined]
        assert trace.span(inner.span_id).attributes[sc.SAME_CALL] == outer.span_id
        assert reconcile(trace) == trace


@pytest.mark.parametrize("written", ['{"order_id": "KS-1"}', [{"order_id": "KS-1"}], ['{"order_id":"KS-1"}']])
def test_all_arguments_as_one(written: Any) -> None:
    """A program may hand a tool the text that the model wrote, or one object: it is joined to its call all the same."""
    call = span(1, Inference("p", output=(Message("assistant", (CALL,)),)), end=2)
    trace = reconcile(Trace([call, span(3, ToolExecution("look_up", written))]))
    assert trace.spans[1].operation == ToolExecution("look_up", written, call_id="call_1", inferred=True)


def test_tools_told_of_with_the_agent_are_on_offer() -> None:
    """So that the calls of its inferences are judged."""
    agent = span(
        1, AgentInvocation("support"), attributes={sc.TOOL_DEFINITIONS: [{"name": "look_up", "parameters": TOOL.parameters}]}
    )
    wrong = Inference("p", output=(Message("assistant", (ToolCall("look_up", {}, "c"),)),))
    judged, _ = evaluate_trace(Trace([agent, span(2, wrong, 1)]))
    assert [found.code for found in judged.spans[1].violations] == ["missing"]


def test_a_trace_of_ours_is_itself() -> None:
    """Not even copied."""
    trace = Trace(
        [span(1, answer("a"), run_id=RUN), span(2, answer("a"), 1, run_id=RUN), span(3, ToolExecution("t"), run_id=RUN)]
    )
    assert reconcile(trace) is trace
