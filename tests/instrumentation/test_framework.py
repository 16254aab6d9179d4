"""Coroutines run step by step, with a context that is theirs alone."""

from __future__ import annotations

import asyncio
import gc
import types
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.instrumentation import claude_agent_sdk
from llmtrace.instrumentation._framework import Step, spanned
from llmtrace.testing import capture

OURS = Context({"who": "ours"})


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    with capture(instrument=()):
        yield


def inside(context: Context, function: Callable[[], Any]) -> Any:
    return spanned(lambda *_: Step(context))(function, None, (), {})


def who() -> object:
    return otel_context.get_value("who")


@types.coroutine
def pause(value: Any = None) -> Generator[Any, Any, Any]:
    return (yield value)


def test_a_context_is_current_in_the_steps_and_nowhere_between() -> None:
    """Seen inside before and after each suspension; outside, never. What comes in and goes out passes through."""

    async def inner() -> list[Any]:
        seen = [who(), await pause(1), who()]
        try:
            await pause(2)
        except KeyError:
            seen.append(who())
        return seen

    steps = inside(OURS, inner)
    assert (steps.send(None), who()) == (1, None)
    assert (steps.send("sent"), who()) == (2, None)
    with pytest.raises(StopIteration) as done:
        steps.throw(KeyError())
    assert done.value.value == ["ours", "sent", "ours", "ours"]
    assert who() is None


def test_a_coroutine_that_is_closed_closes_the_library_s() -> None:
    """GeneratorExit reaches it, and what it does on its way out."""
    leftovers: list[object] = []

    async def inner() -> None:
        try:
            await pause()
        finally:
            leftovers.append(who())

    steps = inside(OURS, inner)
    steps.send(None)
    steps.close()
    assert len(leftovers) == 1


def test_a_coroutine_that_is_never_awaited_warns_once_by_its_own_name() -> None:
    """As without us; nothing is recorded of it."""

    class Library:
        async def work(self) -> None:
            """Never begun."""

    def begin(*_: Any) -> Any:
        raise AssertionError("begun")

    gc.collect()  # what other tests left behind warns for itself
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coroutine = spanned(begin)(Library().work, None, (), {})
        assert (coroutine.__name__, asyncio.iscoroutine(coroutine)) == ("work", True)
        del coroutine
        gc.collect()
    assert [
        str(value.message).endswith("Library.work' was never awaited") for value in caught if value.category is RuntimeWarning
    ] == [True]


def test_a_callback_of_the_program_is_forgotten_with_its_owner() -> None:
    """The program makes it anew for each run."""

    class Query:
        can_use_tool: Any

    def ask() -> weakref.ref[Any]:
        async def allow(tool: str, _arguments: Any, _context: Any) -> str:
            return f"{tool} is allowed"

        query = Query()
        query.can_use_tool = allow
        claude_agent_sdk._wrap_callback(None, query)
        assert asyncio.run(query.can_use_tool("search", {}, None)) == "search is allowed"
        return weakref.ref(allow)

    callback = ask()
    gc.collect()
    assert callback() is None
