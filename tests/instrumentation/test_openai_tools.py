"""The runner of tools in OpenAI's client (3.x): what it runs for the model is an execution, joined by call id."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai_responses_server import MODEL, TOOL, answered, call, text_item
from openai_server import Server
from spans_of import failure_of, spans

import llmtrace
from llmtrace.errors import BudgetExceeded
from llmtrace.model import Failure, Inference, Span, ToolExecution
from llmtrace.testing import Captured

runner = pytest.importorskip("openai.lib.responses_tool_runner")
browser = pytest.importorskip("openai.lib.browser")
computer = pytest.importorskip("openai.lib.computer")

ASK: Any = {"model": MODEL, "input": "Where is order 7?"}
STRICT = {**TOOL, "strict": True}
PIXEL = "data:image/png;base64,QUJD"


def look_up(arguments: dict[str, object]) -> str:
    if arguments["order_id"] == "8":
        raise LookupError("no such order")
    assert llmtrace.inject()["traceparent"]  # the span of the tool is current in it
    return f"order {arguments['order_id']}: sent"


async def alook_up(arguments: dict[str, object]) -> str:
    await asyncio.sleep(0)
    return look_up(arguments)


def run(*replies: Any, is_async: bool, **tools: Any) -> None:
    server = Server(*replies)
    if not is_async:
        runner.ResponsesToolRunner(**tools).run(server.client(), ASK, max_steps=3)
    else:
        asyncio.run(runner.AsyncResponsesToolRunner(**tools).run(server.aclient(), ASK, max_steps=3))


def registered(*, is_async: bool) -> Any:
    return [runner.AsyncRegisteredFunction(STRICT, alook_up) if is_async else runner.RegisteredFunction(STRICT, look_up)]


def executions(captured: Captured) -> list[tuple[Span, ToolExecution]]:
    return [(span, span.operation) for span in spans(captured) if isinstance(span.operation, ToolExecution)]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_is_an_execution_inside_an_agent(captured: Captured, is_async: bool) -> None:
    """Beside the calls of the model, which offer it; what it answers the model is its result."""
    with llmtrace.agent("a"):
        run(
            answered(call(), call('{"order_id": "9"}', call_id="call_2")),
            answered(text_item()),
            functions=registered(is_async=is_async),
            is_async=is_async,
        )
    agent, first, *ran, last = captured.trace.spans
    assert all(span.parent_id == agent.span_id for span in (first, *ran, last))
    assert isinstance(first.operation, Inference)
    assert isinstance(last.operation, Inference)
    operations = [span.operation for span in ran]
    assert operations == [
        ToolExecution(
            "look_up", {"order_id": number}, f"order {number}: sent", True, call_id, definition=first.operation.tools[0]
        )
        for number, call_id in (("7", "call_1"), ("9", "call_2"))
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_function_raises_is_its_failure(captured: Captured, is_async: bool) -> None:
    """The runner stops with an error of its own."""
    with pytest.raises(runner.ToolRunnerError):
        run(answered(call('{"order_id": "8"}')), functions=registered(is_async=is_async), is_async=is_async)
    ((span, operation),) = executions(captured)
    assert operation.call_id == "call_1"
    assert not operation.has_result
    assert (failure_of(span).type, failure_of(span).message) == ("LookupError", "no such order")


def test_a_tool_of_llmtrace_makes_its_span_itself(captured: Captured) -> None:
    """It is recorded once."""

    @llmtrace.tool
    def look_up(arguments: dict[str, object]) -> str:
        "Look an order up."
        return "sent"

    functions = [runner.RegisteredFunction(STRICT, look_up)]
    with llmtrace.agent("a"):
        run(answered(call()), answered(text_item()), functions=functions, is_async=False)
    assert len(executions(captured)) == 1


def test_a_budget_stops_the_runner(captured: Captured) -> None:
    """What the program asked to be raised is what stops it."""
    with pytest.raises((BudgetExceeded, runner.ToolRunnerError)), llmtrace.Budget(calls=1):
        run(answered(call()), answered(text_item()), functions=registered(is_async=False), is_async=False)
    assert isinstance(spans(captured)[0].operation, Inference)


class Tabs:
    """A browser with one page."""

    def state(self) -> Any:
        tab = {"id": "t", "url": "http://shop.example/", "title": "Shop", "active": True}
        return {"tabs": [tab]}

    def get_page_text(self, action: Any) -> str:
        if action["tab_id"] == "none":
            raise browser.BrowserError("no such tab")
        return "Order 7 is late."


class ATabs(Tabs):
    async def state(self) -> Any:
        return super().state()

    async def get_page_text(self, action: Any) -> str:
        return super().get_page_text(action)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_action_of_a_browser_is_an_execution(captured: Captured, is_async: bool) -> None:
    """One that did not succeed is a failure, though the runner raises nothing."""
    toolset = browser.AsyncBrowserToolset(ATabs()) if is_async else browser.BrowserToolset(Tabs())
    name = "browser_get_page_text"
    run(
        answered(call('{"tab_id": "t"}', name=name)),
        answered(call('{"tab_id": "none"}', name=name, call_id="call_2")),
        answered(text_item()),
        browser=toolset,
        is_async=is_async,
    )
    (fine, read), (failed, failed_read) = executions(captured)
    assert (read.name, read.arguments, read.call_id, fine.failure) == (name, {"tab_id": "t"}, "call_1", None)
    assert "Order 7 is late." in str(read.result)
    assert read.definition is not None
    assert failed_read.call_id == "call_2"
    assert failed.failure == Failure("tool_error", "no such tab")


class Screen:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda action: None

    def screenshot(self) -> Any:
        return {"type": "computer_screenshot", "image_url": PIXEL}


@pytest.mark.parametrize("in_runner", [False, True])
def test_an_action_of_a_computer_is_an_execution(captured: Captured, in_runner: bool) -> None:
    """In the runner, and in the loop of its own."""
    click = {"type": "click", "button": "left", "x": 1, "y": 2}
    request = {"type": "computer_call", "id": "cu_1", "call_id": "call_u", "status": "completed", "actions": [click]}
    replies = answered({**request, "pending_safety_checks": []}), answered(text_item())
    toolset = computer.ComputerToolset(Screen())
    if in_runner:
        run(*replies, computer=toolset, is_async=False)
    else:
        toolset.run(Server(*replies).client(), {**ASK, "tools": [{"type": "computer"}]})
    ((_, operation),) = executions(captured)
    assert (operation.name, operation.call_id) == ("computer", "call_u")
    assert operation.arguments["actions"][0]["x"] == 1
    assert operation.result["type"] == "computer_screenshot"
    assert "QUJD" not in str(operation.result)
