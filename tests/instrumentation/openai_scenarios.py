"""What programs do with the openai client, as a table: each scenario tells everything that the program can see of it.

A scenario is a generator of observations over a client and its fake server; `observe` runs one and gives what was seen, with
the requests that were sent.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
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
    http,
    message,
    streamed,
    text_chunks,
    tool_call,
    whole,
)

GIVEN: dict[str, Any] = {"model": MODEL, "messages": ASK}


class Answer(pydantic.BaseModel):
    city: str
    days: int


class Detail:
    """An observation of something that no program should depend on; the chaos test leaves it out."""

    def __init__(self, seen: Any) -> None:
        self.seen = seen


class Table:
    """Scenarios by name, each with what its server will answer."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.scenarios: dict[str, tuple[Any, Callable[[], list[Any]]]] = {}

    def scenario(self, *replies: Callable[[], Any]) -> Callable[[Any], Any]:
        def register(function: Any) -> Any:
            self.scenarios[function.__name__] = function, lambda: [reply() for reply in replies]
            return function

        return register

    def observe(self, name: str, *, details: bool = True) -> tuple[list[Any], list[Any]]:
        """Run a scenario. Gives what was seen, and the requests that were sent, without the headers that name our span."""
        function, replies = self.scenarios[name]
        server, seen = self.server(*replies()), list[Any]()
        if inspect.isasyncgenfunction(function):
            asyncio.run(_awatch(function, server, seen))
        else:
            with server.client(max_retries=2) as client:
                _watch(function(client), seen)
        descriptions = [
            describe(value.seen) if isinstance(value, Detail) else value
            for value in seen
            if details or not isinstance(value, Detail)
        ]
        return descriptions, [_request(request) for request in server.requests]


TABLE = Table(Server)
scenario, observe = TABLE.scenario, TABLE.observe


def _watch(steps: Any, seen: list[Any]) -> None:
    try:
        for step in steps:
            seen.append(describe(step))  # noqa: PERF401  (what was seen before it raised is kept)
    except Exception as raised:
        seen.append(describe(raised))


async def _awatch(function: Any, server: Server, seen: list[Any]) -> None:
    async with server.aclient(max_retries=2) as client:
        try:
            async for step in function(client):
                seen.append(describe(step))  # noqa: PERF401
        except (Exception, asyncio.CancelledError) as raised:
            seen.append(describe(raised))


def _request(request: Any) -> Any:
    headers = {name: value for name, value in request.headers.items() if name not in ("traceparent", "x-request-id")}
    return request.method, str(request.url), headers, json.loads(request.content or b"null")


def describe(thing: Any) -> Any:
    """A value as far as a program can tell it from another."""
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if isinstance(thing, BaseException):
        cause = describe(thing.__cause__) if thing.__cause__ is not None else None
        attributes = {
            name: repr(getattr(thing, name, None)) for name in ("message", "code", "status_code", "body", "request_id")
        }
        return kind, str(thing), attributes, cause
    if isinstance(thing, pydantic.BaseModel):
        return kind, thing.model_dump(), sorted(thing.model_fields_set)
    if isinstance(thing, (list, tuple)):
        return [describe(value) for value in thing]
    if thing is None or isinstance(thing, (str, int, bytes, dict, bool, Detail)):
        return thing
    return kind, sorted(name for name in dir(thing) if not name.startswith("__"))


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


@scenario(whole)
def raw_streaming(client: openai.OpenAI) -> Iterator[Any]:
    with client.chat.completions.with_streaming_response.create(**GIVEN) as response:
        yield response
        yield response.is_closed
        yield response.parse()
        yield response.json()
    yield response.is_closed
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


@scenario(lambda: http.Response(200, headers={"content-type": "text/html"}, content=b"<html>"))
def not_json(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(**GIVEN)


# -- failures


@scenario(lambda: error(503), lambda: error(503), whole)
def retries(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(**GIVEN)


@scenario(lambda: error(400))
def bad_request(client: openai.OpenAI) -> Iterator[Any]:
    yield client.chat.completions.create(**GIVEN)


@scenario(*[lambda: http.ConnectError("refused")] * 3)
def no_connection(client: openai.OpenAI) -> Iterator[Any]:
    yield client.with_options(max_retries=0).chat.completions.create(**GIVEN)


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


@scenario(streamed)
def stream_left(client: openai.OpenAI) -> Iterator[Any]:
    with client.chat.completions.create(stream=True, **GIVEN) as result:
        yield next(result)
    yield result.response.is_closed
    yield from result


@scenario(lambda: streamed(text_chunks()[:2], breaks=http.ReadError("reset")))
def stream_breaks(client: openai.OpenAI) -> Iterator[Any]:
    result = client.chat.completions.create(stream=True, **GIVEN)
    try:
        yield from result
    except Exception as raised:
        yield raised
    yield list(result)


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
def helper(client: openai.OpenAI) -> Iterator[Any]:
    with client.chat.completions.stream(**GIVEN) as result:
        yield result
        for event in result:
            yield event.type
        yield result.get_final_completion()


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


NAMES = tuple(TABLE.scenarios)
