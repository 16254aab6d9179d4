"""Tools: what a model asked for is judged by its raw text, run or refused, and answered in the form it came in."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import AsyncMock

import pytest
from pydantic import BaseModel, HttpUrl

import llmtrace
from llmtrace.errors import ConfigurationError, InvalidToolCall
from llmtrace.model import ToolExecution
from llmtrace.testing import Captured, capture

ran: list[Any] = []


@llmtrace.tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    ran.append((a, b))
    return a + b


@llmtrace.tool
def shout(text: str) -> str:
    return "ok"


@pytest.fixture(autouse=True)
def _reset() -> None:
    ran.clear()


def chat(*calls: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ],
    }


def executions(captured: Captured) -> list[ToolExecution]:
    return [span.operation for span in captured.spans if isinstance(span.operation, ToolExecution)]


def test_offers_in_each_form() -> None:
    """One definition, three ways to write it."""
    tools = llmtrace.Tools(add)
    parameters = tools.openai()[0]["function"]["parameters"]
    assert parameters["required"] == ["a"]
    assert parameters["properties"]["a"]["description"] == "The first."
    assert tools.openai()[0]["function"]["name"] == tools.openai(api="responses")[0]["name"] == tools.anthropic()[0]["name"]
    assert tools.anthropic()[0]["input_schema"] == tools.openai("responses")[0]["parameters"] == parameters


def test_runs_and_answers_by_call_id(captured: Captured) -> None:
    """Each call is answered under its own id, in order."""
    answers = llmtrace.Tools(add).run(chat(("x", "add", '{"a": 1}'), ("y", "add", '{"a": 2, "b": 3}')))
    assert answers == [
        {"role": "tool", "tool_call_id": "x", "content": "2"},
        {"role": "tool", "tool_call_id": "y", "content": "5"},
    ]
    assert [(done.call_id, done.result) for done in executions(captured)] == [("x", 2), ("y", 5)]


@pytest.mark.parametrize("as_object", [False, True])
def test_reads_sdk_objects_and_dicts(as_object: bool) -> None:
    """A message may be a dict, an SDK's object, or the bare list of calls."""
    message: Any = chat(("x", "add", '{"a": 1}'))
    if as_object:
        message = json.loads(json.dumps(message), object_hook=lambda members: SimpleNamespace(**members))
    tools = llmtrace.Tools(add)
    assert tools.run(message)[0]["content"] == "2"
    calls = message.tool_calls if as_object else message["tool_calls"]
    assert tools.run(calls)[0]["content"] == "2"


def test_responses_and_anthropic_forms() -> None:
    """Calls of other forms are answered in that form."""
    tools = llmtrace.Tools(add)
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a": 1}'},
    ]
    assert tools.run(output) == [{"type": "function_call_output", "call_id": "c", "output": "2"}]
    content = [{"type": "text", "text": "adding"}, {"type": "tool_use", "id": "t", "name": "add", "input": {"a": "x"}}]
    [message] = llmtrace.Tools(add, on_invalid="reply").run({"role": "assistant", "content": content})
    assert message["role"] == "user"
    assert (message["content"][0]["tool_use_id"], message["content"][0]["is_error"]) == ("t", True)


def test_a_message_without_calls_has_no_answers() -> None:
    """An answer in text ends the loop."""
    assert llmtrace.Tools(add).run({"role": "assistant", "content": "done"}) == []
    assert llmtrace.Tools(add).run({"role": "assistant", "content": "done", "tool_calls": None}) == []
    assert llmtrace.Tools(add).run([]) == []
    assert llmtrace.Tools(add).run({"role": None, "content": "done", "tool_calls": None}) == []  # a server that sends no role


def test_a_whole_response_is_refused_with_the_way_to_its_message() -> None:
    """The commonest slip: the response of the client in place of the message in it."""
    response = {"choices": [{"message": {"role": "assistant", "content": "done"}}]}
    with pytest.raises(ConfigurationError, match=r"pass its choices\[0\].message"):
        llmtrace.Tools(add).run(response)
    with pytest.raises(ConfigurationError, match=r"pass its choices\[0\].message"):
        llmtrace.Tools(add).run(SimpleNamespace(**response))


def test_something_else_is_refused_clearly() -> None:
    """What is no message says so."""
    with pytest.raises(ConfigurationError, match="expected an assistant message"):
        llmtrace.Tools(add).run(42)


INVALID = ("x", "add", '{"a": "one", "c": 2}')


def test_record_runs_it_and_keeps_the_error(captured: Captured) -> None:
    """Under record an invalid call runs; the execution is an error even where the tool swallowed it."""

    @llmtrace.tool(on_invalid="record")
    def echo(a: int) -> str:
        return f"got {a!r}"

    [answer] = llmtrace.Tools(echo).run(chat(("x", "echo", '{"a": "one"}')))
    [span] = captured.spans
    assert answer["content"] == "got 'one'"
    assert span.failure is not None
    assert span.failure.type == "invalid_tool_call"
    assert [(v.code, v.pointer, v.executed) for v in span.violations] == [("wrong_type", "/a", True)]


def test_raise_does_not_run_it() -> None:
    """Under raise the program gets InvalidToolCall with all faults; the refusal has its span."""
    tools = llmtrace.Tools(add, on_invalid="raise")
    with capture() as captured, pytest.raises(InvalidToolCall) as caught:
        tools.run(chat(INVALID))
    assert ran == []
    assert {(v.code, v.pointer) for v in caught.value.violations} == {("wrong_type", "/a"), ("unexpected", "/c")}
    assert caught.value.call_id == "x"
    [execution] = executions(captured)
    assert not execution.executed
    assert captured.spans[0].failure is not None


def test_reply_tells_the_model_all_faults_at_once(captured: Captured) -> None:
    """Under reply the model reads every fault and the tool does not run."""
    [answer] = llmtrace.Tools(add, on_invalid="reply").run(chat(INVALID))
    assert ran == []
    assert "a" in answer["content"]
    assert "c" in answer["content"]
    assert answer["tool_call_id"] == "x"
    assert [execution.executed for execution in executions(captured)] == [False]


def test_repair_runs_with_a_lossless_correction(captured: Captured) -> None:
    """Under repair "1" becomes 1 and both are recorded; what has no lossless correction is answered."""
    tools = llmtrace.Tools(add, on_invalid="repair")
    answers = tools.run(chat(("x", "add", '{"a": "1"}'), ("y", "add", '{"a": "one"}')))
    assert ran == [(1, 1)]
    assert answers[0]["content"] == "2"
    first, second = executions(captured)
    assert (first.arguments, first.repaired, first.executed) == ({"a": "1"}, {"a": 1}, True)
    assert not second.executed


def test_unknown_tool_is_answered_under_every_policy_but_raise(captured: Captured) -> None:
    """A tool that is not there cannot run: the answer names those that are."""
    call = chat(("x", "ad", "{}"))
    for policy in ("record", "reply", "repair"):
        [answer] = llmtrace.Tools(add, on_invalid=policy).run(call)  # type: ignore[arg-type]
        assert "add" in answer["content"]
    with pytest.raises(InvalidToolCall):
        llmtrace.Tools(add, on_invalid="raise").run(call)
    assert len(captured.spans) == 4
    for span in captured.spans:
        assert [v.code for v in span.violations] == ["unknown_tool"]
        assert span.failure is not None


def test_malformed_arguments_never_reach_a_function(captured: Captured) -> None:
    """Text that is no JSON object is answered; nothing for a tool without parameters is an empty object."""

    @llmtrace.tool
    def now() -> str:
        return "noon"

    tools = llmtrace.Tools(add, now)
    answers = tools.run(chat(("x", "add", '{"a": 1'), ("y", "now", "")))
    assert ran == []
    assert "JSON" in answers[0]["content"]
    assert answers[1]["content"] == "noon"
    assert [execution.executed for execution in executions(captured)] == [False, True]


def test_half_a_surrogate_pair_in_the_arguments_raises_nothing(captured: Captured) -> None:
    """As providers' clients decode an emoji that the model's tokens cut in two."""
    answers = llmtrace.Tools(shout).run(chat(("c1", "shout", '{"text": "\ud83d"}')))
    assert [answer["content"] for answer in answers] == ["ok"]
    assert [execution.executed for execution in executions(captured)] == [True]


def test_duplicate_keys_are_a_warning_and_the_last_one_counts(captured: Captured) -> None:
    """What only warns does not stop a call."""
    [answer] = llmtrace.Tools(add).run(chat(("x", "add", '{"a": 1, "a": 5}')))
    assert answer["content"] == "6"
    assert [(v.code, v.severity) for v in captured.spans[0].violations] == [("duplicate_key", "warning")]
    assert captured.spans[0].failure is None


def test_policies_hold_without_configure() -> None:
    """Never configured: nothing is recorded, the checks and the policy still apply."""
    with pytest.raises(InvalidToolCall):
        llmtrace.Tools(add, on_invalid="raise").run(chat(INVALID))

    @llmtrace.tool(on_invalid="raise")
    def half(x: int) -> float:
        return x / 2

    with pytest.raises(InvalidToolCall):
        half("three")  # type: ignore[arg-type]
    assert half(3) == 1.5


def test_a_tools_exception_is_told_to_the_model_or_raised(captured: Captured) -> None:
    """on_fail decides; either way the execution failed."""

    def broken() -> None:
        raise ConnectionError("no route")

    [answer] = llmtrace.Tools(broken).run(chat(("x", "broken", "{}")))
    with pytest.raises(ConnectionError):
        llmtrace.Tools(broken, on_fail="raise").run(chat(("y", "broken", "{}")))
    assert answer["content"] == "Error: ConnectionError: no route"
    assert [span.failure and span.failure.type for span in captured.spans] == ["ConnectionError"] * 2


def test_arguments_become_what_the_signature_says() -> None:
    """JSON becomes dataclasses and enums before the function sees it."""

    @dataclass
    class Address:
        city: str

    def send(to: Address, speed: Literal["slow", "fast"] = "slow") -> str:
        return f"{type(to).__name__} {to.city} {speed}"

    [answer] = llmtrace.Tools(send).run(chat(("x", "send", '{"to": {"city": "Oslo"}, "speed": "fast"}')))
    assert answer["content"] == "Address Oslo fast"


def test_arun_runs_at_once_with_parents_kept(captured: Captured) -> None:
    """Async tools and plain ones in threads overlap, and each keeps the agent as its parent."""
    barrier = threading.Barrier(2, timeout=10)

    def wait(seconds: float) -> str:
        barrier.wait()
        return "waited"

    async def fetch(url: str) -> str:
        await asyncio.sleep(0.01)
        return url

    tools = llmtrace.Tools(wait, fetch)

    @llmtrace.agent
    async def run() -> list[Any]:
        message = chat(("a", "wait", '{"seconds": 1}'), ("b", "wait", '{"seconds": 2}'), ("c", "fetch", '{"url": "u"}'))
        return await tools.arun(message)

    answers = asyncio.run(run())
    assert [(answer["tool_call_id"], answer["content"]) for answer in answers] == [("a", "waited"), ("b", "waited"), ("c", "u")]
    [agent] = [span for span in captured.spans if span.name == "invoke_agent run"]
    assert {span.parent_id for span in captured.spans if span is not agent} == {agent.span_id}


def test_async_tools_in_run() -> None:
    """run() drives an async tool where no loop runs, and says what to do where one does."""

    async def fetch() -> str:
        return "page"

    tools = llmtrace.Tools(fetch)
    assert tools.run(chat(("x", "fetch", "{}")))[0]["content"] == "page"

    async def inside() -> None:
        tools.run(chat(("x", "fetch", "{}")))

    with pytest.raises(ConfigurationError, match="arun"):
        asyncio.run(inside())


def _hidden(function: Any) -> Any:
    @functools.wraps(function)
    def plainly(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return plainly


def _as_task(function: Any) -> Any:
    @functools.wraps(function)
    def started(*args: Any, **kwargs: Any) -> Any:
        return asyncio.ensure_future(function(*args, **kwargs))

    return started


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("hide", [_hidden, _as_task])
def test_an_async_tool_behind_a_plain_decorator_is_refused_in_a_loop_too(hide: Any, captured: Captured) -> None:
    """Where only its result shows that a tool is async, it does not run, nothing warns, and the program is told what to do."""

    async def fetch() -> str:
        ran.append("fetch")
        return "x"

    async def nested() -> AsyncIterator[str]:
        yield "x"

    tools = llmtrace.Tools(hide(fetch), _hidden(nested))

    async def inside(name: str) -> None:
        try:
            tools.run(chat(("a", name, "{}")))
        finally:
            await asyncio.sleep(0)

    for name in ("fetch", "nested"):
        with pytest.raises(ConfigurationError, match=f"{name} is async .*arun"):
            asyncio.run(inside(name))
    gc.collect()
    assert ran == []
    assert [span.failure is not None for span in captured.spans] == [True, True]
    if hide is _hidden:
        assert tools.run(chat(("a", "fetch", "{}")))[0]["content"] == "x"


def test_methods_are_tools_too() -> None:
    """A bound method offers no `self`, decorated or not."""

    class Shop:
        @llmtrace.tool
        def price(self, item: str) -> int:
            return len(item)

        def stock(self, item: str) -> int:
            return 0

    tools = llmtrace.Tools(Shop().price, Shop().stock)
    assert [list(definition.parameters["properties"]) for definition in tools] == [["item"], ["item"]]
    answers = tools.run(chat(("x", "price", '{"item": "kettle"}'), ("y", "stock", '{"item": "kettle"}')))
    assert [answer["content"] for answer in answers] == ["6", "0"]


def test_two_tools_of_one_name_are_refused() -> None:
    """The model could not tell them apart."""
    with pytest.raises(ConfigurationError, match="two tools are called 'add'"):
        llmtrace.Tools(add, add)


def test_a_tool_is_not_made_a_tool_again() -> None:
    """Each call would have two spans, and two policies that may contradict one another."""

    class Desk:
        @llmtrace.tool
        def open(self) -> None: ...

    for function in (add, Desk().open, staticmethod(add)):
        for options in ({}, {"name": "other"}):
            with pytest.raises(ConfigurationError, match=r"already is a tool.*decorate it once"):
                llmtrace.tool(**options)(function)  # type: ignore[call-overload]
    assert len(llmtrace.Tools(add, Desk().open)) == 2
    assert llmtrace.tool(llmtrace.span(Desk)) is not None


def test_unusable_options_are_refused() -> None:
    """Wrong words for a policy say which are right."""
    with pytest.raises(ConfigurationError, match="record, raise, reply, repair"):
        llmtrace.Tools(add, on_invalid="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'chat' or 'responses'"):
        llmtrace.Tools(add).openai("resp")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="reply"):
        llmtrace.Tools(add, on_fail="ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="record, raise"):
        llmtrace.tool(on_invalid="never")  # type: ignore[call-overload]


def test_slow_tools_are_timed() -> None:
    """The span covers the run of the function."""

    def slow() -> None:
        time.sleep(0.02)

    from llmtrace.recorder.identity import Identity

    with capture(identity=Identity()) as captured:
        llmtrace.Tools(slow).run(chat(("x", "slow", "{}")))
    assert (captured.spans[0].duration or 0) >= 0.02


def test_arun_leaves_nothing_running(captured: Captured) -> None:
    """Under on_fail="raise" the first error in order is raised when all calls have ended; each has its span."""
    ended = []

    async def fails() -> None:
        raise ConnectionError("no route")

    async def slow() -> None:
        await asyncio.sleep(0.02)
        ended.append("slow")

    def plain() -> None:
        time.sleep(0.02)
        ended.append("plain")

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await llmtrace.Tools(fails, slow, plain, on_fail="raise").arun(
                chat(("a", "slow", "{}"), ("b", "fails", "{}"), ("c", "plain", "{}"))
            )
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert sorted(ended) == ["plain", "slow"]
    assert sorted(str(span.failure and span.failure.type) for span in captured.spans) == ["ConnectionError", "None", "None"]


def test_arun_cancelled_ends_every_span(captured: Captured) -> None:
    """Also those of plain tools that wait for a thread."""

    def plain(n: int) -> None:
        time.sleep(0.1)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        calls = [(str(n), "plain", f'{{"n": {n}}}') for n in range(3)]
        task = asyncio.create_task(llmtrace.Tools(plain).arun(chat(*calls)))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [str(span.failure and span.failure.type) for span in captured.spans] == ["asyncio.exceptions.CancelledError"] * 3
    assert all(span.end is not None for trace in captured.traces for span in trace.spans)


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [Unreadable(), StopIteration(3), RuntimeError("x")])
def test_whatever_a_tool_raises_is_told(error: Exception) -> None:
    """An exception whose text cannot be read, or one that cannot cross an event loop, is an answer too."""

    def broken() -> None:
        raise error

    tools = llmtrace.Tools(broken)
    assert type(error).__name__ in tools.run(chat(("x", "broken", "{}")))[0]["content"]

    async def main() -> Any:
        return await asyncio.wait_for(tools.arun(chat(("x", "broken", "{}"))), 5)

    assert asyncio.run(main())[0]["content"].startswith("Error: ")


def test_what_a_tool_awaits_or_yields_is_its_result(captured: Captured) -> None:
    """Generators are drained, coroutines awaited, also below a decorator that knows nothing of async."""

    async def fetch(n: int) -> int:
        await asyncio.sleep(0)
        return n

    def passing_on(n: int) -> Any:
        return fetch(n)

    def count(n: int) -> Any:
        yield from range(n)

    async def acount(n: int) -> Any:
        for item in range(n):
            yield item

    tools = llmtrace.Tools(fetch, passing_on, count, acount)
    message = chat(*((name, name, '{"n": 2}') for name in ("fetch", "passing_on", "count", "acount")))
    plain = tools.run(message)
    assert asyncio.run(tools.arun(message)) == plain
    assert [answer["content"] for answer in plain] == ["2", "2", "[0,1]", "[0,1]"]
    assert sorted(str(done.result) for done in executions(captured)) == ["2"] * 4 + ["[0, 1]"] * 4


def test_a_url_is_told_as_text(captured: Captured) -> None:
    """A URL of pydantic is text in the answer, and is not said to be a wrong one."""

    class Page(BaseModel):
        url: HttpUrl

    @llmtrace.tool
    def find() -> Page:
        return Page(url=HttpUrl("https://shop.example/orders"))

    call = {
        "role": "assistant",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}],
    }
    (answer,) = llmtrace.Tools(find).run(call)
    assert json.loads(answer["content"]) == {"url": "https://shop.example/orders"}
    assert [span.violations for span in captured.spans] == [()]


def test_an_answer_is_told_whole() -> None:
    """However long: bounding it is the program's to do."""

    def numbers() -> list[int]:
        return list(range(300_000))

    assert json.loads(llmtrace.Tools(numbers).run(chat(("x", "numbers", "{}")))[0]["content"]) == list(range(300_000))


def test_a_mock_is_a_tool() -> None:
    """An object that has every attribute is not taken for one of ours."""
    mock = AsyncMock(return_value=5)
    mock.__name__ = "look"
    tools = llmtrace.Tools(mock)
    assert tools.openai()[0]["function"]["name"] == "look"
    assert tools.run(chat(("x", "look", "{}")))[0]["content"] == "5"


def test_messages_without_content() -> None:
    """What providers send when they have nothing to say: no calls, no answers."""
    tools = llmtrace.Tools(add)
    for message in (
        {"type": "message", "role": "assistant", "content": []},
        {"object": "response", "output": []},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
        {"object": "response", "output": [{"type": "web_search_call", "id": "w"}]},
    ):
        assert tools.run(message) == []


def test_sdk_objects_of_openai() -> None:
    """The SDK's own objects, of both of its APIs."""
    from openai.types.chat import ChatCompletionMessage
    from openai.types.responses import ResponseFunctionToolCall

    message = ChatCompletionMessage.model_validate(chat(("x", "add", '{"a": 1}')))
    assert llmtrace.Tools(add).run(message) == [{"role": "tool", "tool_call_id": "x", "content": "2"}]
    item = ResponseFunctionToolCall(type="function_call", call_id="c", name="add", arguments='{"a": 1}')
    answer = {"type": "function_call_output", "call_id": "c", "output": "2"}
    assert llmtrace.Tools(add).run([item]) == llmtrace.Tools(add).run(item) == [answer]


def test_a_legacy_function_call_is_not_passed_over() -> None:
    """The form before tool calls is run and answered in its own form."""
    message = {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": '{"a": 1}'}}
    assert llmtrace.Tools(add).run(message) == [{"role": "function", "name": "add", "content": "2"}]
