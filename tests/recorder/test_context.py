"""context, wrap, inject, extract: what reaches the spans below, and what does not leave."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import functools
import inspect
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import llmtrace
from llmtrace import run_verdict
from llmtrace.errors import ConfigurationError
from llmtrace.model import Span
from llmtrace.recorder import functions
from llmtrace.testing import Captured, capture


def added(span: Span) -> dict[str, Any]:
    """The attributes of a span without the verdict on its run."""
    return {name: held for name, held in span.attributes.items() if name not in run_verdict.ATTRIBUTES}


@llmtrace.span
def leaf() -> None: ...


def test_context_reaches_every_span_below_and_nests(captured: Captured) -> None:
    """Inner values win, tags add up, and nothing is left behind after the block."""
    with llmtrace.context(user="u1", conversation="c1", tags=["a"], plan="pro"):
        with llmtrace.context(user="u2", tags=["b", "a"]):
            leaf()
        leaf()
    leaf()
    inner, outer, after = (added(span) for span in captured.spans)
    assert inner == {
        "user.id": "u2",
        "gen_ai.conversation.id": "c1",
        "llmtrace.tags": ["a", "b"],
        "llmtrace.context.plan": "pro",
    }
    assert outer["user.id"] == "u1"
    assert after == {}


def test_wrap_keeps_the_parent_in_threads() -> None:
    """Parallel work in a pool belongs to the span that handed it out; the pool's threads keep nothing."""
    with capture() as captured, ThreadPoolExecutor(2) as pool:
        with llmtrace.workflow("w"), llmtrace.context(user="u"):
            for future in [pool.submit(llmtrace.wrap(leaf)) for _ in range(4)]:
                future.result()
        pool.submit(leaf).result()
    workflow = next(span for span in captured.spans if span.name == "invoke_workflow w")
    below = [span for span in captured.spans if span.parent_id == workflow.span_id]
    assert len(below) == 4
    assert {span.attributes["user.id"] for span in below} == {"u"}
    assert [added(span) for span in captured.spans if span.name == "leaf" and span.parent_id is None] == [{}]


@llmtrace.tool
def looked_up(number: int) -> int:
    return number


def plainly() -> int:
    return looked_up(1)


async def awaited() -> int:
    await asyncio.sleep(0)
    return looked_up(1)


def generated() -> Iterator[int]:
    sent = yield looked_up(1)
    assert sent is None
    yield looked_up(2)


async def generated_async() -> AsyncIterator[int]:
    yield looked_up(1)
    await asyncio.sleep(0)
    yield looked_up(2)


async def _all(items: AsyncIterator[int]) -> list[int]:
    return [item async for item in items]


def awaited_by_another() -> Any:
    """A plain function, as a plain decorator makes of an async one."""
    return awaited()


of_every_kind = pytest.mark.parametrize(
    ("function", "finish", "expected"),
    [
        (plainly, lambda made: made, 1),
        (awaited, asyncio.run, 1),
        (functools.partial(awaited), asyncio.run, 1),
        (awaited_by_another, asyncio.run, 1),
        (lambda: awaited(), asyncio.run, 1),
        (generated, list, [1, 2]),
        (generated_async, lambda made: asyncio.run(_all(made)), [1, 2]),
    ],
)


@of_every_kind
def test_wrap_keeps_the_context_of_functions_of_every_kind(function: Any, finish: Any, expected: Any) -> None:
    """What runs when a coroutine is awaited or a generator goes on belongs where it was wrapped, as a plain function's does."""
    with capture() as captured, ThreadPoolExecutor(1) as pool:
        with llmtrace.context(user="u"), llmtrace.agent("A"):
            bound = llmtrace.wrap(function)
        assert pool.submit(lambda: finish(bound())).result() == expected
    agent = next(span for span in captured.spans if span.name == "invoke_agent A")
    tools = [span for span in captured.spans if span.name == "execute_tool looked_up"]
    assert {(span.parent_id, span.attributes["user.id"]) for span in tools} == {(agent.span_id, "u")}


@of_every_kind
def test_context_decorates_functions_of_every_kind(function: Any, finish: Any, expected: Any, captured: Captured) -> None:
    """As a decorator it holds while the function runs, not only while it is called, and each time anew."""
    decorated = llmtrace.context(user="u")(function)
    assert functions.kind_of(decorated) == functions.kind_of(function)
    for _ in range(2):
        assert finish(decorated()) == expected
        leaf()
    assert {span.attributes.get("user.id") for span in captured.spans if span.name != "leaf"} == {"u"}
    assert {span.attributes.get("user.id") for span in captured.spans if span.name == "leaf"} == {None}


def test_wrap_is_of_the_same_kind_as_the_function() -> None:
    """Frameworks ask what kind of function they were given; wrong arguments are refused when it is called; copies are it."""
    assert inspect.iscoroutinefunction(llmtrace.wrap(awaited))
    assert inspect.isgeneratorfunction(llmtrace.wrap(generated))
    assert inspect.isasyncgenfunction(llmtrace.wrap(generated_async))
    coroutine = llmtrace.wrap(awaited_by_another)()
    assert (inspect.iscoroutine(coroutine), coroutine.__name__, asyncio.run(coroutine)) == (True, "awaited", 1)
    assert llmtrace.wrap(divmod)(7, 2) == (3, 1)
    wrapped: Any = llmtrace.wrap(awaited)
    assert copy.deepcopy(wrapped) is wrapped
    assert copy.copy(wrapped) is wrapped
    with pytest.raises(TypeError, match="unexpected keyword"):
        wrapped(odd=1)


@pytest.mark.parametrize("carrier", [3, "headers", ["traceparent"]])
def test_a_carrier_that_is_no_mapping_is_a_type_error(carrier: Any) -> None:
    """The message says what is wanted, also where nothing is recorded."""
    for recording in (capture(), contextlib.nullcontext()):
        with recording:
            with pytest.raises(TypeError, match=r"llmtrace\.inject\(.*\): expected a dict or other mapping"):
                llmtrace.inject(carrier)
            with pytest.raises(TypeError, match=r"llmtrace\.extract\(.*\): expected a mapping"), llmtrace.extract(carrier):
                pass


@pytest.mark.parametrize("block", [llmtrace.suppress(), llmtrace.context(user="ada")])
def test_what_is_no_function_cannot_be_decorated(block: Any) -> None:
    """It is refused where it is written."""
    with pytest.raises(ConfigurationError, match="3 cannot be decorated"):
        block(3)


def test_wrap_leaves_nothing_behind_between_steps(captured: Captured) -> None:
    """Between two steps of a generator, and while a coroutine waits, the program's own context is current."""
    seen: list[Any] = []

    async def both() -> None:
        waiting = asyncio.ensure_future(wrapped())
        await asyncio.sleep(0)
        leaf()
        await waiting

    with llmtrace.context(user="u"):
        wrapped, items = llmtrace.wrap(awaited), llmtrace.wrap(generated)
    for item in items():
        seen.append(item)
        leaf()
    asyncio.run(both())
    assert seen == [1, 2]
    assert [added(span) for span in captured.spans if span.name == "leaf"] == [{}, {}, {}]


def test_inject_and_extract_join_processes(captured: Captured) -> None:
    """What inject wrote continues the trace elsewhere, with user, conversation and tags; the run is a new one."""
    with llmtrace.workflow("here"), llmtrace.context(user="ü,=;", conversation="c", tags=["a b", "c"]):
        carrier = dict(llmtrace.inject())
    environment = {name.upper(): given for name, given in carrier.items()}

    def elsewhere() -> None:
        with llmtrace.extract(environment):
            leaf()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    [here] = [span for span in captured.spans if span.name == "invoke_workflow here"]
    [there] = [span for span in captured.spans if span.name == "leaf"]
    assert (there.trace_id, there.parent_id) == (here.trace_id, here.span_id)
    assert there.run_id != here.run_id
    assert there.attributes["user.id"] == "ü,=;"
    assert there.attributes["llmtrace.tags"] == ["a b", "c"]


GARBAGE: list[dict[Any, Any]] = [
    {"traceparent": "00-zz-1", "baggage": ",=,llmtrace.%zz=1;p"},
    {"traceparent": None, "baggage": None},
    {"traceparent": [1], "baggage": b"x", 1: 2},
    {"baggage": ["llmtrace.user.id=1"], "tracestate": 5},
]


@pytest.mark.parametrize("carrier", GARBAGE)
def test_extract_of_garbage_is_harmless(carrier: dict[Any, Any]) -> None:
    """Headers that mean nothing start a trace of their own."""
    with capture() as captured, llmtrace.extract(carrier):
        leaf()
    assert (captured.spans[0].parent_id, added(captured.spans[0])) == (None, {})


def test_extract_takes_only_what_inject_writes() -> None:
    """A header may come from anybody: it sets no attribute that says what a span did."""
    with capture() as captured, llmtrace.extract({"baggage": "llmtrace.gen_ai.input.messages=x,llmtrace.user.id=u"}):
        leaf()
    assert added(captured.spans[0]) == {"user.id": "u"}


def test_context_of_odd_values(captured: Captured) -> None:
    """One tag is one tag, a tag counts once, and what is no JSON is named by its type."""
    with llmtrace.context(tags="abc", plan=object()):  # type: ignore[arg-type]
        leaf()
    with llmtrace.context(tags=[1, 1, "1"], conversation=7):  # type: ignore[arg-type, list-item]
        leaf()
    first, second = (added(span) for span in captured.spans)
    assert (first["llmtrace.tags"], "object" in str(first["llmtrace.context.plan"])) == (["abc"], True)
    assert second == {"llmtrace.tags": ["1"], "gen_ai.conversation.id": "7"}


def users(captured: Any) -> list[Any]:
    return [span.attributes.get("user.id") for span in captured.spans]


def test_one_context_in_threads_that_overlap() -> None:
    """The first that leaves ends its own block, and no other's; no thread keeps the user."""
    given = llmtrace.context(user="u")
    both_in, one_left = threading.Barrier(2, timeout=5), threading.Event()

    def first() -> None:
        with given:
            both_in.wait()
        leaf()
        one_left.set()

    def second() -> None:
        with given:
            both_in.wait()
            assert one_left.wait(5)
            leaf()
        leaf()

    with capture() as captured, ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(first), pool.submit(second)]:
            future.result()
    assert users(captured) == [None, "u", None]


def test_one_context_in_tasks_that_overlap() -> None:
    """Also where they were started within a block of it, which ends first."""
    given = llmtrace.context(user="u")

    async def one(seconds: float) -> None:
        with given:
            await asyncio.sleep(seconds)
            leaf()
        leaf()

    async def apart() -> None:
        await asyncio.gather(one(0.01), one(0.03), one(0.02))
        leaf()

    async def within() -> None:
        with given:
            tasks = [asyncio.ensure_future(one(seconds)) for seconds in (0.01, 0.02)]
            await asyncio.sleep(0)
        leaf()
        await asyncio.gather(*tasks)

    with capture() as captured:
        asyncio.run(apart())
    assert users(captured) == ["u", None, "u", None, "u", None, None]
    with capture() as captured:
        asyncio.run(within())
    assert users(captured) == [None, "u", "u", "u", "u"]  # a task has what was current where it was started


def test_one_context_nests_in_itself(captured: Captured) -> None:
    """In a block, in a function that it decorates, and in what that calls again."""
    given = llmtrace.context(user="u", tags=["t"])

    @given
    def again(depth: int) -> None:
        with given:
            if depth:
                again(depth - 1)
        leaf()

    with given:
        with given, llmtrace.context(user="v"), given:
            leaf()
        again(2)
        leaf()
    leaf()
    assert users(captured) == ["u"] * 5 + [None]


def test_one_context_decorates_tasks_that_overlap(captured: Captured) -> None:
    """Each call has it for itself."""

    @llmtrace.context(user="u")
    async def one(seconds: float) -> None:
        await asyncio.sleep(seconds)
        leaf()

    async def main() -> None:
        await asyncio.gather(one(0.02), one(0.01))
        leaf()

    asyncio.run(main())
    assert users(captured) == ["u", "u", None]


def opened(given: Any) -> Iterator[None]:
    with given:
        yield


def test_one_context_in_generators_that_overlap(captured: Captured) -> None:
    """In whichever order they are left, nothing stays."""
    given = llmtrace.context(user="u")
    for order in (1, -1):
        generators = [opened(given), opened(given)]
        for each in generators:
            next(each)
        for each in generators[::order]:
            each.close()  # type: ignore[attr-defined]
        leaf()
    assert users(captured) == [None, None]


def test_one_context_in_decorated_generators_that_overlap(captured: Captured) -> None:
    """A generator that leaves its block ends that, and does not go on in another's span."""
    given = llmtrace.context(user="u")

    @llmtrace.span
    def work() -> Iterator[None]:
        with given:
            yield
        leaf()

    first, second = work(), work()
    for each in (first, second, first, second):
        next(each, None)
    assert users(captured) == [None] * 4
    one, two = [span for span in captured.spans if span.name == "work"]
    assert [span.parent_id for span in captured.spans if span.name == "leaf"] == [one.span_id, two.span_id]


def test_one_context_in_a_generator_that_is_closed_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    """The other thread has nothing of it before or after, and the thread that opened it can use it as ever."""
    given = llmtrace.context(user="u")
    generator: Any = opened(given)

    def inside() -> None:
        next(generator)
        with given:
            leaf()

    def elsewhere() -> None:
        generator.close()
        leaf()
        with given:
            leaf()
        leaf()

    with capture() as captured, ThreadPoolExecutor(1) as pool:
        contextvars.copy_context().run(inside)
        pool.submit(elsewhere).result()
        leaf()
    assert users(captured) == ["u", None, "u", None, None]
    assert caplog.records == []


@llmtrace.context(user="u")
def decorated_here() -> int:
    return looked_up(1)


def test_a_function_that_context_decorates_is_pickled_by_its_name() -> None:
    """As functions are, so that a pool of processes takes it."""
    assert pickle.loads(pickle.dumps(decorated_here)) is decorated_here


@pytest.mark.parametrize(("word", "right"), [("session", "conversation"), ("user_id", "user"), ("tag", "tags")])
def test_a_word_of_another_tool_is_a_type_error(word: str, right: str) -> None:
    """It would be taken for an attribute, and no list would find the trace by it."""
    with pytest.raises(TypeError, match=f"unexpected keyword argument {word!r}. Did you mean {right!r}?"):
        llmtrace.context(**{word: "x"})
