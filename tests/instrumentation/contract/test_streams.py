"""Streams, of every library: however one is read or left, its span ends once, with what was seen of it, and nobody notices."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from kit import CALLS, MODEL, Answer, Question, Reply
from spans_of import failure_of
from way import END, Watched, Way, asking, see, settled, without_times

import llmtrace
from llmtrace.model import Inference

LONG = Answer(text="Your order is on its way to you. " * 4)


class Reading:
    """A program that streams, and keeps what it was given: ``text`` is what it saw when it ran last."""

    def __init__(self, question: Question | None = None) -> None:
        self.question = question or Question()
        self.text = ""

    async def __call__(self, way: Way, client: Any) -> Any:
        stream = await way.open(client, self.question)
        return self.texts_of(way, await self.read(way, stream))

    async def read(self, way: Way, stream: Any) -> list[Any]:
        return await way.read(stream)

    def texts_of(self, way: Way, chunks: list[Any]) -> list[Any]:
        self.text = way.text(chunks)
        return [way.kit.seen(chunk) for chunk in chunks]


async def until_text(way: Way, iterator: Any) -> list[Any]:
    """The chunks up to the second that carries text."""
    chunks: list[Any] = []
    with_text = 0
    while with_text < 2:
        chunk = await way.next(iterator)
        assert chunk is not END
        chunks.append(chunk)
        with_text += bool(way.kit.text(chunk))
    return chunks


# -- read to the end


def test_a_stream_is_one_inference(way: Way) -> None:
    """Text, finish reason, usage as it stands at the end, cached tokens included, and that it was a stream."""
    program = Reading()
    watched = way.watch(program, way.kit.streamed(LONG))
    span, operation = watched.span, watched.inference
    assert program.text == LONG.text
    assert (span.name, span.kind, span.failure) == (f"{operation.operation} {MODEL}", "client", None)
    assert [(message.role, message.text()) for message in operation.output] == [("assistant", LONG.text)]
    assert operation.finish_reasons == ("stop",)
    assert (operation.stream, operation.partial, operation.attempts) == (True, False, 1)
    assert operation.chunks == len(watched.seen)
    assert operation.time_to_first_chunk is not None
    usage = operation.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (20, 9)
    if way.kit.has_cached_tokens:
        assert usage.cache_read_input_tokens == 8


@pytest.mark.parametrize("answer", [LONG, CALLS, Answer(text="Wait.", calls=CALLS.calls[:1], finish="tool_call")])
def test_streamed_is_whole(way: Way, answer: Answer) -> None:
    """The same answer, streamed or whole, is the same inference."""
    question = Question(tools=bool(answer.calls))
    whole = way.watch(asking(question), way.kit.whole(answer)).inference
    streamed = way.watch(Reading(question), way.kit.streamed(answer)).inference
    assert streamed.output == whole.output
    assert streamed.usage == whole.usage
    assert streamed.finish_reasons == whole.finish_reasons
    assert (streamed.input, streamed.system, streamed.tools) == (whole.input, whole.system, whole.tools)
    assert (streamed.response_id, streamed.response_model) == (whole.response_id, whole.response_model)
    assert streamed.system_fingerprint == whole.system_fingerprint


def test_streamed_choices_are_kept_apart(way: Way) -> None:
    """n > 1: one output message a choice."""
    if not way.kit.has_choices:
        pytest.skip(f"{way.kit.name} gives one choice")
    operation = way.watch(Reading(Question(n=2)), way.kit.streamed(Answer(n=2))).inference
    assert [message.text() for message in operation.output] == [Answer().text] * 2
    assert operation.finish_reasons == ("stop", "stop")


def test_sync_and_async_streams_record_the_same(way: Way) -> None:
    """The async client's span is the sync client's span, ids and times apart."""
    if not way.kit.has_async or way.asynchronous:
        pytest.skip("needs both, once")
    first, two = (
        without_times(Way(way.kit, asynchronous).watch(asking(Question(tools=True), stream=True), way.kit.streamed(CALLS)).span)
        for asynchronous in (False, True)
    )
    assert two == first


def test_two_streams_at_once_are_told_apart(way: Way) -> None:
    """Read in turns by one program: each span has its own text."""
    other_answer = Answer(text="Something else, quite another thing. " * 4)

    async def program(way: Way, client: Any) -> Any:
        iterators = [way.iterate(await way.open(client)) for _ in range(2)]
        texts = ["", ""]
        going = {0, 1}
        while going:
            for place in sorted(going):
                chunk = await way.next(iterators[place])
                if chunk is END:
                    going.discard(place)
                else:
                    texts[place] += way.kit.text(chunk)
        return texts

    watched = way.watch(program, way.kit.streamed(LONG), way.kit.streamed(other_answer))
    operations = [span.operation.output[0].text() for span in watched.spans if isinstance(span.operation, Inference)]
    assert sorted(operations) == sorted(watched.seen) == sorted([LONG.text, other_answer.text])


def test_a_span_between_two_chunks_is_no_child_of_the_inference(way: Way) -> None:
    """While a chunk is with the program, the program's own span is current."""

    async def program(way: Way, client: Any) -> Any:
        with llmtrace.workflow("run"):
            iterator = way.iterate(await way.open(client))
            await until_text(way, iterator)
            with llmtrace.span("between"):
                pass
            while await way.next(iterator) is not END:
                pass

    spans = {span.name: span for span in way.watch(program, way.kit.streamed(LONG)).spans}
    run = next(span for span in spans.values() if span.parent_id is None)
    assert len(spans) == 3
    assert {span.parent_id for span in spans.values()} == {None, run.span_id}


# -- left early


class Stopped(Reading):
    """The loop is left by ``break``, and the stream is forgotten when the function returns."""

    async def read(self, way: Way, stream: Any) -> list[Any]:
        return await until_text(way, way.iterate(stream))


async def _close(way: Way, stream: Any) -> None:
    close = (getattr(stream, "aclose", None) if way.asynchronous else None) or getattr(stream, "close", None)
    if close is None:
        pytest.skip("its streams cannot be closed")
    await settled(close())


class Closed(Reading):
    """Closed explicitly."""

    async def read(self, way: Way, stream: Any) -> list[Any]:
        chunks = await until_text(way, way.iterate(stream))
        await _close(way, stream)
        return chunks


class InWith(Reading):
    """Left by the end of its ``with`` block."""

    async def read(self, way: Way, stream: Any) -> list[Any]:
        if not hasattr(stream, "__aenter__" if way.asynchronous else "__enter__"):
            pytest.skip("its streams are no context managers")
        if way.asynchronous:
            async with stream as entered:
                return await until_text(way, way.iterate(entered))
        with stream as entered:
            return await until_text(way, way.iterate(entered))


class Raised(Reading):
    """The program's own exception leaves the loop."""

    async def read(self, way: Way, stream: Any) -> list[Any]:
        chunks: list[Any] = []
        try:
            chunks += await until_text(way, way.iterate(stream))
            raise ZeroDivisionError
        except ZeroDivisionError:
            return chunks


class Forgotten(Reading):
    """Left to the garbage collector, in a cycle."""

    async def __call__(self, way: Way, client: Any) -> Any:
        stream = await way.open(client)
        iterator = way.iterate(stream)
        texts = self.texts_of(way, await until_text(way, iterator))
        cycle: list[Any] = [stream, iterator]
        cycle.append(cycle)
        del stream, iterator, cycle
        gc.collect()
        return texts


class Elsewhere(Reading):
    """Read on another thread, or in other tasks, and left there."""

    async def read(self, way: Way, stream: Any) -> list[Any]:
        iterator = way.iterate(stream)
        if way.asynchronous:
            return await asyncio.create_task(until_text(way, iterator))
        chunks: list[Any] = []
        thread = threading.Thread(target=lambda: chunks.extend(way.run(until_text(way, iterator))))
        thread.start()
        thread.join()
        return chunks


class ClosedElsewhere(Reading):
    """Read in one task, or on one thread, and closed in another."""

    async def read(self, way: Way, stream: Any) -> list[Any]:
        iterator = way.iterate(stream)
        if way.asynchronous:
            chunks = await asyncio.create_task(until_text(way, iterator))
            await asyncio.create_task(_close(way, stream))
            return chunks
        chunks = await until_text(way, iterator)
        thread = threading.Thread(target=lambda: way.run(_close(way, stream)))
        thread.start()
        thread.join()
        return chunks


@pytest.mark.parametrize("leave", [Stopped, Closed, ClosedElsewhere, InWith, Raised, Forgotten, Elsewhere])
def test_a_stream_left_early_is_partial(way: Way, leave: type[Reading]) -> None:
    """Its span ends once, marked partial, without a failure, with the text so far."""
    program = leave()
    watched = way.watch(program, way.kit.streamed(LONG))
    _is_partial(watched, program.text)
    assert watched.span.failure is None


def _is_partial(watched: Watched, text: str) -> None:
    operation = watched.inference
    assert (operation.stream, operation.partial) == (True, True)
    assert text
    assert "".join(message.text() for message in operation.output) == text


def test_a_stream_never_read_is_partial(way: Way) -> None:
    """Opened and forgotten. Where the library only sends the request for the first chunk, there may be no call."""

    async def program(way: Way, client: Any) -> None:
        stream = await way.open(client)
        del stream

    watched = way.watch(program, way.kit.streamed(LONG))
    assert len(watched.spans) == 1 or not watched.requests
    for span in watched.spans:
        assert isinstance(span.operation, Inference)
        assert (span.operation.partial, span.operation.output, span.failure) == (True, (), None)


def test_what_is_left_early_may_be_closed_again(way: Way) -> None:
    """Read to the end, and then closed: it stays whole."""

    class Both(Reading):
        async def read(self, way: Way, stream: Any) -> list[Any]:
            chunks = await way.read(stream)
            await _close(way, stream)
            return chunks

    assert way.watch(Both(), way.kit.streamed(LONG)).inference.partial is False


# -- broken


class Cancelled(Reading):
    """The task is cancelled while it waits for a chunk that never comes."""

    async def __call__(self, way: Way, client: Any) -> Any:
        stream = await way.open(client)
        chunks: list[Any] = []
        waiting = asyncio.Event()

        async def read() -> None:
            iterator = way.iterate(stream)
            while (chunk := await way.next(iterator)) is not END:
                chunks.append(chunk)
                if way.kit.text(chunk):
                    waiting.set()

        task = asyncio.create_task(read())
        await waiting.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as raised:
            self.text = way.text(chunks)
            return see(raised)
        raise AssertionError("not cancelled")


def test_a_cancelled_stream_says_so(async_way: Way) -> None:
    """One span, partial, its failure ``cancelled``, with the text so far; not a word from asyncio."""
    reply = async_way.kit.streamed(LONG)
    program = Cancelled()
    watched = async_way.watch(program, reply.stalled(len(reply.pieces) // 2))
    _is_partial(watched, program.text)
    assert failure_of(watched.span).type == "cancelled"


class Cut(Reading):
    """The program reads until the library raises."""

    async def __call__(self, way: Way, client: Any) -> Any:
        iterator = way.iterate(await way.open(client))
        chunks: list[Any] = []
        try:
            while (chunk := await way.next(iterator)) is not END:
                chunks.append(chunk)
        except Exception as raised:
            return self.texts_of(way, chunks), see(raised)
        return self.texts_of(way, chunks), None


def test_a_stream_that_is_cut_off_keeps_what_was_seen(way: Way) -> None:
    """The program gets the library's exception, the span the failure and the text so far."""
    reply: Reply = way.kit.streamed(LONG)
    program = Cut()
    watched = way.watch(program, reply.broken(len(reply.pieces) // 2))
    _is_partial(watched, program.text)
    _, raised = watched.seen
    assert raised is not None
    assert failure_of(watched.span).type == "connection"


def test_what_is_cut_off_is_not_validated(way: Way) -> None:
    """Half a tool call breaks every schema; that it is partial says enough."""
    reply = way.kit.streamed(CALLS)
    span = way.watch(Cut(Question(tools=True)), reply.broken(len(reply.pieces) // 2)).span
    assert span.violations == ()
    assert span.operation.partial  # type: ignore[union-attr]
