"""Whole answers of the anthropic client: what is recorded of request and answer, of failures, and by which client."""

from __future__ import annotations

import inspect
from typing import Any

import anthropic
import pydantic
import pytest
from anthropic_server import ASK, GIVEN, MODEL, SEARCHED, TOOLS, Server, answered, http, refused, text, tool_use
from spans_of import failure_of, inference, inference_span, spans, violations

from llmtrace.model import (
    Blob,
    Compaction,
    File,
    Generic,
    Inference,
    Message,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.testing import Captured

INSTRUMENT = ("anthropic",)


def ask(reply: Any = None, **options: Any) -> Any:
    client = Server(reply or answered()).client()
    return client.messages.create(**{**GIVEN, **options})


def parts_of(captured: Captured) -> tuple[Any, ...]:
    """Of the only message of the answer."""
    (message,) = inference(captured).output
    return message.parts


# -- requests


def test_a_call_is_one_inference(captured: Captured) -> None:
    """Request, answer, usage, server: one span with all of it."""
    sampling = {"temperature": 0.5, "top_k": 3}  # no parameters of the method since 2.0
    ask(system="Be brief.", tools=TOOLS, stop_sequences=["END"], tool_choice={"type": "auto"}, extra_body=sampling)
    span, operation = inference_span(captured)
    assert (span.name, span.kind, span.failure) == (f"chat {MODEL}", "client", None)
    assert operation == Inference(
        provider="anthropic",
        request_model=MODEL,
        system=(Text("Be brief."),),
        input=(Message("user", (Text("Where is order 7?"),)),),
        output=(Message("assistant", (Text("On its way."),), finish_reason="stop"),),
        tools=(ToolDefinition("look_up", TOOLS[0]["input_schema"], "Look an order up."),),
        parameters={
            "max_tokens": 100,
            "temperature": 0.5,
            "top_k": 3,
            "stop_sequences": ["END"],
            "tool_choice": {"type": "auto"},
        },
        response_id="msg_1",
        response_model=f"{MODEL}-20250929",
        finish_reasons=("stop",),
        usage=Usage(20, 7, 8, 3),
        attempts=1,
        server_address="llm.local",
        server_port=8000,
        cost_usd=operation.cost_usd,
        fingerprint=operation.fingerprint,
    )


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (text("Hi."), (Text("Hi."),)),
        (text("", cache_control={"type": "ephemeral"}), ()),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}, "image"),
        ({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, (Uri("https://x/y.png", "image"),)),
        ({"type": "image", "source": {"type": "file", "file_id": "f1"}}, (File("f1", "image"),)),
        ({"type": "document", "source": {"type": "file", "file_id": "f2"}}, (File("f2", "file"),)),
        (
            {"type": "document", "title": "A", "source": {"type": "text", "media_type": "text/plain", "data": "Seven."}},
            (Text("Seven."), Generic("document", {"title": "A"})),
        ),
        ({"type": "document", "source": {"type": "content", "content": [text("Eight.")]}}, (Text("Eight."),)),
        ({"type": "container_upload", "file_id": "f3"}, (File("f3", "file"),)),
        ({"type": "search_result", "title": "T", "content": []}, (Generic("search_result", {"title": "T", "content": []}),)),
        ({"type": "compaction", "content": "Before: much."}, (Compaction("Before: much."),)),
        ({"type": "of_tomorrow", "what": [1]}, (Generic("of_tomorrow", {"what": [1]}),)),
        ({"type": "image", "source": "broken"}, (Generic("image", {"source": "broken"}),)),
        ({"type": "text", "text": 7}, (Generic("text_block", {"text": 7}),)),
        ({"type": "tool_use", "name": 7}, (Generic("tool_use", {"name": 7}),)),
        (
            {"type": "tool_result", "tool_use_id": "t1", "content": "{}", "is_error": False},
            (ToolResult("{}", "t1"),),
        ),
        (
            {"type": "tool_result", "tool_use_id": "t1", "content": [text("a"), text("b")], "is_error": True},
            (ToolResult({"is_error": True, "content": "a\nb"}, "t1"),),
        ),
        (
            {"type": "tool_result", "tool_use_id": "t1", "content": [text("a"), {"type": "tool_reference", "tool_name": "x"}]},
            (ToolResult([{"type": "text", "text": "a"}, {"type": "tool_reference", "tool_name": "x"}], "t1"),),
        ),
        ({"type": "tool_result", "tool_use_id": "t1"}, (ToolResult(None, "t1"),)),
    ],
)
def test_blocks_of_a_request(captured: Captured, block: dict[str, Any], parts: Any) -> None:
    """Every kind of block has its part; one that is not known, or is not in the form of its kind, is kept whole."""
    ask(messages=[{"role": "user", "content": [block]}])
    (message,) = inference(captured).input
    if parts == "image":
        (blob,) = message.parts
        assert isinstance(blob, Blob)
        assert (blob.modality, blob.mime_type, blob.size) == ("image", "image/png", 3)
    else:
        assert message.parts == parts


def test_images_in_a_tools_result_are_blobs(captured: Captured) -> None:
    """A screenshot that a tool answers is kept by digest and size, not as text in every later request."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    ask(messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [text("ok"), image]}]}])
    result, blob = inference(captured).input[0].parts
    assert result == ToolResult("ok", "t1")
    assert isinstance(blob, Blob)
    assert (blob.content, blob.size) == (None, 3)


def test_an_answer_goes_back_as_it_came(captured: Captured) -> None:
    """The SDK's blocks in a later request are read as in the answer; roles are the provider's."""
    client = Server(answered(text(), tool_use(), stop="tool_use"), answered()).client()
    first = client.messages.create(**GIVEN, tools=TOOLS)
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sent"}
    later = [*ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    client.messages.create(**{**GIVEN, "messages": later})
    first_span, second = spans(captured)
    assert second.operation.input[1].parts == first_span.operation.output[0].parts  # type: ignore[union-attr]
    assert [message.role for message in second.operation.input] == ["user", "assistant", "user"]  # type: ignore[union-attr]


def test_iterators_are_the_sdks_to_consume(captured: Captured) -> None:
    """Messages, tools and system given as iterators are read from the body that is sent."""
    ask(messages=iter(ASK), tools=iter(TOOLS), system=iter([text("Be brief.")]))
    operation = inference(captured)
    assert (operation.input[0].text(), operation.system, operation.tools[0].name) == (
        "Where is order 7?",
        (Text("Be brief."),),
        "look_up",
    )


def test_system_blocks_and_server_tools(captured: Captured) -> None:
    """System prompts in blocks; the provider's own tools by name and type."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    ask(system=[text("A", cache_control={"type": "ephemeral"}), text("B")], tools=[*TOOLS, search])
    operation = inference(captured)
    assert operation.system == (Text("A"), Text("B"))
    assert [(tool.name, tool.type) for tool in operation.tools] == [
        ("look_up", "function"),
        ("web_search", "web_search_20250305"),
    ]


def test_parameters_have_the_conventions_names(captured: Captured) -> None:
    """Effort and output format go by the names that are used for every provider; the rest keeps its own."""
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    ask(
        output_config={"effort": "low", "format": schema},
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "u"},
        extra_body={"odd": 1},
        timeout=5,
        stop_sequences=anthropic.NOT_GIVEN,
    )
    assert inference(captured).parameters == {
        "max_tokens": 100,
        "reasoning.level": "low",
        "response_format": schema,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "u"},
        "odd": 1,
    }


# -- answers


def test_every_block_of_an_answer(captured: Captured) -> None:
    """Thoughts with their signature, tools of the server, citations and calls, in order."""
    ask(answered(*SEARCHED, stop="tool_use"))
    thought, signature, redacted, spoken, called, result, sent, citations, *calls = parts_of(captured)
    assert (thought, signature) == (Reasoning("Hm."), Generic("signature", {"signature": "c2ln"}))
    assert redacted == Generic("redacted_thinking", {"data": "eHh4"})
    assert (spoken, sent) == (Text("Let me look."), Text("Sent."))
    assert called == ServerToolCall("web_search", {"type": "web_search", "input": {"query": "order 7"}}, "srv_1")
    assert isinstance(result, ServerToolResult)
    assert (result.id, result.server_tool_call_response["type"]) == ("srv_1", "web_search_tool_result")
    assert result.server_tool_call_response["content"][0]["url"] == "https://x"
    assert isinstance(citations, Generic)
    assert (citations.type, citations.fields["citations"][0]["cited_text"]) == ("citations", "sent")
    assert calls == [
        ToolCall("look_up", {"order_id": "7"}, "toolu_1"),
        ToolCall("list_all", {}, "toolu_2"),
        ToolCall("look_up", {"order_id": "8", "unicode": "é\u2028"}, "toolu_3"),
    ]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_call"),
        ("refusal", "content_filter"),
        ("compaction", "compaction"),
        ("pause_turn", "pause_turn"),
        (None, "error"),
    ],
)
def test_stop_reasons(captured: Captured, stop: Any, reason: str) -> None:
    """By the conventions' words where they have one; `error` where none came."""
    ask(answered(stop=stop))
    assert inference(captured).finish_reasons == (reason,)


def test_a_refusal_keeps_its_details(captured: Captured) -> None:
    """What the provider says of why it refused stands in the answer."""
    ask(answered(text("No."), stop="refusal", stop_details={"type": "refusal", "category": "cyber"}))
    assert parts_of(captured) == (Text("No."), Generic("stop_details", {"category": "cyber"}))


@pytest.mark.parametrize(
    ("raw_usage", "usage"),
    [
        ({"input_tokens": 5, "output_tokens": 1}, Usage(5, 1)),
        ({"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 0}, Usage(5, 1, 0)),
        ({"input_tokens": 5, "output_tokens": 1, "cache_creation_input_tokens": 4}, Usage(9, 1, None, 4)),
        (
            {
                "input_tokens": 5,
                "output_tokens": 1,
                "cache_creation_input_tokens": 4,
                "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 3},
            },
            Usage(9, 1, None, 4, None, 3),
        ),
        ({"input_tokens": 5, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 3}}, Usage(5, 9, None, None, 3)),
    ],
)
def test_usage(captured: Captured, raw_usage: dict[str, Any], usage: Usage) -> None:
    """Input counts what was read from and written to a cache; what the provider does not say is not 0."""
    ask(answered(usage=raw_usage))
    assert inference(captured).usage == usage


class City(pydantic.BaseModel):
    city: str
    days: int


def test_parse_keeps_the_answer_that_does_not_fit(captured: Captured) -> None:
    """The schema is read from what is sent; an answer that pydantic refuses is recorded all the same, and judged."""
    client = Server(answered(text('{"city": "Oslo", "days": 2}')), answered(text('{"city": "Oslo"}'))).client()
    parsed = client.messages.parse(**GIVEN, output_format=City)
    assert parsed.parsed_output == City(city="Oslo", days=2)
    with pytest.raises(pydantic.ValidationError):
        client.messages.parse(**GIVEN, output_format=City)
    good, bad = spans(captured)
    assert (good.violations, good.failure) == ((), None)
    assert isinstance(bad.operation, Inference)
    assert bad.operation.parameters["response_format"]["type"] == "json_schema"
    assert bad.operation.output[0].text() == '{"city": "Oslo"}'
    assert violations(bad) == [("missing", "/days")]


def test_a_thread_that_the_server_holds(captured: Captured) -> None:
    """Where only new messages are sent, the id of the answer before tells that there are earlier ones."""
    create = Server(answered()).client().beta.messages.create
    if "thread" not in inspect.signature(create).parameters:
        pytest.skip("anthropic 1.x has no threads")
    create(**GIVEN, thread={"type": "continue", "previous_message_id": "msg_0"})
    assert inference(captured).previous_response_id == "msg_0"


# -- failures


@pytest.mark.parametrize(
    ("reply", "raised", "word"),
    [
        (refused(403, "permission_error"), anthropic.PermissionDeniedError, "permission"),
        (refused(413, "request_too_large"), anthropic.APIStatusError, "bad_request"),
        (refused(529, "overloaded_error"), anthropic.APIStatusError, "overloaded"),
        (http.ReadTimeout("slow"), anthropic.APITimeoutError, "timeout"),
    ],
)
def test_failures_are_told_apart(captured: Captured, reply: Any, raised: type[BaseException], word: str) -> None:
    """The library's exception goes through; the span has a stable word for it, and the request."""
    with pytest.raises(raised):
        ask(lambda: reply)
    (span,) = spans(captured)
    assert failure_of(span).type == word
    assert isinstance(span.operation, Inference)
    assert (span.operation.input[0].text(), span.operation.output, span.operation.attempts) == ("Where is order 7?", (), 1)


# -- other clients of the SDK


def _bedrock(server: Server, **options: Any) -> Any:
    pytest.importorskip("botocore")
    keys = {"aws_access_key": "a", "aws_secret_key": "b"}
    return server.client(anthropic.AnthropicBedrock, aws_region="us-east-1", **keys, **options)


def _vertex(server: Server, **options: Any) -> Any:
    return server.client(anthropic.AnthropicVertex, region="us-east5", project_id="p", access_token="t", **options)


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize(("make", "provider"), [(_bedrock, "aws.bedrock"), (_vertex, "gcp.vertex_ai")])
def test_bedrock_and_vertex(captured: Captured, make: Any, provider: str, beta: bool) -> None:
    """By the names of the conventions; model, attempts and traceparent though the SDK rewrites the request."""
    server = Server(refused(503, "api_error"), answered())
    client = make(server, max_retries=1)
    (client.beta.messages if beta else client.messages).create(**{**GIVEN, "messages": ASK if beta else iter(ASK)})
    operation = inference(captured)
    assert (operation.provider, operation.request_model, operation.attempts) == (provider, MODEL, 2)
    assert operation.input[0].text() == "Where is order 7?"
    assert operation.parameters == {"max_tokens": 100}
    assert all(request.headers["traceparent"].startswith("00-") for request in server.requests)
