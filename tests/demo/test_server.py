"""The demo's server: the real client understands it, streaming or not, and both give the same."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from llmtrace.demo.agent import whole
from llmtrace.demo.server import MODEL, ModelServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(pace=0) as server:
        yield server


@pytest.fixture
def client(server: ModelServer) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=server.url, api_key="none", http_client=http, max_retries=0) as client:
        yield client


def conversations() -> list[list[dict[str, Any]]]:
    """One that is answered by a call, and one that is answered in words."""
    task = {"role": "user", "content": "Refund order KS-20418."}
    call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"order_id": "KS-20418"}'}}
    return [
        [task],
        [
            task,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "no"},
        ],
    ]


@pytest.mark.parametrize("messages", conversations(), ids=["call", "answer"])
def test_streamed_is_whole(client: openai.OpenAI, messages: list[Any]) -> None:
    """The chunks of a stream add up to the message that comes without streaming."""
    answer = client.chat.completions.create(model="m", messages=messages).choices[0].message
    stream = client.chat.completions.create(model="m", messages=messages, stream=True)
    expected = answer.model_dump(exclude_none=True)
    assert {key: value for key, value in whole(stream).items() if value is not None} == expected


def test_usage_comes_when_asked_for(client: openai.OpenAI) -> None:
    """Usage is in the last chunk, whose choices are empty, and only under include_usage."""
    messages: Any = conversations()[0]
    plain = list(client.chat.completions.create(model="m", messages=messages, stream=True))
    assert all(chunk.usage is None for chunk in plain)
    options: Any = {"include_usage": True}
    last = list(client.chat.completions.create(model="m", messages=messages, stream=True, stream_options=options))[-1]
    whole_usage = client.chat.completions.create(model="m", messages=messages).usage
    assert (last.choices, last.usage) == ([], whole_usage)


def test_models_are_listed(client: openai.OpenAI) -> None:
    """The model has a name to ask for, and the server answers to any."""
    assert [model.id for model in client.models.list()] == [MODEL]
    messages: Any = conversations()[0]
    assert client.chat.completions.create(model="some", messages=messages).model == "some"


def test_nonsense_is_refused_as_openai_does(server: ModelServer, client: openai.OpenAI) -> None:
    """What is no chat request is answered 400 or 404 with OpenAI's error object."""
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="m", input="x")
    request = urllib.request.Request(f"{server.url}/chat/completions", data=b"[]")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(request)
    with refused.value as answer:
        assert (answer.code, json.load(answer)["error"]["type"]) == (400, "invalid_request_error")


def test_a_stream_may_be_left(client: openai.OpenAI) -> None:
    """A client that leaves a stream after its first chunk can ask again at once."""
    messages: Any = conversations()[1]
    for _ in range(3):
        stream = client.chat.completions.create(model="m", messages=messages, stream=True)
        next(iter(stream))
        stream.close()
    assert client.chat.completions.create(model="m", messages=messages).choices[0].finish_reason == "stop"


def test_leaving_the_block_does_not_wait_for_clients(client: openai.OpenAI) -> None:
    """A connection that is still open does not hold the server's end up."""
    with ModelServer(pace=0) as server:
        http = openai.DefaultHttpxClient(trust_env=False)
        open_client = openai.OpenAI(base_url=server.url, api_key="none", http_client=http)
        assert open_client.models.list().data
    open_client.close()
