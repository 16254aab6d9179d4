"""Functions of all four kinds, decorated: the program sees what it would see without us."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from tests.decorators.conftest import DECORATORS

import llmtrace
from llmtrace.recorder import current
from llmtrace.testing import Captured, capture


def test_plain_function_keeps_value_and_signature(decorate: Any, captured: Captured) -> None:
    """A decorated function returns the very object, and looks like the function."""
    marker = object()

    def work(x: object, *, y: int = 2) -> object:
        "Doc."
        return x

    made = decorate(work)
    assert made(marker) is marker
    assert inspect.signature(made) == inspect.signature(work)
    assert (made.__name__, made.__doc__, inspect.isfunction(made)) == ("work", "Doc.", True)
    assert len(captured.spans) == 1


def test_exception_is_the_same_object(decorate: Any) -> None:
    """What the function raises is what the program catches."""
    error = LookupError("gone")

    @decorate
    def work() -> None:
        raise error

    with capture() as captured, pytest.raises(LookupError) as caught:
        work()
    assert caught.value is error
    failure = captured.spans[0].failure
    assert failure is not None
    assert (failure.type, failure.message) == ("LookupError", "gone")


def test_coroutine(decorate: Any, captured: Captured) -> None:
    """A coroutine function stays one; its span covers the await."""

    @decorate
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(1)) == 2
    assert len(captured.spans) == 1


def test_coroutine_that_a_plain_function_gives(decorate: Any, captured: Captured) -> None:
    """A plain decorator hides that a function is async: the span covers the await all the same, and what happens below."""

    @llmtrace.span
    def below() -> None: ...

    async def work(x: int) -> int:
        await asyncio.sleep(0)
        below()
        return x + 1

    made = decorate(lambda x: work(x))
    assert not inspect.iscoroutinefunction(made)
    coroutine = made(1)
    assert inspect.iscoroutine(coroutine)
    assert asyncio.run(coroutine) == 2
    inner, outer = captured.spans
    assert inner.parent_id == outer.span_id
    assert "2" in repr(outer.operation)


def test_coroutine_that_nobody_awaits_is_partial(decorate: Any) -> None:
    """Python warns of it once, by its name, and its span ends."""

    async def work() -> None: ...

    with capture() as captured, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decorate(lambda: work())()
        (told,) = [str(each.message) for each in caught]
        caught.clear()  # a warning holds the coroutine that it is about
        gc.collect()
    assert ".work' was never awaited" in told
    (span,) = captured.spans
    assert span.end is not None
    assert span.attributes["llmtrace.response.partial"] is True


@pytest.mark.parametrize("decorate", [*DECORATORS, llmtrace.wrap, llmtrace.context(plan="pro"), lambda function: function])
def test_a_block_in_a_coroutine_is_open_until_it_is_left(decorate: Any, captured: Captured) -> None:
    """What waits in a block goes on in it, and what runs meanwhile does not; after the block its surroundings are back."""
    given = llmtrace.context(user="u")

    def below() -> None: ...

    async def waits(seconds: float) -> None:
        with given, llmtrace.agent("A"):
            await asyncio.sleep(seconds)
            llmtrace.span("inside")(below)()
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        llmtrace.span("after")(below)()

    work = decorate(waits)

    async def main() -> None:
        tasks = [asyncio.ensure_future(work(seconds)) for seconds in (0.02, 0.01)]
        await asyncio.sleep(0)
        llmtrace.span("beside")(below)()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    spans = {span.span_id: span for span in captured.spans}
    agents = {span.span_id: span.parent_id for span in captured.spans if span.name == "invoke_agent A"}
    inside, after, beside = (
        [(span.parent_id, span.attributes.get("user.id")) for span in spans.values() if span.name == name]
        for name in ("inside", "after", "beside")
    )
    assert {parent for parent, _ in inside} == set(agents)
    assert [user for _, user in inside] == ["u", "u"]
    assert sorted(after, key=str) == sorted(((parent, None) for parent in agents.values()), key=str)
    assert beside == [(None, None)]


def _below() -> None: ...


def _looping() -> Any:
    for name in ("A", "B"):
        with llmtrace.context(tags=[name]), llmtrace.agent(name):
            yield
            llmtrace.span("inside")(_below)()
            yield
        llmtrace.span("after")(_below)()


async def _looping_async() -> Any:
    for name in ("A", "B"):
        with llmtrace.context(tags=[name]), llmtrace.agent(name):
            await asyncio.sleep(0)
            yield
            llmtrace.span("inside")(_below)()
            await asyncio.sleep(0)
            yield
        llmtrace.span("after")(_below)()


def _told(spans: Any) -> list[tuple[str, str | None, Any]]:
    """Of each span of no agent: its name, the agent that it is in, its tags."""
    agents = {span.span_id: span.name.removeprefix("invoke_agent ") for span in spans if span.name[-2:] in (" A", " B")}
    plain = [span for span in spans if span.name in ("inside", "after", "beside")]
    return [(span.name, agents.get(span.parent_id), span.attributes.get("llmtrace.tags")) for span in plain]


@pytest.mark.parametrize("decorate", [*DECORATORS, llmtrace.wrap, llmtrace.context(plan="pro")])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_block_in_a_generator_is_open_until_it_is_left(decorate: Any, is_async: bool, captured: Captured) -> None:
    """What is yielded in a block goes on in it, and who takes the items is not in it; after it its surroundings are back."""

    def take() -> None:
        for _ in decorate(_looping)():
            llmtrace.span("beside")(_below)()

    async def take_async() -> None:
        async for _ in decorate(_looping_async)():
            llmtrace.span("beside")(_below)()

    if is_async:
        asyncio.run(take_async())
    else:
        take()
    beside = ("beside", None, None)
    assert _told(captured.spans) == [
        *(beside, ("inside", "A", ["A"]), beside, ("after", None, None)),
        *(beside, ("inside", "B", ["B"]), beside, ("after", None, None)),
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_blocks_of_a_generator_whose_steps_are_taken_apart_do_not_pile_up(
    decorate: Any, is_async: bool, captured: Captured
) -> None:
    """A web server takes each step in a context of its own, where a block that was opened in another cannot be closed."""

    def take() -> None:
        generator = decorate(_looping)()
        while contextvars.copy_context().run(next, generator, 0) is None:
            llmtrace.span("beside")(_below)()

    async def take_async() -> None:
        generator = decorate(_looping_async)()
        while await asyncio.ensure_future(anext(generator, 0)) is None:
            llmtrace.span("beside")(_below)()

    if is_async:
        asyncio.run(take_async())
    else:
        take()
    assert all(parent is None and tags is None for name, parent, tags in _told(captured.spans) if name != "inside")
    agents = [span for span in captured.spans if span.name in ("invoke_agent A", "invoke_agent B")]
    assert len({span.parent_id for span in agents}) == 1
    assert [span.attributes["llmtrace.tags"] for span in agents] == [["A"], ["B"]]


def test_cancelled_coroutine_ends_its_span(decorate: Any, captured: Captured) -> None:
    """Cancelling reaches the caller and is recorded as the failure."""

    @decorate
    async def work() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    failure = captured.spans[0].failure
    assert failure is not None
    assert failure.type.endswith("CancelledError")


def test_generator_left_early_is_partial_and_silent(decorate: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A generator that is closed, or dropped and collected, ends its span once, marked partial, and logs nothing."""
    closed = []

    @decorate
    def work() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    with capture() as captured, caplog.at_level(logging.DEBUG):
        generator = work()
        assert next(generator) == 1
        generator.close()
        next(dropped := work())
        del dropped
        gc.collect()
    assert closed == [True, True]
    assert [span.attributes.get("llmtrace.response.partial") for span in captured.spans] == [True, True]
    assert [record for record in caplog.records if record.name.startswith(("llmtrace", "opentelemetry"))] == []


def test_span_is_not_current_between_the_steps_of_a_generator(captured: Captured) -> None:
    """While a generator waits, the code around it is not inside its span."""

    @llmtrace.agent
    def outer() -> Iterator[str]:
        inner()
        yield "a"
        inner()

    @llmtrace.span
    def inner() -> None: ...

    @llmtrace.span
    def beside() -> None: ...

    for _ in outer():
        beside()
    parents = {span.name: span.parent_id for span in captured.spans if span.name != "inner"}
    agent_id = next(span.span_id for span in captured.spans if span.name == "invoke_agent outer")
    assert parents["beside"] is None
    assert {span.parent_id for span in captured.spans if span.name == "inner"} == {agent_id}


def test_methods(decorate: Any, captured: Captured) -> None:
    """Methods, class methods and static methods, in either order of decorators."""

    class Shop:
        def __init__(self) -> None:
            self.name = "shop"

        @decorate
        def method(self, x: int) -> tuple[str, int]:
            return self.name, x

        @classmethod
        @decorate
        def inner_class(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

        @decorate
        @classmethod
        def outer_class(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

        @staticmethod
        @decorate
        def inner_static(x: int) -> int:
            return x

        @decorate
        @staticmethod
        def outer_static(x: int) -> int:
            return x

    shop = Shop()
    assert shop.method(1) == ("shop", 1)
    assert shop.inner_class(2) == Shop.inner_class(2) == ("Shop", 2)
    assert shop.outer_class(3) == Shop.outer_class(3) == ("Shop", 3)
    assert shop.inner_static(4) == Shop.inner_static(4) == 4
    assert shop.outer_static(5) == Shop.outer_static(5) == 5
    assert len(captured.spans) == 9


def test_never_configured_means_never_recorded(decorate: Any) -> None:
    """Without configure() a decorated function is just called."""

    @decorate
    def work(x: int) -> int:
        return x

    assert work(3) == 3


class Client:
    """What a task is done with."""


def test_what_a_task_is_done_with_is_no_part_of_it() -> None:
    """A client among the arguments is left out of the user's message, unless there is nothing else; a text never is."""

    @llmtrace.agent
    def support(client: object, question: object) -> None: ...

    with llmtrace.testing.capture() as captured:
        support(Client(), "Where is it?")
        support(Client(), {"order": 7})
        support("<unserialisable riddle>", "Where is it?")
        support(Client(), Client())
    asked = [span.operation.input[0].text() for span in captured.spans]  # type: ignore[union-attr]
    assert asked[:3] == [
        "Where is it?",
        '{"question":{"order":7}}',
        '{"client":"<unserialisable riddle>","question":"Where is it?"}',
    ]
    assert "<unserialisable " in asked[3]


def test_blocks_with_and_async_with(captured: Captured) -> None:
    """agent, workflow and span open as blocks; what is set on them is recorded."""

    async def main() -> None:
        async with llmtrace.workflow("nightly"):
            with llmtrace.agent("sorter") as opened:
                opened.set_attribute("colour", "blue")
                opened.add_event("seen", {"count": 2})
                opened.output = {"sorted": 3}

    asyncio.run(main())
    inner, outer = captured.spans
    assert (inner.name, outer.name, inner.parent_id) == ("invoke_agent sorter", "invoke_workflow nightly", outer.span_id)
    assert inner.attributes["colour"] == "blue"
    assert [(event.name, dict(event.attributes)) for event in inner.events] == [("seen", {"count": 2})]
    assert inner.operation.output[0].text() == '{"sorted":3}'  # type: ignore[union-attr]


def test_block_records_what_it_raises() -> None:
    """An exception leaves a block unchanged and is recorded."""
    with capture() as captured, pytest.raises(KeyError), llmtrace.span("step"):
        raise KeyError("k")
    failure = captured.spans[0].failure
    assert failure is not None
    assert failure.type == "KeyError"


def test_a_block_may_be_open_several_times(captured: Captured) -> None:
    """One object for many blocks, in each other and in several threads: each has its span, and each is left as itself."""
    step = llmtrace.span("step")
    barrier = threading.Barrier(2, timeout=10)

    def work(fails: bool) -> None:
        with contextlib.suppress(LookupError), step:
            barrier.wait()
            if fails:
                raise LookupError
            time.sleep(0.01)

    with step as outer, step as inner:
        inner.output = "inner"
    outer_id = outer.span_id
    threads = [threading.Thread(target=work, args=(fails,)) for fails in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert current() is None
    first, second, *others = captured.spans
    assert (first.parent_id, second.span_id, first.operation.result) == (outer_id, outer_id, "inner")  # type: ignore[union-attr]
    assert sorted(span.failure is None for span in others) == [False, True]


def test_a_block_in_a_generator_left_early_is_partial(captured: Captured) -> None:
    """Leaving is no failure."""

    def work() -> Iterator[int]:
        with llmtrace.agent("stream"):
            yield 1
            yield 2

    for _ in work():
        break
    gc.collect()
    assert captured.spans[0].failure is None
    assert captured.spans[0].attributes["llmtrace.response.partial"] is True
    assert captured.trace.health == "ok"


def test_exit_without_an_error_code_is_no_failure(decorate: Any, captured: Captured) -> None:
    """A program that ends by sys.exit() has not failed."""

    @decorate
    def work(code: object) -> None:
        sys.exit(code)  # type: ignore[arg-type]

    for code in (None, 0, 1, "why"):
        with pytest.raises(SystemExit):
            work(code)
    assert [span.failure is None for span in captured.spans] == [True, True, False, False]


def test_a_coroutine_that_is_collected_says_nothing(decorate: Any, monkeypatch: pytest.MonkeyPatch, captured: Captured) -> None:
    """Whichever of the two, the program's and ours, is closed first."""

    @types.coroutine
    def _waiting() -> Any:
        yield

    async def waits() -> None:
        await _waiting()

    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    for _ in range(3):
        steps = decorate(waits)().__await__()
        steps.send(None)
        ring = [steps]
        ring.append(ring)
        del steps, ring
    gc.collect()
    assert said == []
    assert len(captured.spans) == 3


DROPPED = """
import contextvars, random, llmtrace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

contextvars.ContextVar("another").set(1)
provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
llmtrace.configure(store="off", instrument=[], tracer_provider=provider)

@llmtrace.agent
def items():
    with llmtrace.span("inside"):
        yield 1

for _ in range(4_000):
    left = items()
    next(left)
    ring = [left]
    ring.append(ring)
    del left, ring
    with llmtrace.span("step"):
        pass
    [[] for _ in range(random.randrange(40))]

spans = exporter.get_finished_spans()
print(sorted({span.name for span in spans}), {span.name for span in spans if span.parent})
"""


def test_generators_that_are_collected_do_no_harm() -> None:
    """Python before 3.12 collects garbage while it sets a context variable, and crashes where another is set meanwhile. What
    is current where the collector comes by stays so."""
    ran = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "['inside', 'invoke_agent items', 'step'] {'inside'}\n"


def _open_block() -> Iterator[int]:
    with llmtrace.span("left"):
        yield 1


@llmtrace.span("left")
def _decorated() -> Iterator[int]:
    yield 1


class _Locking(SpanProcessor):
    """Holds a lock that is not reentrant while the collector comes by."""

    def __init__(self) -> None:
        self.blocked = False
        self._lock = threading.Lock()

    def on_end(self, span: object) -> None:
        if not self._lock.acquire(timeout=5):
            self.blocked = True
            return
        try:
            gc.collect()
        finally:
            self._lock.release()


@pytest.mark.parametrize("left", [_open_block, _decorated])
def test_what_the_collector_closes_ends_on_another_thread(left: Callable[[], Iterator[int]]) -> None:
    """It comes by anywhere, also where a lock is held that the end of a span would want."""
    provider, processor = TracerProvider(shutdown_on_exit=False), _Locking()
    provider.add_span_processor(processor)
    with capture(tracer_provider=provider) as captured:
        generator = left()
        contextvars.copy_context().run(next, generator)
        ring: list[Any] = [generator]
        ring.append(ring)
        del generator, ring
        with llmtrace.span("step"):
            pass
        assert {span.name: span.parent_id for span in captured.spans} == {"left": None, "step": None}
    assert not processor.blocked


def test_a_budget_in_a_generator_that_is_closed_elsewhere_leaves_what_is_current_there(captured: Captured) -> None:
    def spends() -> Iterator[int]:
        with llmtrace.Budget(calls=1):
            yield 1

    def both() -> None:
        generator = spends()
        next(generator)
        with llmtrace.span("above"):
            generator.close()  # type: ignore[attr-defined]
            with llmtrace.span("below"):
                pass

    contextvars.copy_context().run(both)
    below, above = captured.spans
    assert below.parent_id == above.span_id


@pytest.mark.parametrize("decorate", [llmtrace.tool, llmtrace.agent, llmtrace.span])
def test_a_recursive_function_may_go_deep(decorate: Any) -> None:
    """Few frames stand between two calls, so that of a limit of a thousand, a quarter is left for them."""
    reached = 0

    def call_itself(depth: int) -> None:
        nonlocal reached
        reached = depth
        if depth < sys.getrecursionlimit() * 0.22:
            decorated(depth + 1)

    decorated = decorate(call_itself)
    with capture():
        thread = threading.Thread(target=decorated, args=(0,))  # its stack begins with it
        thread.start()
        thread.join()
    assert reached >= sys.getrecursionlimit() * 0.22
