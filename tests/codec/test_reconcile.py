"""Several spans of a model call count once, and only spans of other writers change."""

from __future__ import annotations

from typing import Any

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
    return [type(item.operation).__name__ for item in reconcile(Trace(spans)).spans]


def test_a_wrapper_becomes_a_plain_step() -> None:
    """If a framework's span is around the client's, with plain spans between, the client's span is the inference."""
    trace = reconcile(Trace([span(1, answer("a", 5)), span(2, Custom(), 1), span(3, answer("a", 5), 2)]))
    wrapper, _, inner = trace.spans
    assert isinstance(wrapper.operation, Custom)
    assert isinstance(inner.operation, Inference)
    assert wrapper.attributes[sc.SAME_CALL] == inner.span_id
    assert wrapper.attributes[sc.USAGE_OUTPUT_TOKENS] == 5
    assert reconcile(trace) == trace
    for item in trace.spans:
        assert decode(genai.encode(item)) == genai.decode(genai.encode(item)) == item


def test_three_levels_count_once() -> None:
    """They are a framework, a gateway's client and the SDK."""
    assert kinds(span(1, answer("a")), span(2, answer("a"), 1), span(3, answer("a"), 2)) == ["Custom", "Custom", "Inference"]


def test_a_wrapper_of_several_calls() -> None:
    """The calls are the inferences if the wrapper has the sum of their tokens, or the last answer."""
    assert kinds(span(1, answer("b", 12)), span(2, answer("a", 5), 1), span(3, answer("b", 7), 1)) == [
        "Custom",
        "Inference",
        "Inference",
    ]


def test_a_call_inside_a_tool_is_another_call() -> None:
    """A call is separate if it runs below a tool, or if answer and tokens differ."""
    assert kinds(span(1, answer("a")), span(2, ToolExecution("t"), 1), span(3, answer("a"), 2)) == [
        "Inference",
        "ToolExecution",
        "Inference",
    ]
    assert kinds(span(1, answer("a", 5)), span(2, answer("b", 9), 1)) == ["Inference", "Inference"]


def test_the_engines_span_counts_if_there_is_no_client() -> None:
    """A span of kind server below an inference, even ours, is the same call. By itself it is the inference."""
    ours = span(1, answer("a", 5), run_id=RUN)
    engine = span(2, Inference("vllm", usage=Usage(10, 7)), 1, kind="server")
    trace = reconcile(Trace([ours, engine]))
    assert trace.spans[0] is ours
    assert isinstance(trace.spans[1].operation, Custom)
    assert trace.spans[1].attributes[sc.SAME_CALL] == ours.span_id
    assert kinds(engine) == ["Inference"]


def test_a_vendors_spans_of_our_call_count_once() -> None:
    """Anthropic's API writes a span for each attempt, and one for a tool that the API ran, by its reference."""
    request = {
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
                (2, "anthropic.messages.create", client.span_id, "server", {**request, sc.ERROR_TYPE: "529"}),
                (3, "anthropic.messages.create", client.span_id, "server", request),
                (4, "anthropic.tool_use web_search", f"{3:016x}", "internal", tool),
            )
        ]
        assert kinds(client, *api) == ["Inference", "Custom", "Custom", "ToolExecution"]


def test_our_span_counts() -> None:
    """If another writer's span and ours record one call, ours is the inference, whichever span is the outer one."""
    for outer, inner in ((RUN, None), (None, RUN)):
        trace = reconcile(Trace([span(1, answer("a", 5), run_id=outer), span(2, answer("a", 5), 1, run_id=inner)]))
        counted = [item for item in trace.spans if isinstance(item.operation, Inference)]
        assert [item.run_id for item in counted] == [RUN]


def test_fields_that_only_the_wrapper_has_are_added() -> None:
    """Such as the offered tools, if the client's instrumentation does not record content."""
    trace = reconcile(Trace([span(1, answer("a", 5, tools=(TOOL,))), span(2, Inference("openai", usage=Usage(10, 5)), 1)]))
    assert trace.spans[1].operation == answer("a", 5, tools=(TOOL,)).__class__(
        "openai", usage=Usage(10, 5), tools=(TOOL,), output=answer("a").output
    )


def test_two_writers_side_by_side_count_once() -> None:
    """For a stream, an SDK and its instrumentation write siblings. A third span or a later one is another call."""
    instrumentation, sdk = Scope("instrumentation"), Scope("sdk")
    outer = span(2, answer("a", 5), 1, scope=instrumentation, end=20)
    failure = Failure("api_error", "lost")
    inner = span(3, Inference("p", usage=Usage(10, 5), response_id="r"), 1, scope=sdk, end=19, failure=failure)
    unmatched, later = span(4, answer("b", 7), 1, scope=sdk, end=18), span(30, answer("a", 5), 1, scope=sdk)
    spans = [span(1, Custom()), outer, inner, unmatched, later]
    for arrived in (spans, spans[::-1]):
        trace = reconcile(Trace(arrived))
        calls = [item for item in trace.spans if isinstance(item.operation, Inference)]
        assert {item.span_id for item in calls} == {outer.span_id, unmatched.span_id, later.span_id}
        counted = trace.span(outer.span_id)
        assert (counted.operation.response_id, counted.failure) == ("r", failure)  # type: ignore[attr-defined]
        assert trace.span(inner.span_id).attributes[sc.SAME_CALL] == outer.span_id
        assert reconcile(trace) == trace


def test_tools_on_the_agents_span_are_offered_tools() -> None:
    """So the calls of its inferences are checked."""
    agent = span(
        1, AgentInvocation("support"), attributes={sc.TOOL_DEFINITIONS: [{"name": "look_up", "parameters": TOOL.parameters}]}
    )
    wrong = Inference("p", output=(Message("assistant", (ToolCall("look_up", {}, "c"),)),))
    judged, _ = evaluate_trace(Trace([agent, span(2, wrong, 1)]))
    assert [violation.code for violation in judged.spans[1].violations] == ["missing"]


def test_our_own_trace_is_returned_unchanged() -> None:
    """It is not even copied."""
    trace = Trace(
        [span(1, answer("a"), run_id=RUN), span(2, answer("a"), 1, run_id=RUN), span(3, ToolExecution("t"), run_id=RUN)]
    )
    assert reconcile(trace) is trace
