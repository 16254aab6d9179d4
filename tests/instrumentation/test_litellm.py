"""litellm: one call is one span, whatever goes on within it. The rest is the contract suite's."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anthropic_server
import litellm
import openai
import pytest
from kit import CALLS, MODEL, Answer, Reply, json_reply
from kits.litellm import KIT
from litellm import completion as bound_before
from openai_responses_server import response, text_item
from server import Server
from spans_of import failure_of

from llmtrace.instrumentation.litellm import Completion
from llmtrace.model import Embedding, Inference, Span, Trace, Usage
from llmtrace.recorder import collected
from llmtrace.store.summary import summarise
from llmtrace.testing import Captured, capture

ASK: list[Any] = [{"role": "user", "content": "Where is order 7?"}]


@pytest.fixture
def recorded() -> Iterator[Captured]:
    """litellm and what is below it, both instrumented."""
    litellm.in_memory_llm_clients_cache.flush_cache()
    with capture(instrument=("litellm", "openai", "anthropic"), redact=False) as recording:
        yield recording


def at(server: Server, **options: Any) -> dict[str, Any]:
    return {
        "model": f"openai/{MODEL}",
        "messages": ASK,
        "api_base": f"{server.url}/v1",
        "api_key": "sk-secret",
        "max_retries": 0,
        **options,
    }


def router(*servers: Server, **options: Any) -> Any:
    """A group of models for each server; the first falls back to the second."""
    groups = [
        {"model_name": name, "litellm_params": {key: value for key, value in at(server).items() if key != "messages"}}
        for name, server in zip(("main", "second"), servers, strict=False)
    ]
    return litellm.Router(model_list=groups, fallbacks=[{"main": ["second"]}], retry_after=0, **options)


def only(recorded: Captured) -> tuple[Span, Inference]:
    (span,) = recorded.spans
    assert isinstance(span.operation, Inference)
    return span, span.operation


async def read(stream: Any) -> list[Any]:
    return [chunk async for chunk in await stream]


@pytest.mark.parametrize("how", ["whole", "stream", "awhole", "astream"])
def test_the_sdk_below_makes_no_second_span(recorded: Captured, how: str) -> None:
    """Nor does its stream, whenever it is read; its requests are the call's attempts, and carry the call's ``traceparent``."""
    reply = KIT.streamed(CALLS) if "stream" in how else KIT.whole(CALLS)
    with Server(reply) as server:
        arguments = at(server, stream="stream" in how)
        if how == "whole":
            litellm.completion(**arguments)
        elif how == "stream":
            list(litellm.completion(**arguments))
        elif how == "awhole":
            asyncio.run(litellm.acompletion(**arguments))
        else:
            asyncio.run(read(litellm.acompletion(**arguments)))
    span, operation = only(recorded)
    assert (operation.provider, operation.request_model, operation.attempts, operation.server_address) == (
        "openai",
        MODEL,
        1,
        "127.0.0.1",
    )
    assert [call.name for call in operation.output[0].tool_calls()] == ["look_up", "look_up"]
    assert operation.usage is not None
    assert (operation.usage.input_tokens, operation.usage.output_tokens) == (
        20,
        9,
    )  # though a stream's program did not ask for it
    assert server.requests[0].headers["traceparent"].split("-")[2] == span.span_id
    assert "sk-secret" not in repr(span)


def test_a_function_that_was_imported_before_is_traced(recorded: Captured) -> None:
    with Server(KIT.whole(Answer())) as server:
        bound_before(**at(server))
    assert only(recorded)[1].output[0].text() == Answer().text


def test_retries_of_litellm_are_one_span(recorded: Captured) -> None:
    """``num_retries`` asks anew, from above the SDK."""
    with Server(KIT.error(503), KIT.error(503), KIT.whole(Answer())) as server:
        litellm.completion(**at(server, num_retries=2))
    span, operation = only(recorded)
    assert (span.failure, operation.attempts) == (None, 3)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_router_that_falls_back_is_one_span(recorded: Captured, stream: bool, asynchronous: bool) -> None:
    """Its retries and its fallbacks are within the call that the program made."""
    with Server(KIT.error(503)) as bad, Server(KIT.streamed(Answer()) if stream else KIT.whole(Answer())) as good:
        routing = router(bad, good, num_retries=1)
        if asynchronous:
            coming = routing.acompletion(model="main", messages=ASK, stream=stream)
            asyncio.run(read(coming) if stream else coming)
        else:
            answer = routing.completion(model="main", messages=ASK, stream=stream)
            list(answer) if stream else None
        request_count = len(bad.requests) + len(good.requests)
    span, operation = only(recorded)
    assert (span.failure, operation.request_model, operation.response_model, operation.attempts) == (
        None,
        "main",
        MODEL,
        request_count,
    )
    assert (operation.provider, operation.stream, operation.partial) == ("openai", stream, False)
    assert operation.output[0].text() == Answer().text


def test_a_model_that_fails_says_whose_it_is(recorded: Captured) -> None:
    with Server(KIT.error(429)) as server, pytest.raises(litellm.RateLimitError):
        litellm.completion(**at(server))
    span, operation = only(recorded)
    assert (failure_of(span).type, operation.provider) == ("rate_limit", "openai")


def test_other_providers_are_named_as_the_conventions_do(recorded: Captured) -> None:
    """Here Anthropic's, which litellm asks by a client of its own; cached tokens count as input."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 3}
    hour = {"cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1}}
    with Server(json_reply(anthropic_server.message(anthropic_server.text("Yes."), usage={**usage, **hour}))) as server:
        litellm.completion("anthropic/claude-1", ASK, api_base=server.url, api_key="k")
    span, operation = only(recorded)
    assert (operation.provider, operation.request_model, operation.attempts) == ("anthropic", "claude-1", 1)
    assert (operation.usage, operation.output[0].text()) == (Usage(11, 3, 4, 2, None, 1), "Yes.")
    assert server.requests[0].headers["traceparent"].split("-")[2] == span.span_id


TEXT = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("model", ["openai/gpt-4o", "text-completion-openai/davinci"])
def test_plain_text_is_one_span(recorded: Captured, model: str, asynchronous: bool) -> None:
    """A model of chat is asked by a chat, others by their own endpoint; the program sees a text in either case."""
    chat = json.loads(KIT.whole(Answer()).pieces[0])
    choice = {"text": Answer().text, "index": 0, "finish_reason": "stop", "logprobs": None}
    reply = chat if model == "openai/gpt-4o" else {**TEXT, "choices": [choice], "usage": chat["usage"]}
    with Server(json_reply(reply)) as server:
        request: dict[str, Any] = {"model": model, "api_base": f"{server.url}/v1", "api_key": "k"}
        if asynchronous:
            answer = asyncio.run(litellm.atext_completion(prompt="Where?", **request))
        else:
            answer = litellm.text_completion("Where?", **request)
    assert answer.choices[0].text == Answer().text
    span, operation = only(recorded)
    assert (span.name, operation.input[0].text()) == (f"text_completion {model.partition('/')[2]}", "Where?")
    assert (operation.output[0].text(), operation.finish_reasons, operation.attempts) == (Answer().text, ("stop",), 1)
    assert operation.usage is not None
    assert operation.usage.input_tokens == 20


def test_a_stream_of_plain_text(recorded: Captured) -> None:
    """To its end; and left, which is partial."""
    with Server(KIT.streamed(Answer())) as server:
        for chunk_count in (1_000, 2):
            stream = litellm.text_completion(
                "Where?", model="openai/gpt-4o", api_base=f"{server.url}/v1", api_key="k", stream=True
            )
            for number, _ in enumerate(stream, 1):
                if number == chunk_count:
                    break
            del stream
            gc.collect()
    collected.settle()
    whole, partial_operation = (span.operation for span in recorded.spans)
    assert isinstance(whole, Inference)
    assert isinstance(partial_operation, Inference)
    assert (whole.output[0].text(), whole.partial, whole.finish_reasons) == (Answer().text, False, ("stop",))
    assert partial_operation.partial
    assert Answer().text.startswith(partial_operation.output[0].text())


def test_answers_that_are_made_up_need_no_network(recorded: Captured) -> None:
    """``mock_response``, whole and streamed; more choices than one."""
    litellm.completion("gpt-4o", ASK, mock_response="Here.", n=2)
    list(litellm.completion("gpt-4o", ASK, mock_response="Here.", stream=True))
    whole, streamed = (span.operation for span in recorded.spans)
    assert isinstance(whole, Inference)
    assert isinstance(streamed, Inference)
    assert [message.text() for message in whole.output] == ["Here.", "Here."]
    assert (streamed.output[0].text(), streamed.usage, streamed.attempts) == ("Here.", None, None)


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("how", ["whole", "stream", "astream"])
@pytest.mark.parametrize("reported", [True, False])
def test_an_estimated_usage_is_not_recorded(recorded: Captured, how: str, routed: bool, reported: bool) -> None:
    """Where the server reports none, litellm counts words itself, and the program gets that as if it were reported."""
    reply = KIT.streamed(Answer()) if "stream" in how else KIT.whole(Answer())
    if not reported:
        reply = without_usage(reply)
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if "stream" in how else {}
    with Server(reply) as server:
        asked = {**(({"model": "main", "messages": ASK}) if routed else at(server)), **options}
        library = router(server) if routed else litellm
        if how == "astream":
            given = asyncio.run(read(library.acompletion(**asked)))
        else:
            given = library.completion(**asked)
            given = list(given) if how == "stream" else given
    if "stream" in how:
        assert given[-1].usage.completion_tokens > 0
    usage = only(recorded)[1].usage
    assert (None if usage is None else usage.output_tokens) == (9 if reported else None)


def without_usage(reply: Reply) -> Reply:
    """The answer of a server that does not count."""
    return replace(reply, pieces=tuple(_uncounted(piece) for piece in reply.pieces if b'"choices": []' not in piece))


def _uncounted(piece: bytes) -> bytes:
    start, brace, _ = piece.partition(b"{")
    if not brace:  # [DONE]
        return piece
    body = json.loads(piece[len(start) :])
    del body["usage"]
    return start + json.dumps(body).encode() + b"\n\n"


@pytest.mark.parametrize("routed", [False, True])
def test_the_proxy_continues_the_trace_of_its_client(recorded: Captured, routed: bool) -> None:
    """It hands the headers of its request on to the call. What the client recorded of the call is counted once."""
    with Server(KIT.whole(Answer()), KIT.whole(Answer())) as server:
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-test").chat.completions.create(model=MODEL, messages=ASK)
        headers = {"Traceparent": server.requests[0].headers["traceparent"], "authorization": "Bearer sk-secret"}
        proxied = {"proxy_server_request": {"url": "http://proxy", "method": "POST", "headers": headers, "body": {}}}
        library = router(server) if routed else litellm
        asked = {"model": "main", "messages": ASK} if routed else at(server)
        asyncio.run(library.acompletion(**asked, **proxied))
    client, far = recorded.spans
    assert (far.trace_id, far.parent_id) == (client.trace_id, client.span_id)
    assert "sk-secret" not in repr(far)
    summary = summarise(Trace(recorded.spans))
    assert (summary.input_tokens, summary.output_tokens) == (20, 9)


def test_a_usage_with_the_names_of_two_apis_is_read_whole() -> None:
    """Some servers send the names of the Responses API beside those of chat."""
    counts = {"prompt_tokens": 10, "completion_tokens": 2, "input_tokens": 10, "cache_creation_input_tokens": 3}
    assert Completion().answer({"choices": [], "usage": counts})["usage"] == Usage(10, 2, cache_write_input_tokens=3)


def test_embeddings_are_no_inference(recorded: Captured) -> None:
    vectors = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]}
    with Server(json_reply({**vectors, "usage": {"prompt_tokens": 3, "total_tokens": 3}})) as server:
        arguments = {"model": "openai/e", "input": ["secret"], "api_base": f"{server.url}/v1", "api_key": "k"}
        litellm.embedding(**arguments)
        asyncio.run(litellm.aembedding(**arguments))
    for span in recorded.spans:
        assert isinstance(span.operation, Embedding)
        assert (span.operation.provider, span.operation.request_model, span.operation.dimensions) == ("openai", "e", 2)
    assert len(recorded.spans) == 2


def test_the_responses_api_is_traced(recorded: Captured) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    with Server(json_reply(response(text_item("Yes."), model=MODEL, usage=usage))) as server:
        arguments = {key: value for key, value in at(server).items() if key not in ("messages", "max_retries")}
        litellm.responses(input="Where?", instructions="Be brief.", **arguments)
        asyncio.run(litellm.aresponses(input="Where?", instructions="Be brief.", **arguments))
    assert len(recorded.spans) == 2
    for span in recorded.spans:
        operation = span.operation
        assert isinstance(operation, Inference)
        assert (operation.request_model, operation.input[0].text(), operation.output[0].text()) == (MODEL, "Where?", "Yes.")
        assert operation.usage is not None
        assert (operation.usage.input_tokens, operation.usage.output_tokens) == (3, 4)
