"""A plain function that gives back a coroutine, or what runs one: the program sees what it sees without us."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

import llmtrace
from llmtrace.recorder import functions
from llmtrace.testing import capture

Decorate: TypeAlias = Callable[[Callable[[], Any]], Callable[[], Any]]

DECORATORS: list[Decorate] = [
    llmtrace.tool,
    llmtrace.agent,
    llmtrace.workflow,
    llmtrace.span,
    llmtrace.wrap,
    llmtrace.context(user="u"),
]


async def work() -> int:
    await asyncio.sleep(0)
    return 7


async def started(decorate: Decorate) -> Any:
    tasks: list[Awaitable[int]] = []

    @decorate
    def start() -> Any:
        made = work()
        tasks.append(asyncio.ensure_future(made))
        return made

    start()
    gc.collect()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def stored(decorate: Decorate) -> Any:
    kept: list[Coroutine[Any, Any, int]] = []

    @decorate
    def store() -> Any:
        kept.append(work())
        return kept[0]

    store()
    gc.collect()
    return await kept[0]


async def kept_and_given(decorate: Decorate) -> Any:
    kept: list[Coroutine[Any, Any, int]] = []

    @decorate
    def store() -> Any:
        kept.append(work())
        return kept[0]

    made = store()
    return made is kept[0], await kept[0]


async def given_twice(decorate: Decorate) -> Any:
    made = work()
    give = decorate(lambda: made)
    first, second = give(), give()
    return first is second, await first


async def weakly_known(decorate: Decorate) -> Any:
    known: weakref.WeakSet[Any] = weakref.WeakSet()

    @decorate
    def give() -> Any:
        made = work()
        known.add(made)
        return made

    made = give()
    return made in known, await made


async def begun(decorate: Decorate) -> Any:
    @decorate
    def begin() -> Any:
        made = work()
        made.send(None)
        return made

    made = begin()
    with pytest.raises(StopIteration) as stop:
        made.send(None)
    return stop.value.value


async def begun_and_dropped(decorate: Decorate) -> Any:
    closed = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    @decorate
    def begin() -> Any:
        made = waits()
        made.send(None)
        return made

    begin()
    gc.collect()
    return closed


async def gathered(decorate: Decorate) -> Any:
    give = decorate(lambda: work())
    return await asyncio.gather(*[give() for _ in range(3)]), inspect.iscoroutine(made := give()), await made


async def task_given(decorate: Decorate) -> Any:
    give = decorate(lambda: asyncio.ensure_future(work()))
    return type(task := give()), await task


async def cancelled_before_it_began(decorate: Decorate) -> Any:
    task = asyncio.ensure_future(decorate(lambda: work())())
    task.cancel()
    return await asyncio.gather(task, return_exceptions=True) and task.cancelled()


async def never_awaited(decorate: Decorate) -> Any:
    decorate(lambda: work())()
    gc.collect()


def seen(program: Callable[[Decorate], Coroutine[Any, Any, Any]], decorate: Decorate) -> Any:
    """What the program says at its end, and what Python warned of."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        said = asyncio.run(program(decorate))
        gc.collect()
    return said, [str(warning.message) for warning in warned]


PROGRAMS = [
    started,
    stored,
    kept_and_given,
    given_twice,
    weakly_known,
    begun,
    begun_and_dropped,
    gathered,
    task_given,
    cancelled_before_it_began,
    never_awaited,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("decorate", DECORATORS, ids=["tool", "agent", "workflow", "span", "wrap", "context"])
def test_the_program_sees_what_it_sees_undecorated(decorate: Decorate, program: Any) -> None:
    """Whoever holds the coroutine: the same values, errors, warnings and types, and each span has an end."""
    gc.collect()  # what other tests left behind warns for itself
    plainly = seen(program, lambda function: function)
    with capture() as captured:
        assert seen(program, decorate) == plainly
    assert all(span.end is not None for trace in captured.traces for span in trace.spans)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_held_coroutine_of_a_function_that_is_marked_async_is_not_closed() -> None:
    """`inspect.markcoroutinefunction` makes any function one; ours, never awaited, leaves to the program what it kept."""
    kept: list[Coroutine[Any, Any, int]] = []

    def store() -> Any:
        kept.append(work())
        return kept[0]

    functions.call("coroutine", store, (), {}, lambda: pytest.fail("begun"))
    gc.collect()
    assert asyncio.run(kept[0]) == 7
