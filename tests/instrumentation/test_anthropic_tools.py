"""Tools with the anthropic client: `llmtrace.Tools`, the beta tool runner, and the spans that the SDK makes itself."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic_server import GIVEN, MODEL, Server, answered, message, text, tool_use
from kit import json_reply
from server import Server as Loopback
from spans_of import spans

import llmtrace
from llmtrace.errors import BudgetExceeded
from llmtrace.model import AgentInvocation, Failure, Inference, ToolExecution
from llmtrace.testing import Captured, capture

INSTRUMENT = ("anthropic",)


def kinds(captured: Captured) -> list[type]:
    return [type(span.operation) for span in captured.trace.spans]


def test_tools_of_llmtrace_with_the_real_client(captured: Captured) -> None:
    """Over a real connection: the bad call is answered, the good one runs; one trace, with the verdicts in it."""

    @llmtrace.tool(on_invalid="reply")
    def refund(order_id: str, amount: float) -> dict[str, Any]:
        "Refund an order."
        return {"order_id": order_id, "amount": amount}

    tools = llmtrace.Tools(refund)
    turns = [
        message(text("One moment."), tool_use({"order_id": "7", "amount": "42 EUR"}, name="refund"), stop="tool_use"),
        message(tool_use({"order_id": "7", "amount": 42}, id="toolu_2", name="refund"), stop="tool_use"),
        message(text("Refunded.")),
    ]

    @llmtrace.agent
    def support(task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        while True:
            answer = client.messages.create(**{**GIVEN, "messages": messages}, tools=tools.anthropic())
            messages.append({"role": "assistant", "content": answer.content})
            results = tools.run(answer)
            if not results:
                return str(answer.content[0].text)
            messages += results

    with Loopback(*map(json_reply, turns)) as server:
        client: Any = anthropic.Anthropic(api_key="sk-test", base_url=server.url, max_retries=0)
        assert support("Refund order 7 with 42 EUR.") == "Refunded."
        client.close()
    trace = captured.trace
    assert trace.health == "recovered"
    agent, first, refused, second, ran, last = trace.spans
    assert [type(span.operation) for span in trace.spans] == [
        AgentInvocation, Inference, ToolExecution, Inference, ToolExecution, Inference,
    ]  # fmt: skip
    assert all(span.parent_id == agent.span_id for span in trace.spans[1:])
    assert [(violation.code, violation.pointer, violation.call_id) for violation in first.violations] == [
        ("wrong_type", "/amount", "toolu_1")
    ]
    assert [(violation.code, violation.executed) for violation in refused.violations] == [("wrong_type", False)]
    assert (second.violations, ran.failure, ran.violations) == ((), None, ())
    assert isinstance(ran.operation, ToolExecution)
    assert (ran.operation.call_id, ran.operation.result) == ("toolu_2", {"order_id": "7", "amount": 42.0})
    assert isinstance(last.operation, Inference)
    assert [message.role for message in last.operation.input] == ["user", "assistant", "user", "assistant", "user"]


# -- the beta tool runner


@anthropic.beta_tool
def look_up(order_id: str) -> str:
    "Look an order up."
    if order_id == "8":
        raise ValueError("no such order")
    return f"order {order_id}: sent"


@anthropic.beta_async_tool
async def alook_up(order_id: str) -> str:
    "Look an order up."
    await asyncio.sleep(0)
    if order_id == "8":
        raise ValueError("no such order")
    assert llmtrace.inject()["traceparent"]  # the span of the tool is current in it
    return f"order {order_id}: sent"


def _replies(name: str) -> tuple[Any, Any]:
    both = tool_use(name=name), tool_use({"order_id": "8"}, id="toolu_2", name=name)
    return answered(*both, stop="tool_use"), answered()


def _run_sync() -> None:
    client = Server(*_replies("look_up")).client()
    client.beta.messages.tool_runner(tools=[look_up], **GIVEN).until_done()


def _run_async() -> None:
    async def main() -> None:
        client = Server(*_replies("alook_up")).aclient()
        await client.beta.messages.tool_runner(tools=[alook_up], **GIVEN).until_done()

    asyncio.run(main())


@pytest.mark.parametrize("run", [_run_sync, _run_async])
def test_the_tool_runner_inside_an_agent(captured: Captured, run: Any) -> None:
    """Each of its calls is one inference with the tools on offer; each tool it runs is one execution, joined by call id."""
    with llmtrace.agent("a"):
        run()
    agent, first, ran, failed, last = captured.trace.spans
    assert [type(span.operation) for span in (first, ran, failed, last)] == [
        Inference, ToolExecution, ToolExecution, Inference,
    ]  # fmt: skip
    assert all(span.parent_id == agent.span_id for span in (first, ran, failed, last))
    assert isinstance(first.operation, Inference)
    (tool,) = first.operation.tools
    assert tool.parameters["required"] == ["order_id"]
    assert isinstance(ran.operation, ToolExecution)
    assert (ran.operation.call_id, ran.operation.arguments, ran.operation.result) == (
        "toolu_1", {"order_id": "7"}, "order 7: sent",
    )  # fmt: skip
    assert (ran.operation.definition, ran.failure) == (tool, None)
    assert isinstance(failed.operation, ToolExecution)
    assert failed.operation.call_id == "toolu_2"
    assert failed.failure == Failure("tool_error", "ValueError('no such order')")


def test_invalid_arguments_are_found_before_the_tool_runs(captured: Captured) -> None:
    """The runner answers the model by itself; the execution carries the verdict that names the field."""
    client = Server(answered(tool_use({"order": "7"}), stop="tool_use"), answered()).client()
    client.beta.messages.tool_runner(tools=[look_up], **GIVEN).until_done()
    (ran,) = [span for span in spans(captured) if isinstance(span.operation, ToolExecution)]
    assert ("missing", "/order_id") in {(violation.code, violation.pointer) for violation in ran.violations}
    assert ran.failure is not None


def test_a_tool_of_llmtrace_makes_its_span_itself(captured: Captured) -> None:
    """A function that is decorated twice is executed once, and recorded once."""

    @llmtrace.tool
    def look_up(order_id: str) -> str:
        "Look an order up."
        return f"order {order_id}: sent"

    client = Server(answered(tool_use(), stop="tool_use"), answered()).client()
    with llmtrace.agent("a"):
        client.beta.messages.tool_runner(tools=[anthropic.beta_tool(look_up)], **GIVEN).until_done()
    assert kinds(captured) == [AgentInvocation, Inference, ToolExecution, Inference]
    (ran,) = [span.operation for span in spans(captured) if isinstance(span.operation, ToolExecution)]
    assert ran.call_id == "toolu_1"


def test_a_budget_stops_the_runner(captured: Captured) -> None:
    """What the program asked to be raised is raised out of the runner."""
    client = Server(*_replies("look_up")).client()
    with pytest.raises(BudgetExceeded), llmtrace.Budget(calls=1):
        client.beta.messages.tool_runner(tools=[look_up], **GIVEN).until_done()
    assert [type(span.operation) for span in spans(captured)][:1] == [Inference]


# -- the SDK's own tracing


def test_a_call_has_one_span_in_the_programs_provider(app_provider: Any) -> None:
    """The SDK can make spans itself; where llmtrace records the call, its own is left out, of calls and of tools."""
    with capture(instrument=("anthropic",)) as captured:
        _run_sync()
        recorded = {span.span_id for span in spans(captured)}
    exported = app_provider.exported.get_finished_spans()
    names = sorted(span.name for span in exported if f"{span.context.span_id:016x}" not in recorded)
    assert names in ([], ["anthropic.messages.tool_runner"])
    assert sorted(span.name for span in exported if f"{span.context.span_id:016x}" in recorded) == [
        f"chat {MODEL}", f"chat {MODEL}", "execute_tool look_up", "execute_tool look_up",
    ]  # fmt: skip


def test_a_provider_given_to_the_client_keeps_its_spans(captured: Captured) -> None:
    """What the program asked the SDK for, by name, it gets; the server is told of the SDK's span then, below ours."""
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor(memory))
    server = Server(answered())
    server.client(open_telemetry={"tracer_provider": provider}).messages.create(**GIVEN)
    (theirs,), (ours,) = memory.get_finished_spans(), spans(captured)
    assert f"{theirs.parent.span_id:016x}" == ours.span_id
    assert server.requests[0].headers["traceparent"].split("-")[2] == f"{theirs.context.span_id:016x}"


def test_a_client_that_shall_not_propagate_does_not(captured: Captured) -> None:
    """The SDK's option goes for us too."""
    server = Server(answered())
    server.client(open_telemetry={"propagation": False}).messages.create(**GIVEN)
    assert "traceparent" not in server.requests[0].headers
    assert len(spans(captured)) == 1
