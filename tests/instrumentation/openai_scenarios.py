"""What programs do with the openai client."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pydantic
from openai_server import (
    ASK,
    MODEL,
    TOOLS,
    USAGE,
    Server,
    call_chunks,
    chunk,
    completion,
    error,
    message,
    streamed,
    text_chunks,
    tool_call,
    whole,
)
from transparency import Detail, Scenarios

GIVEN: dict[str, Any] = {"model": MODEL, "messages": ASK}

SCENARIOS = Scenarios("openai", Server)
scenario = SCENARIOS.add


class Answer(pydantic.BaseModel):
    city: str
    days: int


# -- whole answers


@scenario(whole)
def create(client: openai.OpenAI) -> Iterator[Any]:
    result = client.chat.completions.create(**GIVEN)
    yield result
    yield isinstance(result, openai.types.chat.ChatCompletion)
    yield result._request_id


@scenario(lambda: whole(completion(message(None, tool_calls=[tool_call(), tool_call("{", id="c2")]), finish="tool_calls")))
def create_with_tools(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(tools=TOOLS, tool_choice="auto", temperature=0, **GIVEN)


@scenario(whole)
def create_with_an_iterator(client: openai.OpenAI) -> Iterator[Any]:
    messages = iter(ASK)
    yield client.chat.completions.create(model=MODEL, messages=messages)
    yield next(messages, "consumed")


@scenario(whole)
def create_with_headers(client: openai.OpenAI) -> Iterator[Any]:
    headers = {"x-one": "1"}
    yield client.chat.completions.create(extra_headers=headers, extra_query={"a": "b"}, extra_body={"top_k": 1}, **GIVEN)
    yield headers


@scenario(whole)
def create_with_objects(client: openai.OpenAI) -> Iterator[Any]:
    message = openai.types.chat.ChatCompletionMessage(role="assistant", content="Hm.")
    yield client.chat.completions.create(model=MODEL, messages=[*ASK, message], timeout=5, stop=openai.NOT_GIVEN)  # type: ignore[list-item]
    yield message


_TEXT = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": MODEL, "usage": USAGE}
_SAID = {**_TEXT, "choices": [{"text": "On its way.", "index": 0, "finish_reason": "stop", "logprobs": None}]}


@scenario(lambda: whole(_SAID), lambda: streamed([_SAID, _SAID]), lambda: error(404))
def completions(client: openai.OpenAI) -> Iterator[Any]:
    yield client.completions.create(model=MODEL, prompt="Where is", suffix="?")
    yield list(client.completions.create(model=MODEL, prompt=["Where is", "it"], stream=True))
    yield client.completions.create(model=MODEL, prompt=[1, 2])


_EVERY_PART: list[Any] = [
    {"role": "developer", "content": "Be kind, and brief, and say which order it is that you speak of."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look."},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}},
            {"type": "of_tomorrow", "what": [1]},
        ],
    },
    {"role": "assistant", "content": None, "refusal": "No.", "reasoning_content": "think", "tool_calls": [tool_call()]},
    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "{}"}]},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}], "audio": {"id": "a1"}},
    {"role": "assistant", "function_call": {"name": "look_up", "arguments": "{}"}},
    {"role": "function", "name": "look_up", "content": "{}"},
    {"role": "user", "name": "ann", "content": "And tell me, please, which of them it is that has not been sent yet."},
]


@scenario(lambda: whole({"error": {"message": "down", "code": 502}, **completion(message(None, refusal="No."))}))
def create_with_every_part(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(model=MODEL, messages=_EVERY_PART, functions=[TOOLS[0]["function"]])


@scenario(whole)
def raw(client: openai.OpenAI) -> Iterator[Any]:
    response = client.chat.completions.with_raw_response.create(**GIVEN)
    yield response
    yield response.headers["x-request-id"], response.status_code, response.retries_taken
    yield response.parse()
    yield response.parse() is response.parse()
    yield Detail(sorted(vars(response.http_response)))


@scenario(whole, whole)
def raw_bytes(client: openai.OpenAI) -> Iterator[Any]:
    for read in ("iter_bytes", "iter_lines"):
        with client.chat.completions.with_streaming_response.create(**GIVEN) as response:
            yield list(getattr(response, read)())
            yield next(iter(getattr(response, read)()), "nothing more")


@scenario(lambda: whole(completion(message('{"city": "Oslo", "days": 2}'))))
def parse(client: openai.OpenAI) -> Iterator[Any]:
    result = client.chat.completions.parse(response_format=Answer, **GIVEN)
    yield result
    yield result.choices[0].message.parsed


@scenario(lambda: whole(completion(message('{"city": "Oslo"}'))))
def parse_fails(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.parse(response_format=Answer, **GIVEN)


@scenario(lambda: whole(completion(finish="length")))
def parse_of_a_cut_answer(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.parse(response_format=Answer, **GIVEN)


# -- failures


@scenario(lambda: error(400))
def bad_request(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(**GIVEN)


@scenario()
def wrong_arguments(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(model=MODEL)  # type: ignore[call-overload]


# -- streams


@scenario(streamed)
def stream(client: openai.OpenAI) -> Iterator[Any]:
    result = client.chat.completions.create(stream=True, **GIVEN)
    yield result
    yield isinstance(result, openai.Stream), sorted(vars(result)), type(result._iterator).__name__
    yield type(iter(result)).__name__, iter(result) is result
    yield list(result)
    yield next(result, "over"), result.response.is_closed
    yield result.close()
    yield result.close()


@scenario(lambda: streamed(call_chunks()))
def stream_of_calls(client: openai.OpenAI) -> Iterator[Any]:
    yield list(client.chat.completions.create(stream=True, tools=TOOLS, stream_options={"include_usage": True}, **GIVEN))


@scenario(
    lambda: streamed(
        [
            chunk({"role": "assistant", "content": [{"type": "text", "text": "a"}]}),
            chunk({"audio": {"id": "a1", "data": "QUJD"}, "reasoning": "think"}),
            chunk({"function_call": {"name": "look_up", "arguments": "{}"}}),
            chunk({"annotations": [{"type": "of_tomorrow"}], "images": [{"type": "of_tomorrow"}]}),
            chunk(None, usage={**USAGE, "cost": 0.25, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}),
        ]
    )
)
def stream_of_every_delta(client: openai.OpenAI) -> Iterator[Any]:
    yield list(client.chat.completions.create(stream=True, **GIVEN))


@scenario(lambda: streamed([chunk({"content": "a"}), chunk({"content": "b"}, index=1), {"odd": True}]))
def stream_of_odd_chunks(client: openai.OpenAI) -> Iterator[Any]:
    yield list(client.chat.completions.create(stream=True, **GIVEN))


@scenario(lambda: streamed([*text_chunks()[:2], {"error": {"message": "overloaded", "code": "x"}}]))
def stream_with_an_error(client: openai.OpenAI) -> Iterator[Any]:
    yield from client.chat.completions.create(stream=True, **GIVEN)


@scenario(streamed)
def raw_stream(client: openai.OpenAI) -> Iterator[Any]:
    response = client.chat.completions.with_raw_response.create(stream=True, **GIVEN)
    yield response
    yield response.parse()
    yield response.parse() is response.parse()
    yield list(response.parse())


@scenario(streamed, streamed)
def raw_stream_streaming(client: openai.OpenAI) -> Iterator[Any]:
    with client.chat.completions.with_streaming_response.create(stream=True, **GIVEN) as response:
        yield list(response.parse())
    with client.chat.completions.with_streaming_response.create(stream=True, **GIVEN) as response:
        yield list(response.iter_lines())


@scenario(streamed)
def helper_left(client: openai.OpenAI) -> Iterator[Any]:
    with client.chat.completions.stream(**GIVEN) as result:
        yield next(result).type
    yield result._response.is_closed


# -- async


@scenario(whole)
async def acreate(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    waiting = client.chat.completions.create(**GIVEN)
    yield inspect.iscoroutine(waiting)
    yield Detail(waiting.__qualname__)
    yield await waiting


@scenario(lambda: streamed([_SAID, _SAID]), lambda: whole(_SAID))
async def acompletions(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    yield [chunk async for piece in await client.completions.create(model=MODEL, prompt="Where", stream=True)]
    yield await client.completions.with_raw_response.create(model=MODEL, prompt="Where")


@scenario()
async def awrong_arguments(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    try:
        client.chat.completions.create(model=MODEL)  # type: ignore[call-overload]
    except TypeError as raised:
        yield raised


@scenario(whole)
async def anever_awaited(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    client.chat.completions.create(**GIVEN).close()
    yield "closed"


@scenario(whole, whole)
async def araw(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    response = await client.chat.completions.with_raw_response.create(**GIVEN)
    yield response
    yield response.parse()
    async with client.chat.completions.with_streaming_response.create(**GIVEN) as streaming:
        yield streaming
        yield await streaming.parse()


@scenario(lambda: whole(completion(message('{"city": "Oslo"}'))))
async def aparse_fails(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    yield await client.chat.completions.parse(response_format=Answer, **GIVEN)


@scenario(streamed)
async def astream(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    result = await client.chat.completions.create(stream=True, **GIVEN)
    yield result
    yield isinstance(result, openai.AsyncStream), sorted(vars(result)), type(result._iterator).__name__
    yield [chunk async for piece in result]
    yield [chunk async for piece in result], result.response.is_closed
    yield await result.close()


@scenario(streamed)
async def astream_left(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    async with await client.chat.completions.create(stream=True, **GIVEN) as result:
        yield await result.__anext__()
    yield result.response.is_closed


@scenario(streamed)
async def araw_stream_lines(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    async with client.chat.completions.with_streaming_response.create(stream=True, **GIVEN) as response:
        yield [line async for line in response.iter_lines()]


@scenario(streamed)
async def ahelper(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    async with client.chat.completions.stream(**GIVEN) as result:
        yield result
        async for event in result:
            yield event.type
        yield await result.get_final_completion()
