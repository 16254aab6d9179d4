"""The engine of frameworks' instrumentors, over a small library of agents and tools in every form that frameworks use."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import wrapt

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.errors import BudgetExceeded
from llmtrace.instrumentation._framework import POSITIONAL
from llmtrace.instrumentation._traced_functions import TracedFunction, read_input, read_output, traced_block, traced_function
from llmtrace.model import (
    STEP_LIMIT,
    TOOL_ERROR,
    AgentInvocation,
    Failure,
    Inference,
    Message,
    Operation,
    Span,
    ToolCall,
    ToolExecution,
    replace,
)
from llmtrace.recorder import active, collected, current
from llmtrace.semconv import CONVERSATION_ID, PARTIAL
from llmtrace.testing import Captured, capture


class AgentRun(TracedFunction):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        return AgentInvocation(instance.name, input=read_input(arguments.get("task")))

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:
        return arguments.get("session")

    def stopped_at(self, instance: Any, result: Any) -> str:
        return instance.limit if "done" in result else ""


class ToolRun(TracedFunction):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        values = (*arguments.get(POSITIONAL, ()), None, None)
        return ToolExecution("look_up", {"order": arguments.get("order", values[0])}, call_id=values[1])

    def failure(self, result: Any) -> Failure | None:
        return Failure(TOOL_ERROR, result) if result == "refused" else None


class Library:
    """What a framework offers. ``inside`` is called where an agent or a tool works."""

    name = "support"
    limit = ""

    def __init__(self, inside: Callable[[], Any] = lambda: None) -> None:
        self.inside = inside

    def run(self, task: str, session: str | None = None) -> str:
        self.inside()
        return f"done: {task}"

    def again(self, task: str) -> str:
        return self.run(task)

    async def arun(self, task: str, session: str | None = None) -> str:
        await asyncio.sleep(0)
        self.inside()
        return f"done: {task}"

    def stream(self, task: str) -> Generator[str, Any, str]:
        self.inside()
        yield "piece"
        self.inside()
        yield f"done: {task}"
        return "the end"

    async def astream(self, task: str) -> AsyncGenerator[str, None]:
        self.inside()
        yield "piece"
        await asyncio.sleep(0)
        self.inside()
        yield f"done: {task}"

    def either(self, task: str, *, stream: bool) -> Any:
        return self.stream(task) if stream else self.run(task)

    def aeither(self, task: str, *, stream: bool) -> Any:
        return self.astream(task) if stream else self.arun(task)

    async def alater(self, task: str) -> AsyncGenerator[str, None]:
        return Library.astream(self, task)

    def later(self, task: str) -> Any:
        return self.alater(task)

    def call(self, *args: Any) -> Any:
        try:
            return self.tool(*args)
        except ValueError as error:
            return f"Error: {error}"

    def tool(self, *args: Any) -> str:
        self.inside()
        if args[0] == "bad":
            raise ValueError("no such order")
        return "refused" if args[0] == "refused" else "on its way"


AGENTS = ("run", "again", "arun", "stream", "astream", "either", "aeither")


@pytest.fixture
def library() -> type[Library]:
    """The library with our wrappers on it."""

    class Traced(Library):
        pass

    for name in (*AGENTS, "alater", "later", "call", "tool"):
        point = ToolRun() if name in ("call", "tool") else AgentRun()
        setattr(Traced, name, wrapt.FunctionWrapper(getattr(Library, name), traced_function(point)))
    return Traced


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture(instrument=()) as recording:
        yield recording


def ask() -> None:
    """A call of a model."""
    recorder = active()
    assert recorder is not None
    recorder.start(Inference("acme")).end()


def agents(captured: Captured) -> list[Span]:
    gc.collect()
    collected.settle()
    return [span for span in captured.spans if isinstance(span.operation, AgentInvocation)]


def texts(span: Span) -> list[str]:
    assert isinstance(span.operation, AgentInvocation)
    return [message.text() for message in (*span.operation.input, *span.operation.output)]


@pytest.mark.parametrize("way", ["run", "stream"])
def test_an_agent_that_its_framework_stopped_has_failed(way: str, library: type[Library], captured: Captured) -> None:
    """The framework raises nothing and has the model answer; the program gets that answer, and the span says what it is."""
    agent = library()
    agent.limit = "stopped after 2 steps"
    assert "done: 7" in (agent.run("7") if way == "run" else list(agent.stream("7")))
    (span,) = agents(captured)
    assert span.failure == Failure(STEP_LIMIT, "stopped after 2 steps")
    assert captured.trace.health == "failed"
    (suspect,) = diagnose(captured.trace).marked
    assert (suspect.check, suspect.label) == ("end_state", "limit")
    assert suspect.title == "support was stopped at its limit of steps"
    assert "raise the limit" in suspect.advice


async def read(stream: Any) -> list[Any]:
    assert current() is None
    items = []
    async for item in stream:
        assert current() is None
        items.append(item)
    return items


@pytest.mark.parametrize("way", [*AGENTS, "either, streamed", "aeither, streamed"])
def test_every_kind_of_function(way: str, library: type[Library], captured: Captured) -> None:
    """One span, around what happens inside in each step, and current nowhere else; the program gets what it always gets."""
    method = getattr(library(ask), way.partition(",")[0])
    result = method("7", **({"stream": "streamed" in way} if "either" in way else {}))
    assert current() is None
    if "stream" in way and way.startswith("a"):
        assert asyncio.run(read(result)) == ["piece", "done: 7"]
    elif "stream" in way:
        assert (next(result), current(), next(result)) == ("piece", None, "done: 7")
        with pytest.raises(StopIteration) as end:
            next(result)
        assert end.value.value == "the end"
    else:
        assert (asyncio.run(result) if hasattr(result, "send") else result) == "done: 7"
    (agent,) = agents(captured)
    assert texts(agent) == ["7", "done: 7"]
    models = [span for span in captured.spans if isinstance(span.operation, Inference)]
    assert [span.parent_id for span in models] == [agent.span_id] * (2 if "stream" in way else 1)


@pytest.mark.parametrize("way", ["run", "arun"])
def test_a_conversation_is_inherited(way: str, library: type[Library], captured: Captured) -> None:
    result = getattr(library(ask), way)("7", session="s-1")
    if way == "arun":
        asyncio.run(result)
    assert [span.attributes[CONVERSATION_ID] for span in captured.spans] == ["s-1", "s-1"]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("way", ["stream", "either"])
def test_a_stream_that_is_left(way: str, begun: bool, library: type[Library], captured: Captured) -> None:
    """It is partial; a generator function that was never begun has done nothing, a plain function has."""
    stream = getattr(library(), way)("7", **({"stream": True} if way == "either" else {}))
    if begun:
        next(stream)
    del stream
    found = agents(captured)
    assert [span.attributes.get(PARTIAL) for span in found] == ([] if way == "stream" and not begun else [True])
    assert all(texts(span) == ["7"] for span in found)


def test_a_stream_that_yields_although_it_is_closed(library: type[Library], captured: Captured) -> None:
    """Python raises, as without us, and the span has ended."""

    class Stubborn(library):  # type: ignore[misc, valid-type]
        def either(self, task: str, *, stream: bool) -> Any:
            def steps() -> Iterator[str]:
                try:
                    yield "piece"
                finally:
                    yield "more"

            return steps()

    Stubborn.either = wrapt.FunctionWrapper(Stubborn.either, traced_function(AgentRun()))
    stream = Stubborn().either("7", stream=True)
    next(stream)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        stream.close()
    (agent,) = agents(captured)
    assert agent.attributes[PARTIAL] is True


def test_a_tool_that_fails_although_the_framework_answers(library: type[Library], captured: Captured) -> None:
    """What the inner function raised, or reports, is why the execution failed; there is one span."""
    assert [library().call(order) for order in ("7", "bad", "refused")] == ["on its way", "Error: no such order", "refused"]
    spans = [span for span in captured.spans if isinstance(span.operation, ToolExecution)]
    failures = [span.failure and (span.failure.type, span.failure.message) for span in spans]
    assert failures == [None, ("ValueError", "no such order"), (TOOL_ERROR, "refused")]
    assert [getattr(span.operation, "result", None) for span in spans] == ["on its way", "Error: no such order", "refused"]


def test_an_execution_is_joined_to_its_call(library: type[Library], captured: Captured) -> None:
    """By its id. A framework may have an id of its own for it: then by what is called, once for each call of the model."""
    calls = tuple(
        ToolCall("look_up", {"order": order}, call_id) for order, call_id in (("7", "a"), ("7", "b"), ("8", "c"), ("9", "d"))
    )
    with llmtrace.agent("support"):
        recorder = active()
        assert recorder is not None
        recorder.start(inference := Inference("acme")).end(replace(inference, output=(Message("assistant", calls),)))
        for order, call_id in (("7", "b"), ("7", "b"), ("7", "own-1"), ("8", "own-2"), ("other", "own-3")):
            library().tool(order, call_id)
    found = [span.operation for span in captured.spans if isinstance(span.operation, ToolExecution)]
    joined = [("b", False), ("b", False), ("a", True), ("c", True), ("own-3", False)]
    assert [(execution.call_id, execution.inferred) for execution in found] == joined


def test_exceptions_are_the_program_s_own(library: type[Library], captured: Captured) -> None:
    error = KeyError("lost")

    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as raised:
        library(fail).run("7")
    assert raised.value is error
    (agent,) = agents(captured)
    assert agent.failure is not None
    assert agent.failure.type == "KeyError"


def test_wrong_arguments_are_refused_as_ever(library: type[Library], captured: Captured) -> None:
    with pytest.raises(TypeError) as expected:
        Library().run()  # type: ignore[call-arg]
    with pytest.raises(TypeError) as raised:
        library().run()  # type: ignore[call-arg]
    assert str(raised.value) == str(expected.value)
    assert all(span.failure is not None for span in captured.spans)


@pytest.mark.guard_may_log
def test_a_block_of_a_function_that_cannot_be_read(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """The program has its block as ever; why it is not recorded is logged."""

    class Odd:
        @property
        def __signature__(self) -> Any:
            raise NameError("its annotations are not there")

        @asynccontextmanager
        async def __call__(self, task: str) -> AsyncGenerator[str, None]:
            yield task

    async def use() -> str:
        async with traced_block(AgentRun())(Odd(), None, ("7",), {}) as value:
            return str(value)

    assert asyncio.run(use()) == "7"
    assert not captured.spans
    assert "NameError" in caplog.text
    caplog.clear()


def test_a_budget_stops_it(library: type[Library], captured: Captured) -> None:
    """What it raises is the program's to see; the function does not run."""
    runs: list[None] = []

    @llmtrace.agent(budget=llmtrace.Budget(repeats=2))
    def support() -> None:
        for _ in range(5):
            library(lambda: runs.append(None)).call("7")

    with pytest.raises(BudgetExceeded):
        support()
    assert 0 < len(runs) < 5
    assert len([span for span in captured.spans if isinstance(span.operation, ToolExecution)]) == len(runs)


def test_nothing_is_recorded_without_configure(library: type[Library]) -> None:
    assert (library().run("7"), list(library().either("7", stream=True))) == ("done: 7", ["piece", "done: 7"])


def test_what_agents_are_given_and_answer() -> None:
    assert read_input(None) == ()
    assert [message.text() for message in read_input(["a", {"role": "system", "content": "b"}])] == ["a", "b"]
    assert [message.role for message in read_input([{"role": "system", "content": "b"}])] == ["system"]
    (answer,) = read_output({"total": 3})
    assert isinstance(answer, Message)
    assert answer.text() == '{"total":3}'


@pytest.mark.parametrize("name", ["alater", "later"])
def test_a_stream_that_is_awaited_for_is_followed(library: type[Library], captured: Captured, name: str) -> None:
    """To its end, with what runs in it below; one that is left is partial."""

    async def program(most: int) -> list[str]:
        items = []
        stream = await getattr(library(ask), name)("mend it")
        async for item in stream:
            items.append(item)
            if len(items) == most:
                break
        await stream.aclose()
        return items

    assert asyncio.run(program(9)) == ["piece", "done: mend it"]
    (span,) = agents(captured)
    assert texts(span) == ["mend it", "done: mend it"]
    assert [one.parent_id for one in captured.spans if isinstance(one.operation, Inference)] == [span.span_id] * 2
    assert asyncio.run(program(1)) == ["piece"]
    assert [one.attributes.get(PARTIAL) for one in agents(captured)] == [None, True]
