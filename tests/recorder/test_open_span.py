"""`current_span` reaches the innermost span from anywhere; `suppress` switches recording off for a block."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from opentelemetry import context as otel_context

import llmtrace
from llmtrace.demo.server import ModelServer
from llmtrace.errors import BudgetExceeded, InvalidToolCall
from llmtrace.testing import capture


@llmtrace.tool
def look_up(order_id: str) -> str:
    llmtrace.current_span().set_attribute("cache", "hit")
    return order_id


def test_the_innermost_span_takes_attributes_and_events() -> None:
    """In a decorated function, in a block, in what they call; and the ids are those of the span."""
    with capture() as captured, llmtrace.agent("support") as agent:
        llmtrace.current_span().set_attributes({"tier": "gold", "absent": None, "tags": ["a", "b"]})  # type: ignore[dict-item]
        look_up("A-1")
        llmtrace.current_span().add_event("escalated", {"to": "ada"})
        assert llmtrace.current_span().span_id == agent.span_id
        assert llmtrace.current_span().trace_id == agent.trace_id
    tool, span = captured.spans
    assert (tool.attributes["cache"], "cache" in span.attributes) == ("hit", False)
    assert (span.attributes["tier"], span.attributes["tags"], "absent" in span.attributes) == ("gold", ["a", "b"], False)
    assert [(event.name, event.attributes) for event in span.events] == [("escalated", {"to": "ada"})]


@pytest.mark.guard_may_log
def test_outside_of_any_span_it_does_nothing() -> None:
    """Where nothing is configured, and between two runs: the same calls, no error."""
    for _ in range(2):
        span = llmtrace.current_span()
        span.set_attribute("a", 1)
        span.set_attributes({"b": object()})  # type: ignore[dict-item]
        span.add_event("c")
        assert (span.trace_id, span.span_id) == (None, None)
    with capture() as captured:
        llmtrace.current_span().set_attribute("a", 1)
        with llmtrace.span("x"):
            llmtrace.current_span().set_attributes({"odd": object()})  # type: ignore[dict-item]
            llmtrace.current_span().set_attributes(5)  # type: ignore[arg-type]
    assert "object" in str(captured.spans[0].attributes["odd"])


def test_in_tasks_each_has_its_own() -> None:
    @llmtrace.span
    async def work(number: int) -> None:
        await asyncio.sleep(0)
        llmtrace.current_span().set_attribute("number", number)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(5)))

    with capture() as captured:
        asyncio.run(main())
    assert sorted(span.attributes["number"] for span in captured.spans) == list(range(5))


def answer(_: Any) -> dict[str, Any]:
    return {"content": "Hello."}


def suppress_by_opentelemetry() -> Any:
    """Its package is not installed with the oldest supported SDK."""
    return pytest.importorskip("opentelemetry.instrumentation.utils").suppress_instrumentation()


@pytest.mark.parametrize("block", [llmtrace.suppress, suppress_by_opentelemetry])
def test_nothing_is_recorded_inside_suppress(block: Any) -> None:
    """Instrumented clients, decorators, blocks; below it too. Before and after it all is recorded."""

    @llmtrace.span
    def step() -> int:
        llmtrace.current_span().set_attribute("inner", 1)
        return 5

    with ModelServer(answer, pace=0) as server, capture() as captured, llmtrace.agent("support"):
        client = openai.OpenAI(base_url=server.url, api_key="none")
        with block():
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "go"}])
            assert step() == 5
            assert look_up("A-1") == "A-1"
            with llmtrace.agent("inner") as inner, llmtrace.inference("acme") as call, llmtrace.workflow("w"):
                inner.set_attribute("a", 1)
                call.output = "x"
            assert inner.trace_id is None
        step()
    assert [span.name for span in captured.spans] == ["step", "invoke_agent support"]
    assert "inner" not in captured.spans[-1].attributes


def test_suppress_is_a_block_a_decorator_and_async() -> None:
    """As `context` is; also nested, and in generators."""

    @llmtrace.suppress()
    def quiet() -> None:
        with llmtrace.span("quiet"):
            pass

    async def main() -> None:
        async with llmtrace.suppress():
            with llmtrace.span("quiet"):
                await asyncio.sleep(0)
            with llmtrace.suppress():
                quiet()
            with llmtrace.span("quiet"):
                pass
        with llmtrace.span("loud"):
            pass

    before = otel_context.get_current()
    with capture() as captured:
        quiet()
        asyncio.run(main())
    assert [span.name for span in captured.spans] == ["loud"]
    assert otel_context.get_current() == before


def test_tools_keep_their_policy_where_recording_is_suppressed() -> None:
    """A check is not a recording: what must not run does not run. A budget does not count what nobody sees."""
    with capture(on_invalid="raise") as captured, llmtrace.suppress(), pytest.raises(InvalidToolCall):
        look_up(5)  # type: ignore[arg-type]
    assert captured.spans == ()
    with capture(), llmtrace.Budget(calls=0) as spent:
        with llmtrace.suppress(), llmtrace.inference("acme"):
            pass
        assert spent.calls == 0
        with pytest.raises(BudgetExceeded), llmtrace.inference("acme"):
            pass
