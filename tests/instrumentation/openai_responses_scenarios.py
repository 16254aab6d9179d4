"""What programs do with the Responses API and with embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
from openai_responses_server import (
    CLICK,
    EVERY_TOOL,
    MODEL,
    TOOL,
    answered,
    call,
    custom,
    events,
    refused,
    response,
    streamed,
    text_item,
    thought,
    waiting,
)
from openai_scenarios import Answer
from openai_server import Server, error, whole
from transparency import Scenarios

SCENARIOS = Scenarios("openai", Server)
scenario = SCENARIOS.add

GIVEN: dict[str, Any] = {"model": MODEL, "input": "Where is order 7?"}
EVERYTHING = response(
    thought("so", content=["be"]),
    *EVERY_TOOL,
    CLICK,
    call(),
    custom(),
    refused(),
    text_item("Well.", [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}]),
)
EMBEDDED = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": "AAAAPwAAgL4="}],
    "model": "e-1",
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
ITEMS: list[Any] = [
    {"role": "developer", "content": "Be kind, and brief, and say which order it is that you speak of."},
    {"role": "user", "content": [{"type": "input_image", "file_id": "f"}, {"type": "input_file", "file_data": "QUJD"}]},
    *EVERYTHING["output"],
    {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "sent"}]},
    {"type": "computer_call_output", "call_id": "call_u", "output": {"type": "computer_screenshot", "file_id": "f"}},
    {"type": "mcp_list_tools", "id": "m", "server_label": "dice", "tools": [{"name": "roll", "input_schema": {}}]},
    {"type": "compaction", "id": "c", "encrypted_content": "x"},
    {"type": "program", "id": "p", "call_id": "p_1", "code": "1", "fingerprint": "f"},
    {"type": "additional_tools", "role": "developer", "tools": [{**TOOL, "name": "track"}]},
    {"type": "item_reference", "id": "msg_1"},
]


@scenario(lambda: whole(EVERYTHING))
def responses_create(client: openai.OpenAI) -> Iterator[Any]:
    result = client.responses.create(
        tools=[TOOL], instructions="Be brief.", reasoning={"effort": "low"}, conversation="c", **GIVEN
    )
    yield result
    yield type(result).__name__, result.output_text, result._request_id


@scenario(lambda: whole(EVERYTHING))
def responses_create_with_every_item(client: openai.OpenAI) -> Iterator[Any]:
    items = [*ITEMS]
    yield client.responses.create(model=MODEL, input=items, extra_body={"top_k": 1}, extra_headers={"x-one": "1"})
    yield items == ITEMS


@scenario(answered)
def responses_create_with_an_iterator(client: openai.OpenAI) -> Iterator[Any]:
    tools = iter([TOOL])
    yield client.responses.create(tools=tools, **GIVEN)
    yield next(tools, "consumed")


@scenario(lambda: whole(response(status="failed", output=[], error={"code": "server_error", "message": "down"})))
def responses_create_failed(client: openai.OpenAI) -> Iterator[Any]:
    yield client.responses.create(**GIVEN)


@scenario(lambda: answered(text_item('{"city": "Oslo", "days": 2}')), lambda: answered(text_item('{"city": "Oslo"}')))
def responses_parse(client: openai.OpenAI) -> Iterator[Any]:
    result = client.responses.parse(text_format=Answer, **GIVEN)
    yield result
    yield result.output_parsed
    yield client.responses.parse(text_format=Answer, **GIVEN)


@scenario(lambda: streamed(EVERYTHING))
def responses_stream(client: openai.OpenAI) -> Iterator[Any]:
    stream = client.responses.create(stream=True, **GIVEN)
    yield stream
    yield sorted(vars(stream)), type(stream._iterator).__name__
    yield list(stream)
    yield list(stream), stream.response.is_closed


@scenario(lambda: streamed([*events()[:5], {"type": "error", "code": "x", "message": "down", "param": None}]))
def responses_stream_with_an_error(client: openai.OpenAI) -> Iterator[Any]:
    yield list(client.responses.create(stream=True, **GIVEN))


@scenario(lambda: streamed([{"type": "error", "error": {"code": "x", "message": "down"}}]))
def responses_stream_refused(client: openai.OpenAI) -> Iterator[Any]:
    yield list(client.responses.create(stream=True, **GIVEN))


@scenario(lambda: streamed(response(text_item('{"city": "Oslo"}'))))
def responses_helper_parse_fails(client: openai.OpenAI) -> Iterator[Any]:
    with client.responses.stream(text_format=Answer, **GIVEN) as stream:
        stream.until_done()
        yield stream


@scenario(lambda: whole(waiting()), lambda: whole(waiting("in_progress")), answered, streamed)
def responses_in_the_background(client: openai.OpenAI) -> Iterator[Any]:
    response = client.responses.create(background=True, **GIVEN)
    yield response
    yield client.responses.retrieve(response.id)
    yield client.responses.retrieve(response_id=response.id, include=["reasoning.encrypted_content"])
    yield list(client.responses.retrieve(response.id, stream=True, starting_after=3))


@scenario(lambda: error(404))
def responses_retrieve_refused(client: openai.OpenAI) -> Iterator[Any]:
    try:
        client.responses.retrieve("")
    except ValueError as refusal:
        yield refusal
    yield client.responses.retrieve("resp_9")


@scenario(lambda: whole(EMBEDDED), lambda: whole(EMBEDDED), lambda: error(401))
def embeddings(client: openai.OpenAI) -> Iterator[Any]:
    yield client.embeddings.create(model="e-1", input="a", dimensions=2)
    raw = client.embeddings.with_raw_response.create(model="e-1", input=["a"], encoding_format="base64")
    yield raw.parse()
    yield client.embeddings.create(model="e-1", input=[1, 2])


@scenario(answered, streamed, lambda: answered(text_item('{"city": "Oslo"}')))
async def aresponses_retrieve(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    yield await client.responses.retrieve("resp_1")
    yield [event async for event in await client.responses.retrieve("resp_1", stream=True)]
    yield await client.responses.parse(text_format=Answer, **GIVEN)
