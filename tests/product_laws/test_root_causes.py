"""An error that travels up is one root cause, where it began: under whichever name each span knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import openai
import pytest
from opentelemetry.trace import Status, StatusCode, get_current_span

import llmtrace
from llmtrace.model import Failure, Span, Trace
from llmtrace.testing import capture
from tests.instrumentation.openai_server import ASK, MODEL, Server, error


def causes(fails: Callable[[], object], raised: type[Exception]) -> list[str]:
    with capture() as captured:
        with pytest.raises(raised):
            fails()
        (trace,) = captured.traces
    return [span.name for span in trace.root_causes]


@llmtrace.tool
def look_up(order_id: str) -> str:
    raise LookupError(order_id)


@llmtrace.tool
async def slow() -> None:
    await asyncio.sleep(60)


@llmtrace.tool
async def broken() -> None:
    raise LookupError("no such order")


def test_the_server_said_no() -> None:
    """The call of the model knows a word for it, the agent the exception's class."""
    client = Server(error(500)).client()

    @llmtrace.agent
    def support() -> None:
        client.chat.completions.create(model=MODEL, messages=ASK)

    assert causes(support, openai.InternalServerError) == ["chat gpt-4o"]


def test_another_exception_was_raised_from_it() -> None:
    """What the agent made of it began below, too."""

    @llmtrace.agent
    def support() -> None:
        try:
            look_up("W-1")
        except LookupError as error:
            raise RuntimeError("cannot go on") from error

    assert causes(support, RuntimeError) == ["execute_tool look_up"]


def test_another_exception_that_is_none_of_it() -> None:
    """A step that failed and was dealt with is a cause of its own."""

    @llmtrace.agent
    def support() -> None:
        try:
            look_up("W-1")
        except LookupError:
            pass
        raise RuntimeError("out of patience")

    assert causes(support, RuntimeError) == ["invoke_agent support", "execute_tool look_up"]


@pytest.mark.parametrize(("word", "is_same"), [("lookup_error", True), ("quota_exceeded", False)])
def test_it_is_known_by_a_bare_word(word: str, is_same: bool) -> None:
    """A span with neither message nor stack passes on a failure below that its word names."""
    with capture() as captured:
        with llmtrace.span("runner"):
            with pytest.raises(LookupError):
                look_up("W-1")
            get_current_span().set_status(Status(StatusCode.ERROR))
            get_current_span().set_attribute("error.type", word)
        (trace,) = captured.traces
    assert [span.name for span in trace.root_causes] == [*([] if is_same else ["runner"]), "execute_tool look_up"]


def test_it_ran_out_of_time() -> None:
    """The one that was waited for is where to look; that it was cancelled and the agent timed out is the same event."""

    @llmtrace.agent
    async def support() -> None:
        await asyncio.wait_for(slow(), 0.01)

    assert causes(lambda: asyncio.run(support()), asyncio.TimeoutError) == ["execute_tool slow"]


def test_others_were_cancelled_for_it() -> None:
    """Of tasks that run beside each other one fails: the others did not."""

    @llmtrace.agent
    async def support() -> None:
        waiting = [asyncio.ensure_future(slow()), asyncio.ensure_future(broken())]
        try:
            await asyncio.gather(*waiting)
        finally:
            waiting[0].cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    assert causes(lambda: asyncio.run(support()), LookupError) == ["execute_tool broken"]


def test_another_writer_names_what_it_was_raised_for() -> None:
    """The SDK knows the server's word for the error, the program the exception's class and the server's answer."""
    call = Failure("invalid_request_error"), "2" * 16, "1" * 16
    agent = Failure("BadRequestError", '400 {"type":"invalid_request_error"}'), "1" * 16, None
    spans = [Span("1" * 32, number, "s", 1, 2, parent_id=parent, failure=failure) for failure, number, parent in (agent, call)]
    assert [span.span_id for span in Trace(spans).root_causes] == ["2" * 16]
