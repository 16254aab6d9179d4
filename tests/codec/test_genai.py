"""Spans follow the conventions, and nothing of a span gets lost, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from llmtrace import semconv as sc
from llmtrace.codec import genai, operations
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Event,
    Failure,
    FetchResponse,
    Inference,
    Link,
    Memory,
    Message,
    Operation,
    Plan,
    RawSpan,
    Retrieval,
    Review,
    Scope,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Usage,
    Workflow,
    replace,
)
from tests import strategies as some

RUN = "f" * 32
SPAN = Span("0" * 31 + "1", "0" * 15 + "1", "a", 1, 2, run_id=RUN)


def back(span: Span) -> Span:
    return genai.decode(genai.encode(span))


@given(some.spans())
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_decode_gives_back_what_was_encoded(span: Span) -> None:
    """decode(encode(span)) == span, for every span that the model can express."""
    assert some.alike(back(span), span)


def test_a_workflow_is_read_by_its_former_attribute() -> None:
    """v0.1.0 gives a workflow's name as gen_ai.agent.name. A writer that has both means the former one."""
    assert genai.attributes(replace(SPAN, operation=Workflow("nightly")))[sc.AGENT_NAME] == "nightly"
    for attributes, rest in (
        ({sc.WORKFLOW_NAME: "nightly"}, {}),
        ({sc.WORKFLOW_NAME: "nightly", sc.AGENT_NAME: "nightly"}, {}),
        ({sc.WORKFLOW_NAME: "nightly", sc.AGENT_NAME: "planner"}, {sc.AGENT_NAME: "planner"}),
        ({sc.WORKFLOW_NAME: 7, sc.AGENT_NAME: "nightly"}, {sc.WORKFLOW_NAME: 7}),
    ):
        raw = replace(genai.encode(SPAN), attributes={sc.OPERATION_NAME: sc.INVOKE_WORKFLOW, **attributes})
        span = genai.decode(raw)
        assert (span.operation, span.attributes) == (Workflow("nightly"), rest)
        assert some.alike(back(span), span)


@given(some.telling_spans())
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_span_is_read(raw: RawSpan) -> None:
    """decode accepts any value under the names of the conventions, and encoding its result changes nothing."""
    span = genai.decode(raw)
    assert some.alike(back(span), span)


@given(some.raw_spans())
@settings(deadline=None)
def test_another_writers_span_is_written_unchanged(raw: RawSpan) -> None:
    """encode(decode(raw)) == raw for a span without any of our names. It is a Custom one."""
    span = genai.decode(raw)
    assert isinstance(span.operation, Custom)
    assert some.alike(genai.encode(span), raw)


@given(some.telling_spans())
@settings(deadline=None)
def test_no_attribute_is_lost(raw: RawSpan) -> None:
    """An attribute with an unknown name is unchanged, on any span."""
    raw = replace(raw, attributes={**raw.attributes, "gen_ai.of.tomorrow": {"a": [1]}, "app.retry": 3})
    attributes = genai.decode(raw).attributes
    assert attributes["gen_ai.of.tomorrow"] == {"a": [1]}
    assert attributes["app.retry"] == 3


def test_an_inference_by_the_conventions() -> None:
    """Names and types are those of the conventions (November 2026). Content is JSON text. Empty fields are not written."""
    inference = Inference(
        provider="openai",
        request_model="gpt-4o",
        system=(Text("Be brief."),),
        input=(Message("user", (Text("hi"),)),),
        output=(Message("assistant", (ToolCall("f", {"a": 1}, "c1"),), finish_reason="tool_call"),),
        tools=(ToolDefinition("f", {"type": "object"}, strict=True),),
        parameters={"temperature": 0, "max_tokens": 5, "tool_choice": "auto", "response_format": {"type": "json_object"}},
        finish_reasons=("tool_calls",),
        usage=Usage(3, 2, cache_read_input_tokens=0),
    )
    span = replace(SPAN, operation=inference, sequence=0, attributes={sc.CONVERSATION_ID: "c"})
    assert genai.attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.output.type": "json",
        "gen_ai.response.finish_reasons": ["tool_calls"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.conversation.id": "c",
        "gen_ai.system_instructions": '[{"type":"text","content":"Be brief."}]',
        "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]',
        "gen_ai.output.messages": '[{"role":"assistant","parts":['
        '{"type":"tool_call","id":"c1","name":"f","arguments":{"a":1}}],"finish_reason":"tool_call"}]',
        "gen_ai.tool.definitions": '[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}]',
        "llmtrace.request.parameters": '{"tool_choice":"auto","response_format":{"type":"json_object"}}',
        "llmtrace.run.id": RUN,
        "llmtrace.sequence": 0,
        "llmtrace.tool_call.valid": True,
    }
    assert isinstance(genai.attributes(span)["gen_ai.request.temperature"], float)


def test_structured_values_read_like_json_text() -> None:
    """Content as kvlists and arrays gives the same span as JSON text."""
    attributes = {
        sc.OPERATION_NAME: "chat",
        sc.INPUT_MESSAGES: '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]',
        sc.TOOL_DEFINITIONS: '[{"type":"function","name":"f"}]',
        sc.REQUEST_OTHER: '{"a":[1]}',
    }
    structured = {
        **attributes,
        sc.INPUT_MESSAGES: [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}],
        sc.TOOL_DEFINITIONS: [{"type": "function", "name": "f"}],
        sc.REQUEST_OTHER: {"a": [1]},
    }
    raw = RawSpan("1" * 32, "2" * 16, "chat", 1, 2)
    from_text, from_values = (genai.decode(replace(raw, attributes=value)) for value in (attributes, structured))
    assert from_text == from_values
    assert from_text.operation == Inference(
        "", input=(Message("user", (Text("hi"),)),), tools=(ToolDefinition("f"),), parameters={"a": [1]}
    )


def test_content_that_is_not_json_stays_an_attribute() -> None:
    """A list of messages that a backend cut is neither repaired nor lost."""
    cut = '[{"role":"user","parts":[{"type":"te'
    span = genai.decode(RawSpan("1" * 32, "2" * 16, "", 1, 2, attributes={sc.OPERATION_NAME: "chat", sc.INPUT_MESSAGES: cut}))
    assert span.operation == Inference("")
    assert span.attributes == {sc.INPUT_MESSAGES: cut}


@pytest.mark.parametrize("name", ["create_agent", "handle_conversation_turn", 5, None, ["chat"], {"a": 1}])
def test_an_unknown_operation_is_a_custom_span_and_is_written_unchanged(name: Any) -> None:
    """It keeps the name of its operation and all attributes."""
    raw = RawSpan(
        "1" * 32, "2" * 16, "x", 1, 2, attributes={sc.OPERATION_NAME: name, sc.AGENT_NAME: "a", sc.REQUEST_MODEL: "m"}
    )
    span = genai.decode(raw)
    assert span.operation == Custom()
    assert span.attributes == raw.attributes
    assert genai.encode(span) == raw


def test_a_users_attribute_with_a_reserved_name_is_escaped() -> None:
    """llmtrace's attribute has the name. The user's gets a prefix when written, and its own name when read."""
    span = replace(SPAN, operation=ToolExecution("f"), attributes={sc.TOOL_NAME: "mine", sc.RUN_ID: 5, sc.ERROR_TYPE: "kept"})
    raw = genai.encode(span)
    assert raw.attributes[sc.TOOL_NAME] == "f"
    assert raw.attributes[sc.ATTRIBUTE_PREFIX + sc.TOOL_NAME] == "mine"
    assert raw.attributes[sc.ERROR_TYPE] == "kept"  # the name is free, since there is no failure
    assert back(span) == span


def test_search_attributes_are_derived() -> None:
    """Verdicts are also attributes, which are dropped on reading and derived again."""
    raw = replace(genai.encode(SPAN), attributes={sc.OUTCOME: "success", sc.TOOL_CALL_VALID: True, sc.EVALUATION_FAILED: ["x"]})
    assert genai.decode(raw).attributes == {}


@pytest.mark.parametrize("message", ["", "it took too long"])
def test_a_failure_is_an_error_with_a_standard_exception_event(message: str) -> None:
    """It is the status, error.type, and an `exception` event at the end with a mark that handled exceptions do not have."""
    handled = Event("exception", 1, {sc.EXCEPTION_TYPE: "KeyError", sc.EXCEPTION_MESSAGE: "a"})
    span = replace(SPAN, failure=Failure("timeout", message, "Traceback …"), events=(handled,))
    raw = genai.encode(span)
    assert (raw.status, raw.status_message, raw.attributes[sc.ERROR_TYPE]) == ("error", message, "timeout")
    assert raw.events == (
        handled,
        Event(
            "exception",
            2,
            {
                "exception.type": "timeout",
                "exception.message": message,
                "exception.stacktrace": "Traceback …",
                "llmtrace.failure": True,
            },
        ),
    )
    assert back(span) == span
    lost = replace(raw, status_message="changed on the way", events=tuple(reversed(raw.events)))
    assert genai.decode(lost) == span


def test_another_writers_error_is_read_from_its_exception_event() -> None:
    """Type, message and stack trace come from the last exception event if the span does not have them.

    Without any type it is ``error``.
    """
    events = (
        Event("exception", 1, {sc.EXCEPTION_TYPE: "KeyError"}),
        Event("exception", 1, {sc.EXCEPTION_TYPE: "ValueError", sc.EXCEPTION_MESSAGE: "boom", sc.EXCEPTION_STACKTRACE: "T"}),
    )
    raw = RawSpan("1" * 32, "2" * 16, "x", 1, 2, status="error", events=events)
    assert genai.decode(raw).failure == Failure("ValueError", "boom", "T")
    assert genai.decode(raw).events == events
    assert genai.decode(replace(raw, events=())).failure == Failure("error", "", "")
    with_message = replace(raw, status_message="said", attributes={sc.ERROR_TYPE: "timeout"})
    assert genai.decode(with_message).failure == Failure("timeout", "said", "T")
    assert genai.encode(genai.decode(with_message)) == with_message


def test_a_status_ok_of_another_writer_is_kept() -> None:
    """llmtrace never sets the status ok. Another writer's is restored with its text."""
    raw = RawSpan("1" * 32, "2" * 16, "x", 1, 2, status="ok", status_message="fine", scope=Scope("other"))
    assert genai.decode(raw).attributes == {"otel.status_code": "OK", "otel.status_description": "fine"}
    assert genai.encode(genai.decode(raw)) == raw


@pytest.mark.parametrize(
    ("operation", "name", "kind"),
    [
        (Inference("openai", request_model="gpt-4o"), "chat gpt-4o", "client"),
        (Inference("google", "generate_content"), "generate_content", "client"),
        (Embedding("openai", "m"), "embeddings m", "client"),
        (Retrieval("docs"), "retrieval docs", "client"),
        (FetchResponse("openai", "r1"), "fetch_response", "client"),
        (Memory("search_memory", "s"), "search_memory", "client"),
        (Review("refund", tool="refund"), "review refund", "internal"),
        (AgentInvocation("support"), "invoke_agent support", "internal"),
        (AgentInvocation(""), "invoke_agent", "internal"),
        (Workflow("w"), "invoke_workflow w", "internal"),
        (ToolExecution("refund"), "execute_tool refund", "internal"),
        (Plan("a"), "plan a", "internal"),
        (Custom(), "span", "internal"),
    ],
)
def test_names_and_kinds_by_the_conventions(operation: Operation, name: str, kind: str) -> None:
    """The name is `{operation} {subject}`, or the operation alone if the subject is unknown."""
    assert genai.opening(operation)[:2] == (name, kind)


@given(some.operations())
@settings(deadline=None)
def test_start_attributes_are_among_all_attributes(operation: Operation) -> None:
    """Attributes of the start have the same values at the end, and none is content."""
    start = {**genai.opening(operation).attributes, **(operations.ids(operation) or {})}
    everything = genai.attributes(replace(SPAN, operation=operation))
    assert start.items() <= everything.items()
    assert all(isinstance(value, (str, int)) for value in start.values())


def test_start_attributes_are_what_a_sampler_wants() -> None:
    """Such as operation, provider, model and server for a client."""
    inference = Inference("openai", request_model="m", server_address="h", server_port=443, input=(Message("user", ()),))
    assert genai.opening(inference).attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "server.address": "h",
        "server.port": 443,
    }
    assert genai.opening(ToolExecution("f", {"secret": 1}, call_id="c")).attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "f",
        "gen_ai.tool.type": "function",
    }
    assert operations.ids(ToolExecution("f", {"secret": 1}, call_id="c")) == {"gen_ai.tool.call.id": "c"}
    assert operations.ids(inference) is None
    assert genai.opening(AgentInvocation("a")).attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "a",
    }
    assert genai.opening(Custom({"a": 1})).attributes == {}


def test_encode_shares_what_it_need_not_copy() -> None:
    """Links and resource are the span's own objects, and a span without findings has its own (empty) events."""
    span = replace(SPAN, resource={"service.name": "s"}, links=(Link("1" * 32, "2" * 16),))
    raw = genai.encode(span)
    assert raw.resource is span.resource
    assert raw.links is span.links
    assert raw.events == ()
