"""boto3's Bedrock: what is peculiar to it. The rest is the contract suite's."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.eventstream import EventStream
from botocore.exceptions import ClientError, EndpointConnectionError, EventStreamError
from kit import Answer, Question, Reply, json_reply
from kits.bedrock import KIT, encoded, session
from server import Server
from spans_of import failure_of, inference, violations

from llmtrace.model import (
    Blob,
    Generic,
    Inference,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.playback import replay
from llmtrace.recorder import collected
from llmtrace.testing import Captured, capture

INSTRUMENT = ("bedrock",)

EVENTS = "application/vnd.amazon.eventstream"
ASK: list[Any] = [{"role": "user", "content": [{"text": "Where is order 7?"}]}]
USAGE = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}


def converse(server: Server, **options: Any) -> Any:
    return KIT.client(server.url).converse(**{"modelId": "m", "messages": ASK, **options})


def answer(*blocks: dict[str, Any], **more: Any) -> Reply:
    message = {"role": "assistant", "content": list(blocks)}
    return json_reply({"output": {"message": message}, "stopReason": "end_turn", "usage": USAGE, **more})


def test_blocks_of_a_request_are_read(captured: Captured) -> None:
    """Media by bytes and by address, tool results of every form, what is thought, what is guarded, cache points."""
    image = {"image": {"format": "png", "source": {"bytes": b"ABC"}}}
    results = [
        {"toolUseId": "a", "content": [{"json": {"x": 1}}]},
        {"toolUseId": "b", "content": [{"text": "one"}, {"text": "two"}]},
        {"toolUseId": "c", "content": [{"text": "no such order"}], "status": "error"},
    ]
    content = [
        image,
        {"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://b/d.pdf"}}}},
        {"guardContent": {"text": {"text": "guarded"}}},
        {"cachePoint": {"type": "default"}},
        *({"toolResult": result} for result in results),
    ]
    thought = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}},
    ]
    with Server(answer({"text": "Yes."})) as server:
        converse(server, messages=[*ASK, {"role": "assistant", "content": thought}, {"role": "user", "content": content}])
    _, message, answered = inference(captured).input
    assert message.parts == (Reasoning("hm"), ToolCall("f", {}, "a"))
    blob, *rest = answered.parts
    assert isinstance(blob, Blob)
    assert (blob.modality, blob.mime_type, blob.size) == ("image", "image/png", 3)
    assert rest == [
        Uri("s3://b/d.pdf", "file", "application/pdf"),
        Text("guarded"),
        Generic("cachePoint", {"cachePoint": {"type": "default"}}),
        ToolResult({"x": 1}, "a"),
        ToolResult("one\ntwo", "b"),
        ToolResult({"is_error": True, "content": "no such order"}, "c"),
    ]


def test_what_a_request_asks_for_is_named_as_the_conventions_do(captured: Captured) -> None:
    """Parameters, tools (cache points among them are none), a schema for the answer, which is then checked."""
    schema = json.dumps({"type": "object", "properties": {"eta": {"type": "integer"}}, "required": ["eta"]})
    tools = [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}, {"cachePoint": {"type": "default"}}]
    with Server(answer({"text": '{"eta": "soon"}'})) as server:
        converse(
            server,
            inferenceConfig={"topP": 0.5, "stopSequences": ["."]},
            additionalModelRequestFields={"top_k": 7},
            toolConfig={"tools": tools, "toolChoice": {"any": {}}},
            outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, "name": "n"}}}},
        )
    operation = inference(captured)
    arguments = {name: operation.parameters[name] for name in ("top_p", "stop_sequences", "top_k", "tool_choice")}
    assert arguments == {"top_p": 0.5, "stop_sequences": ["."], "top_k": 7, "tool_choice": {"any": {}}}
    assert [tool.name for tool in operation.tools] == ["f"]
    assert violations(captured.spans[0]) == [("wrong_type", "/eta")]


def test_usage_includes_what_was_cached(captured: Captured) -> None:
    """Bedrock counts it beside the input; what stays for an hour is told apart."""
    usage: dict[str, Any] = {
        "inputTokens": 3,
        "outputTokens": 4,
        "cacheReadInputTokens": 10,
        "cacheWriteInputTokens": 100,
        "totalTokens": 117,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}],
    }
    with Server(answer({"text": "Yes."}, usage=usage)) as server:
        converse(server)
    assert inference(captured).usage == Usage(113, 4, 10, 100, None, 60)


def test_a_guardrail_and_a_prompt_router_are_told(captured: Captured) -> None:
    """From Bedrock's own trace of the call."""
    trace = {"guardrail": {"actionReason": "No action."}, "promptRouter": {"invokedModelId": "m-small"}}
    with Server(answer({"text": "Yes."}, trace=trace, stopReason="guardrail_intervened")) as server:
        converse(server)
    operation = inference(captured)
    assert (operation.response_model, operation.finish_reasons) == ("m-small", ("content_filter",))
    assert operation.output[0].parts == (Text("Yes."), Generic("guardrail", {"trace": trace["guardrail"]}))


def test_a_tool_that_bedrock_runs_is_not_judged(captured: Captured) -> None:
    """Its call and its result are the server's, from streams as from whole answers."""
    events = [
        (
            "contentBlockStart",
            {"contentBlockIndex": 0, "start": {"toolUse": {"name": "run", "toolUseId": "a", "type": "server_tool_use"}}},
        ),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"code": "1"}'}}}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "a", "status": "success"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolResult": [{"json": {"out": 1}}]}}),
        ("messageStop", {"stopReason": "end_turn"}),
    ]
    with Server(Reply(tuple(encoded(*event) for event in events), content_type=EVENTS)) as server:
        list(KIT.stream(KIT.client(server.url), Question()))
    call, result = inference(captured).output[0].parts
    assert call == ServerToolCall("run", {"type": "run", "input": {"code": "1"}}, "a")
    assert isinstance(result, ServerToolResult)
    assert result.server_tool_call_response["content"] == [{"json": {"out": 1}}]
    assert captured.spans[0].violations == ()


def test_an_exception_in_the_stream_is_the_failure(captured: Captured) -> None:
    """The program gets it as botocore raises it; the span ends at once, with the text so far."""
    pieces = [
        encoded("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "On its"}}),
        encoded("throttlingException", {"message": "slow down"}, "exception"),
    ]
    with Server(Reply(tuple(pieces), content_type=EVENTS)) as server:
        stream = KIT.stream(KIT.client(server.url), Question())
        assert type(stream) is EventStream
        with pytest.raises(EventStreamError, match="slow down"):
            list(stream)
    (span,) = captured.spans
    assert (failure_of(span).type, failure_of(span).message) == ("rate_limit", "slow down")
    assert (inference(captured).partial, inference(captured).output[0].text()) == (True, "On its")


def test_the_signature_does_not_cover_traceparent(captured: Captured) -> None:
    """It goes out after the request was signed: a proxy may change it."""
    with Server(answer({"text": "Yes."})) as server:
        converse(server)
    (request,) = server.requests
    assert request.headers["traceparent"].split("-")[2] == captured.spans[0].span_id
    assert "traceparent" not in request.headers["authorization"]


def test_other_services_are_left_alone(captured: Captured) -> None:
    """No span, no header; nor for operations of Bedrock that ask no language model."""
    with Server(json_reply({"inputTokens": 1}), Reply((b"<r/>",), 403)) as server:
        KIT.client(server.url).count_tokens(modelId="m", input={"converse": {"messages": ASK}})
        with pytest.raises(ClientError):
            session().client("sts", endpoint_url=server.url).get_caller_identity()
    assert captured.spans == ()
    assert all("traceparent" not in request.headers for request in server.requests)


ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Yes."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 4},
}
PLAIN_ASK = {"prompt": "Where?", "max_gen_len": 5}
CHAT_ASK = {"messages": [{"role": "user", "content": "Where?"}], "max_tokens": 5}
BODIES = {
    "anthropic": ({**CHAT_ASK, "anthropic_version": "bedrock-2023-05-31"}, ANTHROPIC),
    "nova": (
        {"messages": [{"role": "user", "content": [{"text": "Where?"}]}], "inferenceConfig": {"maxTokens": 5}},
        {"output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}}, "stopReason": "end_turn", "usage": USAGE},
    ),
    "llama": (PLAIN_ASK, {"generation": "Yes.", "prompt_token_count": 3, "generation_token_count": 4, "stop_reason": "stop"}),
    "mistral": ({"prompt": "Where?", "max_tokens": 5}, {"outputs": [{"text": "Yes.", "stop_reason": "stop"}]}),
    "chat": (
        CHAT_ASK,
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "stop_reason": "stop"}]},
    ),
    "titan": (
        {"inputText": "Where?", "textGenerationConfig": {"maxTokenCount": 5}},
        {"inputTextTokenCount": 3, "results": [{"outputText": "Yes.", "tokenCount": 4, "completionReason": "FINISH"}]},
    ),
}
COUNTED = [("x-amzn-bedrock-input-token-count", "3"), ("x-amzn-bedrock-output-token-count", "4")]


def test_a_global_profile_has_a_price_of_its_own(captured: Captured) -> None:
    """Though the body names the model without it."""
    pytest.importorskip("genai_prices", exc_type=ImportError)
    request, answer_body = BODIES["anthropic"]
    costs = {}
    with Server(
        json_reply({**answer_body, "model": "claude-sonnet-4-5-20250929"}),
    ) as server:
        for prefix in ("global.", "us.", ""):
            model = f"{prefix}anthropic.claude-sonnet-4-5-20250929-v1:0"
            KIT.client(server.url).invoke_model(modelId=model, body=json.dumps(request))["body"].read()
            operation = captured.spans[-1].operation
            assert isinstance(operation, Inference)
            assert operation.cost_usd is not None
            costs[prefix] = operation.cost_usd
    assert costs["global."] < costs["us."] == costs[""]


@pytest.mark.parametrize("family", BODIES)
def test_each_familys_body_is_read(captured: Captured, family: str) -> None:
    """One inference by ``invoke_model``; tokens that the model does not tell, Bedrock does, in headers."""
    request, answer_body = BODIES[family]
    with Server(json_reply(answer_body, headers=COUNTED)) as server:
        result = KIT.client(server.url).invoke_model(modelId="m", body=json.dumps(request))
        assert captured.spans == ()  # until it is read
        assert json.load(result["body"]) == answer_body
    operation = inference(captured)
    assert captured.spans[0].name == f"{operation.operation} m"
    assert operation.operation == ("chat" if "messages" in request else "text_completion")
    assert [(message.role, message.text()) for message in operation.input] == [("user", "Where?")]
    assert [(message.text(), message.finish_reason) for message in operation.output] == [("Yes.", "stop")]
    assert operation.finish_reasons == ("stop",)
    assert operation.parameters["max_tokens"] == 5
    assert operation.usage is not None
    assert (operation.usage.input_tokens, operation.usage.output_tokens) == (3, 4)
    assert (operation.stream, operation.partial, operation.attempts) == (False, False, 1)


CHUNKS = {
    "llama": [{"generation": "Ye"}, {"generation": "s.", "stop_reason": "stop"}],
    "mistral": [{"outputs": [{"text": "Ye", "stop_reason": None}]}, {"outputs": [{"text": "s.", "stop_reason": "stop"}]}],
    "chat": [
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Ye"}, "stop_reason": None}]},
        {"choices": [{"index": 0, "message": {"content": "s."}, "stop_reason": "stop"}]},
    ],
    "nova": [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Ye"}}},
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "s."}}},
        {"messageStop": {"stopReason": "end_turn"}},
    ],
}


@pytest.mark.parametrize("family", CHUNKS)
def test_each_familys_chunks_are_read(captured: Captured, family: str) -> None:
    """One inference by ``invoke_model_with_response_stream``; Bedrock counts the tokens in the last chunk."""
    chunks: list[dict[str, Any]] = [*CHUNKS[family]]
    chunks[-1] = {**chunks[-1], "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 4}}
    pieces = [encoded("chunk", {"bytes": base64.b64encode(json.dumps(chunk).encode()).decode()}) for chunk in chunks]
    request = json.dumps(BODIES[family][0])
    with Server(Reply(tuple(pieces), content_type=EVENTS)) as server:
        body = KIT.client(server.url).invoke_model_with_response_stream(modelId="m", body=request)["body"]
        assert len(list(body)) == len(chunks)
    operation = inference(captured)
    assert [(message.text(), message.finish_reason) for message in operation.output] == [("Yes.", "stop")]
    assert (operation.usage, operation.stream, operation.partial, operation.chunks) == (Usage(3, 4), True, False, len(chunks))


def test_a_body_may_be_read_in_any_way(captured: Captured) -> None:
    """In pieces, by lines, or not at all."""
    with Server(json_reply(ANTHROPIC)) as server:
        client, body = KIT.client(server.url), json.dumps(BODIES["anthropic"][0])
        invoke = lambda: client.invoke_model(modelId="m", body=body)["body"]  # noqa: E731
        for read in (
            lambda value: b"".join(value.iter_chunks(7)),
            lambda value: b"".join(value.iter_lines()),
            lambda value: b"".join(value.readlines()),
        ):
            assert json.loads(read(invoke())) == ANTHROPIC
        invoke().close()
    collected.settle()
    texts = [span.operation.output and span.operation.output[0].text() for span in captured.spans]  # type: ignore[union-attr]
    assert texts == [*["Yes."] * 3, ()]


def test_a_model_that_makes_no_text_has_no_inference(captured: Captured) -> None:
    with Server(json_reply({"embedding": [0.1]})) as server:
        KIT.client(server.url).invoke_model(modelId="amazon.titan-embed-text-v2:0", body='{"inputText": "x"}')["body"].read()
    assert captured.spans == ()


def test_streams_can_be_taken_up_again(captured: Captured) -> None:
    """Two loops over one stream read on where the first stopped; one span."""
    with Server(KIT.streamed(Answer())) as server:
        stream = KIT.stream(KIT.client(server.url), Question())
        first = next(iter(stream))
        rest = list(stream)
    assert "messageStart" in first
    assert "metadata" in rest[-1]
    assert inference(captured).output[0].text() == Answer().text


READS: list[Any] = [
    lambda body: body.read(),
    lambda body: list(body.iter_chunks(7)),
    lambda body: list(body.iter_lines()),
    lambda body: body.readlines(),
    lambda body: [body.read(5), body.read()],
]


@pytest.mark.parametrize("read", READS)
def test_a_body_is_given_again_in_a_replay(read: Any) -> None:
    request = json.dumps(BODIES["anthropic"][0])

    def program() -> Any:
        answer = client.invoke_model(modelId="m", body=request)
        return read(answer["body"]), answer["ResponseMetadata"]

    with Server(json_reply(ANTHROPIC)) as server:
        client = KIT.client(server.url)
        with capture(instrument=("bedrock",), redact=False) as captured:
            seen = program()
    with capture(instrument=("bedrock",), redact=False) as again, replay(captured.traces[0]):
        assert program() == seen
    assert inference(again).output == inference(captured).output


def test_a_connection_that_failed_fails_again_in_a_replay() -> None:
    with Server(answer({"text": "Yes."})) as server:
        client = KIT.client(server.url)
    with capture(instrument=("bedrock",), redact=False) as captured, pytest.raises(EndpointConnectionError) as failed:
        client.converse(modelId="m", messages=ASK)
    with Server(answer({"text": "Yes."})) as server:
        again = KIT.client(server.url)
        with capture(instrument=("bedrock",)), replay(captured.traces[0]), pytest.raises(EndpointConnectionError) as raised:
            again.converse(modelId="m", messages=ASK)
        assert server.requests == []
    assert str(raised.value) == str(failed.value)
