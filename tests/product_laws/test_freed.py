"""A run that is over is freed at once: it leaves no cycle that only the garbage collector, with a pause, would free."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmtrace
from llmtrace.recorder.recording import Recording
from llmtrace.recorder.run import Run
from llmtrace.testing import capture
from tests.instrumentation.openai_server import Server
from tests.product_laws import support_agent as agent


@llmtrace.tool
def broken(order_id: str) -> str:
    raise LookupError(order_id)


@llmtrace.workflow
def pages() -> Iterator[int]:
    yield from range(3)


def raises() -> None:
    try:
        broken("W-77")
    except LookupError:
        return
    pytest.fail("the tool's own exception did not reach its caller")


@llmtrace.workflow
async def waits() -> None:
    await asyncio.sleep(60)


async def cancels() -> None:
    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def cancels_a_call() -> None:
    asked = asyncio.Event()

    async def never(_request: Any) -> None:
        asked.set()
        await asyncio.sleep(60)

    server = Server()
    server.answer = never  # type: ignore[method-assign]
    task = asyncio.create_task(agent.asupport(server.aclient(), agent.ASKED))
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])


SHARED = llmtrace.context(user="u")


def in_a_context() -> None:
    with SHARED, SHARED:
        agent.run()


async def in_contexts_of_tasks() -> None:
    async def one() -> None:
        with SHARED, llmtrace.workflow("w"):
            await asyncio.sleep(0)

    await asyncio.gather(one(), one())


PROGRAMS: dict[str, Callable[[], object]] = {
    "whole": agent.run,
    "streamed": lambda: agent.run(as_stream=True),
    "async": lambda: asyncio.run(agent.asupport(Server(*agent.replies()).aclient(), agent.ASKED)),
    "raising": raises,
    "generator": lambda: list(pages()),
    "generator left early": lambda: next(pages()),
    "in a context": in_a_context,
    "in contexts of tasks": lambda: asyncio.run(in_contexts_of_tasks()),
    "cancelled": lambda: asyncio.run(cancels()),
    "cancelled call": lambda: asyncio.run(cancels_a_call()),
}


def alive() -> int:
    return sum(isinstance(found, (Recording, Run)) for found in gc.get_objects())


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_run_is_freed_without_the_collector(program: Callable[[], object]) -> None:
    with capture(instrument=("openai",)):
        program()  # what is kept once for all calls, such as hooks, is there from now on
        gc.collect()
        gc.disable()
        try:
            before = alive()
            program()
            assert alive() == before
        finally:
            gc.enable()
