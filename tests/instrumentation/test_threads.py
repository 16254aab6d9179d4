"""Parallel work keeps its parent without the program doing anything for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmtrace
from llmtrace import instrumentation
from llmtrace.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture(instrument=("threads",)) as recording:
        yield recording


def work(name: str) -> None:
    with llmtrace.span(name):
        pass


class Subclass(threading.Thread):
    def run(self) -> None:
        work("below")


def by_thread() -> None:
    thread = threading.Thread(target=work, args=("below",))
    thread.start()
    thread.join()


def by_subclass() -> None:
    thread = Subclass()
    thread.start()
    thread.join()


def by_timer() -> None:
    timer = threading.Timer(0.001, work, ["below"])
    timer.start()
    timer.join()


def by_pool() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pool.submit(work, "below").result()


def by_map() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ["below"]))


def by_executor_of_a_loop() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work, "below")

    asyncio.run(main())


def by_task() -> None:
    async def below() -> None:
        work("below")

    async def main() -> None:
        await asyncio.gather(asyncio.create_task(below()))

    asyncio.run(main())


@pytest.mark.parametrize(
    "hand_over",
    [by_thread, by_subclass, by_timer, by_pool, by_map, by_executor_of_a_loop, by_task],
    ids=lambda value: value.__name__,
)
def test_work_is_below_where_it_was_handed_over(captured: Captured, hand_over: Callable[[], None]) -> None:
    with llmtrace.span("above"):
        hand_over()
    below, above = captured.spans
    assert (below.name, below.parent_id, below.run_id) == ("below", above.span_id, above.run_id)


def test_a_pools_thread_forgets_whom_it_worked_for(captured: Captured) -> None:
    """A thread of a pool serves many; each piece of work is below where it was handed over, and one handed over outside of
    every span is below none."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for name in ("first", "second"):
            with llmtrace.span(name):
                pool.submit(work, f"below {name}").result()
        pool.submit(work, "alone").result()
    spans = {span.name: span for span in captured.spans}
    assert spans["below first"].parent_id == spans["first"].span_id
    assert spans["below second"].parent_id == spans["second"].span_id
    assert spans["alone"].parent_id is None


def test_other_context_variables_stay_where_they_are(captured: Captured) -> None:
    """A thread sees the program's own context variables as it does without llmtrace: not at all."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="unset")
    variable.set("set")
    seen: list[str] = []
    with llmtrace.span("above"):
        thread = threading.Thread(target=lambda: seen.append(variable.get()))
        thread.start()
        thread.join()
    assert seen == ["unset"]


def test_what_is_raised_looks_the_same() -> None:
    """The traceback of an exception in a pool has no frame of ours."""

    def fail() -> None:
        raise ValueError("no")

    def frames() -> Any:
        with concurrent.futures.ThreadPoolExecutor(1) as pool, llmtrace.span("above"):
            error = pool.submit(fail).exception()
        return [(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__ if error else None)]

    plain = frames()
    with capture(instrument=("threads",)):
        assert frames() == plain


def test_a_block_without_a_span_is_carried_into_a_thread() -> None:
    with capture(instrument=("threads",)) as captured:

        def work() -> None:
            with llmtrace.span("below"):
                pass

        with llmtrace.context(user="u-1"):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert captured.spans[0].attributes["user.id"] == "u-1"


def test_what_was_extracted_without_a_span_is_carried_into_a_thread() -> None:
    with capture(instrument=("threads",)) as captured:

        def work() -> None:
            with llmtrace.span("below"):
                pass

        with llmtrace.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert (captured.spans[0].trace_id, captured.spans[0].parent_id) == ("a" * 32, "b" * 16)


def test_taken_off_it_is_as_before() -> None:
    before = threading.Thread.__dict__["start"], threading.Thread.__dict__["_bootstrap_inner"]
    with capture(instrument=("threads",)):
        assert threading.Thread.__dict__["start"] is not before[0]
    assert (threading.Thread.__dict__["start"], threading.Thread.__dict__["_bootstrap_inner"]) == before
    assert "threads" in instrumentation.available()
