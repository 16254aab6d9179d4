"""Clients that Stainless generates (OpenAI's, Anthropic's, Groq's): however a program reads one answer, it is one inference.

The law of `way` holds, too: what the program sees is what it sees with llmtrace off.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kit import Answer, Question, Reply
from way import Way, load, settled

from llmtrace.model import Inference, replace

Read = Callable[[Any, Mapping[str, Any]], Awaitable[Any]]
"""Asks a resource of a client, and returns what the program sees of the answer."""

ROOTS: dict[str, Callable[[Any], Any]] = {"plain": lambda client: client, "beta": lambda client: client.beta}
CASES = [
    *((name, "plain") for name in ("anthropic", "groq", "openai", "openai_responses")),
    *((name, "beta") for name in ("anthropic", "openai_responses")),
]


async def items(stream: Any) -> list[Any]:
    return [item async for item in stream] if hasattr(stream, "__aiter__") else list(stream)


async def shown(answer: Any) -> Any:
    """An answer or the chunks of a stream, as plain values."""
    if hasattr(answer, "__anext__") or hasattr(answer, "__next__"):
        return [await shown(chunk) for chunk in await items(answer)]
    return type(answer).__qualname__, answer.model_dump(), sorted(answer.model_fields_set)


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """``with`` or ``async with``, as the client has it."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


async def create(resource: Any, request: Mapping[str, Any]) -> Any:
    return await shown(await settled(resource.create(**request)))


async def raw(resource: Any, request: Mapping[str, Any]) -> Any:
    response = await settled(resource.with_raw_response.create(**request))
    parsed = await settled(response.parse())
    assert await settled(response.parse()) is parsed
    return type(response).__qualname__, response.status_code, response.retries_taken, await shown(parsed)


async def raw_in_block(resource: Any, request: Mapping[str, Any]) -> Any:
    async with entered(resource.with_streaming_response.create(**request)) as response:
        seen = type(response).__qualname__, response.is_closed, await shown(await settled(response.parse()))
    return *seen, response.is_closed, sorted(vars(response.http_response))


async def lines(resource: Any, request: Mapping[str, Any]) -> Any:
    async with entered(resource.with_streaming_response.create(**request)) as response:
        return await items(response.iter_lines())


async def chunks_of_bytes(resource: Any, request: Mapping[str, Any]) -> Any:
    async with entered(resource.with_streaming_response.create(**request)) as response:
        return b"".join(await items(response.iter_bytes()))


async def body(resource: Any, request: Mapping[str, Any]) -> Any:
    async with entered(resource.with_streaming_response.create(**request)) as response:
        return await settled(response.read())


async def raw_unparsed(resource: Any, request: Mapping[str, Any]) -> Any:
    return (await settled(resource.with_raw_response.create(**request))).status_code


async def parse(resource: Any, request: Mapping[str, Any]) -> Any:
    ask = resource.parse if hasattr(resource, "parse") else resource.create
    return await shown(await settled(ask(**request)))


async def in_two_loops(resource: Any, request: Mapping[str, Any]) -> Any:
    stream = await settled(resource.create(**request))
    first = await anext(stream) if hasattr(stream, "__anext__") else next(stream)
    return await shown(first), await shown(stream), await shown(stream), stream.response.is_closed


async def in_a_block(resource: Any, request: Mapping[str, Any]) -> Any:
    async with entered(await settled(resource.create(**request))) as stream:
        return await shown(stream)


async def in_a_thread(resource: Any, request: Mapping[str, Any]) -> Any:
    stream = await settled(resource.create(**request))
    if hasattr(stream, "__anext__"):
        return await shown(stream)
    chunks: list[Any] = []
    thread = threading.Thread(target=lambda: chunks.extend(stream))
    thread.start()
    thread.join()
    return [await shown(chunk) for chunk in chunks]


async def helper(resource: Any, request: Mapping[str, Any]) -> Any:
    """``.stream()``, which makes events of its own of the chunks."""
    if not hasattr(resource, "stream"):
        return await create(resource, request)
    async with entered(resource.stream(**{name: value for name, value in request.items() if name != "stream"})) as stream:
        return [event.type for event in await items(stream)]


WHOLE: tuple[Read, ...] = (raw, raw_unparsed, raw_in_block, lines, chunks_of_bytes, body, parse)
STREAMED: tuple[Read, ...] = (raw, raw_in_block, lines, chunks_of_bytes, in_two_loops, in_a_block, in_a_thread, helper)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "root"), CASES)
def test_however_an_answer_is_read(name: str, root: str, asynchronous: bool, streamed: bool) -> None:
    """Raw, parsed, in lines, in bytes, in several goes, by a helper: each is the inference that ``create`` leaves."""
    kit: Any = load(name)
    way = Way(kit, asynchronous)
    reads = STREAMED if streamed else WHOLE

    async def program(way: Way, client: Any) -> Any:
        try:
            resource = kit.resource(ROOTS[root](client))
        except AttributeError as missing:
            pytest.skip(f"this version has no {missing.name}")
        options = {"stream": True, **kit.stream_options} if streamed else {}
        request = {**kit.request(Question()), **options}
        return [await read(resource, request) for read in (create, *reads)]

    reply: Reply = kit.streamed(Answer()) if streamed else kit.whole(Answer())
    spans = way.watch(program, reply).spans
    operations = [span.operation for span in spans if isinstance(span.operation, Inference)]
    plain, *read_operations = (replace(operation, time_to_first_chunk=None) for operation in operations)
    assert [operation.time_to_first_chunk is not None for operation in operations] == [streamed] * len(operations)
    assert dict(zip((read.__name__ for read in reads), read_operations, strict=True)) == {
        read.__name__: plain for read in reads
    }
    assert (plain.stream, plain.partial, plain.output[0].text()) == (streamed, False, Answer().text)
