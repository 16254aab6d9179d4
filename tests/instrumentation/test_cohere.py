"""What is peculiar to cohere; what it has in common with others, `contract/` holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kit import json_reply, sse_reply
from server import Server
from spans_of import inference

from llmtrace.model import Generic, Reasoning, Retrieval, Text, ToolCall, ToolResult, Usage
from llmtrace.testing import Captured, capture

cohere = pytest.importorskip("cohere")

INSTRUMENT = ("cohere",)

MODEL = "command-test"
CITATION = {"start": 0, "end": 2, "text": "On", "sources": [{"type": "tool", "id": "c1:0", "tool_output": {"a": "b"}}]}
USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 2}, "tokens": {"input_tokens": 400, "output_tokens": 9}}


def client(server: Server) -> Any:
    return cohere.ClientV2(api_key="none", base_url=server.url)


def answer(finish: str = "COMPLETE", **message: Any) -> dict[str, Any]:
    return {"id": "c", "message": {"role": "assistant", **message}, "finish_reason": finish, "usage": USAGE}


def events(*deltas: tuple[str, dict[str, Any]], finish: str = "COMPLETE", **end: Any) -> Any:
    delta_events = [{"type": kind, "index": 0, "delta": {"message": message}} for kind, message in deltas]
    start = {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}}
    return sse_reply(
        [start, *delta_events, {"type": "message-end", "delta": {"finish_reason": finish, "usage": USAGE, **end}}], named=True
    )


def chat(server: Server, *, stream: bool = False, **options: Any) -> Any:
    request = {"model": MODEL, "messages": [{"role": "user", "content": "Hi."}], **options}
    return list(client(server).chat_stream(**request)) if stream else client(server).chat(**request)


CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"id": "7"}'}}
PLANNED = answer("TOOL_CALL", tool_plan="I look it up.", tool_calls=[CALL])
CITED = answer(content=[{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "On."}], citations=[CITATION])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_plan_is_reasoning_before_the_calls(captured: Captured, streamed: bool) -> None:
    """Whole and streamed."""
    begun = {**CALL, "function": {"name": "look_up", "arguments": '{"id"'}}
    reply = events(
        ("tool-plan-delta", {"tool_plan": "I look "}),
        ("tool-plan-delta", {"tool_plan": "it up."}),
        ("tool-call-start", {"tool_calls": begun}),
        ("tool-call-delta", {"tool_calls": {"function": {"arguments": ': "7"}'}}}),
        finish="TOOL_CALL",
    )
    with Server(reply if streamed else json_reply(PLANNED)) as server:
        chat(server, stream=streamed)
    operation = inference(captured)
    assert operation.output[0].parts == (Reasoning("I look it up."), ToolCall("look_up", {"id": "7"}, "c1"))
    assert operation.finish_reasons == ("tool_call",)


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_and_citations_are_kept(captured: Captured, streamed: bool) -> None:
    """Thoughts are reasoning; citations are kept whole, after the text."""
    reply = sse_reply(
        [
            {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hm."}}}},
            {"type": "content-start", "index": 1, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "On."}}}},
            {"type": "citation-start", "index": 0, "delta": {"message": {"citations": CITATION}}},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
        ],
        named=True,
    )
    with Server(reply if streamed else json_reply(CITED)) as server:
        chat(server, stream=streamed)
    thought, text, cited = inference(captured).output[0].parts
    assert (thought, text) == (Reasoning("Hm."), Text("On."))
    assert isinstance(cited, Generic)
    (citation,) = cited.fields["citations"]
    assert (cited.type, citation["text"], citation["sources"][0]["id"]) == ("citations", "On", "c1:0")


def test_what_is_billed_counts(captured: Captured) -> None:
    """Tokens of Cohere's own prompt are not the program's."""
    with Server(json_reply(PLANNED)) as server:
        chat(server)
    usage = inference(captured).usage
    assert usage == Usage(5, 2)
    assert [type(count) for count in (usage.input_tokens, usage.output_tokens)] == [int, int]  # the SDK's are floats


def test_a_history_with_tools_is_read(captured: Captured) -> None:
    """Plan, calls and results of earlier turns; documents that may be cited stand apart from the messages."""
    messages = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "tool_plan": "I look it up.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "gone"},
    ]
    with Server(json_reply(CITED)) as server:
        chat(server, messages=messages, documents=["Orders are quick.", {"id": "d", "data": {"text": "7 is late."}}])
    operation = inference(captured)
    assert [message.parts for message in operation.input] == [
        (Text("Where?"),),
        (Reasoning("I look it up."), ToolCall("look_up", {"id": "7"}, "c1")),
        (ToolResult("gone", "c1"),),
    ]
    assert operation.system[0] == Text("Orders are quick.")
    assert isinstance(operation.system[1], Generic)


def test_parameters_have_the_names_of_the_conventions(captured: Captured) -> None:
    """Where the conventions have one; options of the request are no parameters, and reach the server."""
    with Server(json_reply(CITED)) as server:
        chat(server, p=0.5, k=9, seed=3, request_options={"additional_headers": {"x": "y"}})
        assert server.requests[0].headers["x"] == "y"
    assert inference(captured).parameters == {"top_p": 0.5, "top_k": 9, "seed": 3}


def test_structured_output_is_validated(captured: Captured) -> None:
    """Against the schema in the format that was asked for."""
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}
    reply = answer(content=[{"type": "text", "text": '{"people": "many"}'}])
    with Server(json_reply(reply)) as server:
        chat(server, response_format={"type": "json_object", "json_schema": schema})
    (span,) = captured.spans
    assert [(violation.where, violation.code, violation.pointer) for violation in span.violations] == [
        ("output", "wrong_type", "/people")
    ]


def test_an_error_at_the_end_of_a_stream_is_a_failure(captured: Captured) -> None:
    """The library raises nothing; the span tells of it, with what had come."""
    reply = events(("content-start", {"content": {"type": "text", "text": "On"}}), finish="ERROR", error="overloaded")
    with Server(reply) as server:
        chat(server, stream=True)
    operation = inference(captured)
    failure = captured.spans[0].failure
    assert failure is not None
    assert (failure.type, failure.message) == ("server_error", "overloaded")
    assert (operation.output[0].text(), operation.finish_reasons) == ("On", ("error",))


@pytest.mark.parametrize("streamed", [False, True])
def test_raw_responses_are_the_same_inference(captured: Captured, streamed: bool) -> None:
    """``with_raw_response`` gives what it gives, and one span."""
    request: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Hi."}]}
    reply = events(("content-start", {"content": {"type": "text", "text": "On."}})) if streamed else json_reply(CITED)
    with Server(reply) as server:
        raw = client(server).v2.with_raw_response if hasattr(cohere.ClientV2, "v2") else client(server).with_raw_response
        if streamed:
            with raw.chat_stream(**request) as response:
                assert response.headers["content-type"] == "text/event-stream"
                assert len(list(response.data)) == 3
        else:
            assert raw.chat(**request).data.id == "c"
    assert inference(captured).output[0].text() == "On."


def test_a_stream_that_is_refused_is_not_partial(captured: Captured) -> None:
    """No piece of an answer came that could be cut off."""
    with Server(json_reply({"message": "no such model"}, status=404)) as server, pytest.raises(cohere.NotFoundError):
        chat(server, stream=True)
    assert not inference(captured).partial


def test_a_client_made_before_is_recorded_too() -> None:
    """A client binds its methods when it is made; below them all is looked up anew."""
    with Server(json_reply(CITED)) as server:
        new_client = client(server)
        with capture(instrument=("cohere",)) as captured:
            new_client.chat(model=MODEL, messages=[{"role": "user", "content": "Hi."}])
        new_client.chat(model=MODEL, messages=[{"role": "user", "content": "Hi."}])
    assert len(captured.spans) == 1


RANKED = {"id": "r", "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]}


@pytest.mark.parametrize("name", ["ClientV2", "Client", "AsyncClientV2", "AsyncClient"])
def test_reranking_is_a_retrieval_from_what_was_given(captured: Captured, name: str) -> None:
    """By both APIs, sync and async: the documents in their new order, whole as the program gave them."""
    documents = ["On time.", "Lost.", "7 is late."]
    with Server(json_reply(RANKED)) as server:
        new_client = getattr(cohere, name)(api_key="none", base_url=server.url)
        answer = new_client.rerank(model="rerank-test", query="Where is 7?", documents=documents, top_n=2)
        if name.startswith("Async"):
            answer = asyncio.run(_awaited(answer))
        assert "traceparent" in server.requests[0].headers
        port = int(server.url.rsplit(":", 1)[1])
    assert answer.results[0].index == 2
    (span,) = captured.spans
    assert span.name == "retrieval"
    assert span.operation == Retrieval(
        query="Where is 7?",
        documents=[
            {"index": 2, "score": 0.9, "content": "7 is late."},
            {"index": 0, "score": 0.2, "content": "On time."},
        ],
        top_k=2,
        provider="cohere",
        request_model="rerank-test",
        server_address="127.0.0.1",
        server_port=port,
    )


async def _awaited(answer: Any) -> Any:
    return await answer


def test_a_reranking_that_failed_has_found_nothing(captured: Captured) -> None:
    """What was to be ranked is no document that was found."""
    with Server(json_reply({"message": "no such model"}, status=404)) as server, pytest.raises(cohere.NotFoundError):
        client(server).rerank(model="none", query="q", documents=["a"])
    (span,) = captured.spans
    assert isinstance(span.operation, Retrieval)
    assert (span.operation.query, span.operation.documents) == ("q", None)
    assert span.failure is not None
