"""Calls that fail, of every library: the program gets the library's own exception, the span a stable word."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from kit import Answer, Reply
from spans_of import failure_of
from way import Way, asking, see

from llmtrace.model import Inference

WORDS = {
    400: "bad_request",
    401: "authentication",
    404: "not_found",
    429: "rate_limit",
    500: "server_error",
    503: "server_error",
}


ask, stream = asking(), asking(stream=True)
BOTH = pytest.mark.parametrize("program", [ask, stream], ids=["whole", "streamed"])


def repeated(program: Any, times: int) -> Any:
    """The program several times in a row; what it raises is seen, too."""

    async def program_repeated(way: Way, client: Any) -> list[Any]:
        seen = []
        for _ in range(times):
            try:
                seen.append(await program(way, client))
            except Exception as raised:
                seen.append(see(raised))
        return seen

    return program_repeated


@BOTH
def test_an_error_status_is_a_failure(way: Way, program: Any) -> None:
    """The library's own exception, with its own text; the span has the word, and its text."""
    watched = way.watch(repeated(program, len(WORDS)), *(way.kit.error(status) for status in WORDS))
    for word, (kind, text, _), span in zip(WORDS.values(), watched.seen, watched.spans, strict=True):
        failure, operation = span.failure, span.operation
        assert failure is not None
        assert (failure.type, failure.message) == (word, text)
        assert kind.rpartition(".")[2] in failure.stacktrace
        assert isinstance(operation, Inference)
        assert (operation.output, operation.usage, operation.attempts) == ((), None, 1)


@BOTH
def test_a_refused_connection_is_a_failure(way: Way, program: Any) -> None:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        way.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        span = way.watch(program, way.kit.whole(Answer())).span
    assert failure_of(span).type == "connection_refused"


def test_a_connection_that_is_lost_before_the_answer_is_a_failure(way: Way) -> None:
    """The server goes away in the middle of a whole answer."""
    reply = way.kit.whole(Answer())
    (body,) = reply.pieces
    span = way.watch(ask, Reply((body[: len(body) // 2],), 200, reply.content_type, True)).span
    assert failure_of(span).type == "connection"


def test_a_cancelled_call_says_so(async_way: Way) -> None:
    """The task is cancelled while it waits for an answer that never comes."""

    async def program(way: Way, client: Any) -> Any:
        task = asyncio.ensure_future(way.ask(client))
        while not way.requests():  # noqa: ASYNC110  (the server is on another thread)
            await asyncio.sleep(0.005)
        task.cancel()
        await task

    watched = async_way.watch(program, async_way.kit.whole(Answer()).stalled(0))
    assert watched.seen[0].endswith("CancelledError")
    assert failure_of(watched.span).type == "cancelled"
    assert watched.inference.output == ()


@BOTH
def test_retries_are_one_span(way: Way, program: Any) -> None:
    """Two times 503, then an answer: one inference of three attempts, each with its ``traceparent``."""
    if not way.kit.retries or (program is not ask and not way.kit.retries_streams):
        pytest.skip(f"{way.kit.name} does not try again by itself")
    way.retries = 2
    reply = way.kit.whole(Answer()) if program is ask else way.kit.streamed(Answer())
    watched = way.watch(program, way.kit.error(503), way.kit.error(503), reply)
    assert len(watched.requests) == 3
    sent = {request.headers["traceparent"] for request in watched.requests}
    assert sent == {f"00-{watched.span.trace_id}-{watched.span.span_id}-01"}
    assert (watched.inference.attempts, watched.span.failure) == (3, None)
    assert watched.inference.output[0].text() == Answer().text


def test_retries_that_do_not_help_are_one_span(way: Way) -> None:
    """503 each time: one inference, its failure the last one."""
    if not way.kit.retries:
        pytest.skip(f"{way.kit.name} does not try again by itself")
    way.retries = 1
    watched = way.watch(ask, way.kit.error(503))
    assert len(watched.requests) == 2
    assert watched.inference.attempts == 2
    assert failure_of(watched.span).type == "server_error"


BODIES = (b"", b"{", b"null", b"[]", b'"text"', b"{}", b'{"error": "busy"}', b"\xff\x00")


@BOTH
def test_an_answer_that_is_none_of_the_protocol_changes_nothing(way: Way, program: Any) -> None:
    """Whatever the library makes of rubbish, it makes of it with llmtrace too, one span each, and nothing is logged."""

    async def shown(way: Way, client: Any) -> str:
        return repr(await program(way, client))

    reply = way.kit.whole(Answer()) if program is ask else way.kit.streamed(Answer())
    watched = way.watch(repeated(shown, len(BODIES)), *(Reply((body,), 200, reply.content_type) for body in BODIES))
    assert len(watched.spans) == len(BODIES)
