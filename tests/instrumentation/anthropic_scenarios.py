"""What programs do with the anthropic client: the idioms of its own tests and README."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pydantic
from anthropic_server import (
    ASK,
    GIVEN,
    MODEL,
    SEARCHED,
    TOOLS,
    Server,
    answered,
    events,
    message,
    refused,
    streamed,
    text,
    tool_use,
    whole,
)
from transparency import Scenarios

SCENARIOS = Scenarios("anthropic", Server)
scenario = SCENARIOS.add
EVERYTHING = message(*SEARCHED, stop="tool_use")


class City(pydantic.BaseModel):
    city: str
    days: int


def everything() -> Any:
    return streamed(events(EVERYTHING))


# -- whole answers


@scenario(lambda: answered(*SEARCHED, stop="tool_use"))
def create_with_every_block(client: anthropic.Anthropic) -> Iterator[Any]:
    tools: Any = [*TOOLS, {"type": "web_search_20250305", "name": "web_search"}]
    yield client.messages.create(tools=tools, tool_choice={"type": "auto"}, system=[text("Be brief.")], **GIVEN)  # type: ignore[list-item]


@scenario(answered)
def create_with_an_iterator(client: anthropic.Anthropic) -> Iterator[Any]:
    messages = iter(ASK)
    yield client.messages.create(**{**GIVEN, "messages": messages})
    yield next(messages, "consumed")


@scenario(answered)
def create_with_headers(client: anthropic.Anthropic) -> Iterator[Any]:
    headers = {"x-one": "1"}
    yield client.messages.create(extra_headers=headers, extra_query={"a": "b"}, extra_body={"odd": 1}, timeout=5, **GIVEN)
    yield headers


@scenario(answered, answered)
def create_again(client: anthropic.Anthropic) -> Iterator[Any]:
    first = client.messages.create(**GIVEN)
    later = [*ASK, {"role": first.role, "content": first.content}, *ASK]
    yield client.with_options(max_retries=0).messages.create(**{**GIVEN, "messages": later})
    yield later


@scenario(lambda: whole({"input_tokens": 7}))
def count_tokens(client: anthropic.Anthropic) -> Iterator[Any]:
    yield client.messages.count_tokens(model=MODEL, messages=ASK)


@scenario(lambda: answered(text('{"city": "Oslo", "days": 2}')), lambda: answered(text('{"city": "Oslo"}')))
def parse(client: anthropic.Anthropic) -> Iterator[Any]:
    result = client.messages.parse(output_format=City, **GIVEN)
    yield result.parsed_output
    yield result.to_dict()
    yield client.beta.messages.parse(output_format=City, **GIVEN)


# -- failures


@scenario()
def wrong_arguments(client: anthropic.Anthropic) -> Iterator[Any]:
    yield client.messages.create(model=MODEL)  # type: ignore[call-overload]


@scenario()
def wrong_arguments_of_the_helper(client: anthropic.Anthropic) -> Iterator[Any]:
    yield client.messages.stream(model=MODEL)  # type: ignore[call-arg]


# -- streams


@scenario(lambda: streamed([*events()[:4], {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}]))
def stream_with_an_error(client: anthropic.Anthropic) -> Iterator[Any]:
    yield from client.messages.create(stream=True, **GIVEN)


@scenario(everything)
def helper(client: anthropic.Anthropic) -> Iterator[Any]:
    manager = client.messages.stream(tools=TOOLS, **GIVEN)
    yield manager
    with manager as result:
        yield result
        yield isinstance(result, anthropic.MessageStream), type(result.text_stream).__name__
        yield from result
        yield result.get_final_message()
        yield result.get_final_text()
        yield result.current_message_snapshot is result.get_final_message()
        yield result.request_id, result.response.is_closed


@scenario(everything)
def helper_text(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.messages.stream(**GIVEN) as result:
        yield list(result.text_stream)
        yield next(result.text_stream, "over")


@scenario(streamed)
def helper_left(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.messages.stream(**GIVEN) as result:
        yield next(iter(result)).type
        yield result.current_message_snapshot
    yield result.response.is_closed
    yield list(result)


@scenario(streamed)
def helper_closed(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.messages.stream(**GIVEN) as result:
        result.close()
        yield result.response.is_closed
        yield result.get_final_message()


@scenario(lambda: streamed([*events()[:4], {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}]))
def helper_with_an_error(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.messages.stream(**GIVEN) as result:
        yield from result.text_stream


@scenario(lambda: refused(400))
def helper_refused(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.messages.stream(**GIVEN) as result:
        yield result


@scenario(lambda: streamed(events(message(tool_use('{"order_id": '), stop="max_tokens"))))
def helper_with_half_a_call(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.messages.stream(**GIVEN) as result:
        yield result.get_final_message()


@scenario(everything)
def beta_helper(client: anthropic.Anthropic) -> Iterator[Any]:
    with client.beta.messages.stream(**GIVEN) as result:
        yield [event.type for event in result]
        yield result.get_final_message()


def _runner_tool() -> Any:
    @anthropic.beta_tool
    def look_up(order_id: str) -> str:
        "Look an order up."
        if order_id == "8":
            raise ValueError("no such order")
        return f"order {order_id}: sent"

    return look_up


@scenario(lambda: answered(tool_use(), tool_use({"order_id": "8"}, id="toolu_2"), stop="tool_use"), answered)
def tool_runner(client: anthropic.Anthropic) -> Iterator[Any]:
    runner = client.beta.messages.tool_runner(tools=[_runner_tool()], **GIVEN)
    yield runner
    for chunk in runner:
        yield chunk
        yield runner.generate_tool_call_response()
    yield runner.until_done()


@scenario(lambda: streamed(events(message(tool_use(), stop="tool_use"))), streamed)
def tool_runner_streaming(client: anthropic.Anthropic) -> Iterator[Any]:
    for chunk in client.beta.messages.tool_runner(tools=[_runner_tool()], stream=True, **GIVEN):
        yield [event.type for event in chunk]
        yield chunk.get_final_message()


# -- async


@scenario()
async def ahelper_never_entered(client: anthropic.AsyncAnthropic) -> AsyncIterator[Any]:
    yield client.messages.stream(**GIVEN)


@scenario(lambda: answered(text('{"city": "Oslo"}')))
async def aparse_fails(client: anthropic.AsyncAnthropic) -> AsyncIterator[Any]:
    yield await client.messages.parse(output_format=City, **GIVEN)


@scenario(everything)
async def ahelper(client: anthropic.AsyncAnthropic) -> AsyncIterator[Any]:
    manager = client.messages.stream(tools=TOOLS, **GIVEN)
    yield manager
    async with manager as result:
        yield result
        async for event in result:
            yield event
        yield await result.get_final_message()
        yield await result.get_final_text()


@scenario(streamed)
async def ahelper_text_left(client: anthropic.AsyncAnthropic) -> AsyncIterator[Any]:
    async with client.beta.messages.stream(**GIVEN) as result:
        async for piece in result.text_stream:
            yield piece
            break
    yield result.response.is_closed


@scenario(lambda: refused(400))
async def ahelper_refused(client: anthropic.AsyncAnthropic) -> AsyncIterator[Any]:
    async with client.messages.stream(**GIVEN) as result:
        yield result


@scenario(lambda: answered(tool_use(), tool_use({"order_id": "8"}, id="toolu_2"), stop="tool_use"), answered)
async def atool_runner(client: anthropic.AsyncAnthropic) -> AsyncIterator[Any]:
    @anthropic.beta_async_tool
    async def look_up(order_id: str) -> str:
        "Look an order up."
        await asyncio.sleep(0)
        return json.dumps({"order": int(order_id) // (8 - int(order_id))})

    runner = client.beta.messages.tool_runner(tools=[look_up], **GIVEN)
    async for chunk in runner:
        yield chunk
        yield await runner.generate_tool_call_response()
