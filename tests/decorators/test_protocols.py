"""Coroutines and generators, by all of their protocol: what the program sees is what it sees without us."""

from __future__ import annotations

import asyncio
import gc
import logging
import types
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

import llmtrace
from llmtrace.errors import InvalidToolCall
from llmtrace.recorder import current
from llmtrace.testing import Captured, capture


async def coroutine(x: int) -> int:
    return x


def generator(x: int) -> Iterator[int]:
    yield x


async def async_generator(x: int) -> AsyncIterator[int]:
    yield x


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
def test_wrong_arguments_are_refused_by_the_call(decorate: Any, function: Any) -> None:
    """Not by the first await or step; the span tells of it, as for a plain function."""
    with capture() as captured, pytest.raises(TypeError, match="missing 1 required positional argument"):
        decorate(function)()
    [span] = captured.spans
    assert span.failure is not None
    assert span.failure.type == "TypeError"


def test_a_policy_answers_before_python_does(captured: Captured) -> None:
    """Where the policy is to reply or to raise, wrong arguments of an async tool lead to that."""
    replying, raising = llmtrace.tool(on_invalid="reply")(coroutine), llmtrace.tool(on_invalid="raise")(coroutine)
    assert "x" in asyncio.run(replying())  # type: ignore[call-arg, arg-type, operator]
    with pytest.raises(InvalidToolCall):
        raising()  # type: ignore[call-arg]
    assert asyncio.run(llmtrace.tool(on_invalid="repair")(coroutine)("5")) == 5  # type: ignore[arg-type]
    assert [span.operation.executed for span in captured.spans] == [False, False, True]  # type: ignore[union-attr]


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
def test_what_is_never_begun_records_nothing(decorate: Any, function: Any) -> None:
    """It bears the function's name, and only a coroutine warns, once."""
    gc.collect()  # what other tests left behind warns for itself
    with capture() as captured, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        made = decorate(function)(1)
        assert (made.__name__, made.__qualname__) == (function.__name__, function.__qualname__)
        del made
        gc.collect()
    said = [f"coroutine '{coroutine.__name__}' was never awaited"] if function is coroutine else []
    assert [str(warning.message) for warning in warned] == said
    assert captured.spans == ()


def test_a_function_that_only_looks_async_is_called_once() -> None:
    """A mock counts its calls."""
    mock = AsyncMock(return_value=5)
    with capture():
        assert asyncio.run(llmtrace.span(mock)(1)) == 5
    mock.assert_awaited_once_with(1)


def swallows() -> Any:
    try:
        yield 1
    except GeneratorExit:
        return 7


def goes_on() -> Any:
    try:
        yield 1
    except GeneratorExit:
        yield 2


def simple() -> Any:
    yield 1


def talks() -> Any:
    said: Any = 1
    for _ in range(3):
        try:
            said = yield said
        except KeyError as error:
            said = ("thrown", str(error))
    return said


def told(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except BaseException as error:
        return type(error), str(error), getattr(error, "value", None), type(error.__context__), type(error.__cause__)


def ways_to_end(make: Callable[[], Any]) -> list[Any]:
    seen = []
    for end in [
        lambda each: each.close(),
        lambda each: each.throw(GeneratorExit()),
        lambda each: each.throw(StopIteration(3)),
        lambda each: each.throw(KeyError(3)),
        lambda each: each.send(5),
    ]:
        for begun in (True, False):
            each = make()
            if begun:
                next(each)
            seen += [told(lambda end=end, each=each: end(each)), told(lambda each=each: next(each)), list(each)]  # type: ignore[misc]
    return seen


@pytest.mark.parametrize("function", [swallows, goes_on, simple, talks])
def test_every_way_to_end_a_generator(decorate: Any, function: Any) -> None:
    """close, throw and send, begun or not, and what comes after; GeneratorExit is the generator's own to deal with."""
    with capture():
        assert ways_to_end(decorate(function)) == ways_to_end(function)


async def async_swallows() -> Any:
    try:
        yield 1
    except GeneratorExit:
        return


async def async_goes_on() -> Any:
    try:
        yield 1
    except GeneratorExit:
        yield 2


async def async_simple() -> Any:
    yield 1


async def async_talks() -> Any:
    said: Any = 1
    for _ in range(3):
        try:
            said = yield said
        except KeyError as error:
            said = ("thrown", str(error))


async def async_raises() -> Any:
    yield 1
    raise StopAsyncIteration


async def async_told(step: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await step()
    except BaseException as error:
        return type(error), str(error), type(error.__context__), type(error.__cause__)


async def listed(items: Any) -> list[Any]:
    return [item async for item in items]


async def async_ways_to_end(make: Callable[[], Any]) -> list[Any]:
    seen = []
    for end in [
        lambda each: each.aclose(),
        lambda each: each.athrow(GeneratorExit()),
        lambda each: each.athrow(StopAsyncIteration()),
        lambda each: each.athrow(StopIteration(3)),
        lambda each: each.athrow(KeyError(3)),
        lambda each: each.asend(5),
    ]:
        for begun in (True, False):
            each = make()
            if begun:
                await each.__anext__()
            seen += [await async_told(lambda end=end, each=each: end(each)), await async_told(each.__anext__)]  # type: ignore[misc]
            seen.append(await async_told(lambda each=each: listed(each)))  # type: ignore[misc]
    return seen


@pytest.mark.parametrize("function", [async_swallows, async_goes_on, async_simple, async_talks, async_raises])
def test_every_way_to_end_an_async_generator(decorate: Any, function: Any, caplog: pytest.LogCaptureFixture) -> None:
    """aclose, athrow and asend, begun or not, and what comes after."""
    caplog.set_level(logging.CRITICAL, "asyncio")  # a generator that goes on after GeneratorExit makes the loop complain
    with capture():
        assert asyncio.run(async_ways_to_end(decorate(function))) == asyncio.run(async_ways_to_end(function))


@pytest.mark.parametrize("dropped", [True, False])
def test_async_generators_left_open_close_in_silence(decorate: Any, dropped: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Dropped in a cycle, or still held when the loop ends: each is closed once, whole, and nothing is logged."""
    closed = []

    @decorate
    async def work() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.001)
            closed.append(True)

    kept: list[Any] = []

    async def main() -> None:
        for _ in range(8):
            held: list[Any] = [work()]
            held.append(held)
            await held[0].__anext__()
            if not dropped:
                kept.extend(held)
        del held
        gc.collect()
        await asyncio.sleep(0.2)  # the first span that is evaluated imports the quality signals

    with capture() as captured, caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert len(closed) == 8
    assert caplog.records == []
    assert [span.attributes.get("llmtrace.response.partial") for span in captured.spans] == [True] * 8


def test_an_async_generator_that_is_left_when_the_loop_ends_was_not_cancelled(decorate: Any, captured: Captured) -> None:
    """The loop closes it in a task of its own, and cancels that where the program ends first."""

    @decorate
    async def work() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def main() -> None:
        async for _ in work():
            break

    asyncio.run(main())
    (span,) = captured.spans
    assert span.failure is None
    assert span.attributes.get("llmtrace.response.partial")


def test_a_coroutine_is_current_in_its_own_steps_only(decorate: Any, captured: Captured) -> None:
    """While it waits, whoever drives it is not inside its span: nothing is attached across a suspension."""

    @types.coroutine
    def suspended() -> Any:
        return (yield current())

    @decorate
    async def work() -> Any:
        return await suspended(), current()

    @decorate
    async def items() -> AsyncIterator[Any]:
        yield await suspended()
        yield current()

    driven: Any = work()
    inside = driven.send(None)
    assert inside is not None
    assert current() is None
    with pytest.raises(StopIteration) as stop:
        driven.send("sent")
    assert stop.value.value == ("sent", inside)
    each: Any = items()
    first = each.__anext__()
    assert first.send(None) is not None
    assert current() is None
    first.close()
    gc.collect()
    assert len(captured.spans) >= 1


def test_an_exception_thrown_in_is_not_kept_alive(decorate: Any) -> None:
    """No cycle holds what the exception's frames hold."""

    @decorate
    def work() -> Iterator[int]:
        yield 1

    gc.collect()
    gc.disable()
    try:
        with capture():
            made: Any = work()
            next(made)
            with pytest.raises(LookupError):
                made.throw(LookupError("gone"))
            alive = [each for each in gc.get_objects() if type(each) is LookupError and each.args == ("gone",)]
    finally:
        gc.enable()
    assert len(alive) <= 1
