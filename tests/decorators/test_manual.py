"""Inferences and retrievals recorded by hand are checked, counted and judged as instrumented ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage

import llmtrace
from llmtrace.errors import BudgetExceeded, ConfigurationError
from llmtrace.model import Inference, Message, Retrieval, Text, ToolCall, Usage
from llmtrace.testing import capture

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is order A-1?"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"order_id": 5}'}}


@llmtrace.tool
def look_up(order_id: str) -> str:
    "Look an order up."
    return f"{order_id} is on its way"


def test_an_inference_by_hand_is_as_an_instrumented_one() -> None:
    """Messages, tools, answer, usage and cost; a wrong tool call is found where the model speaks."""
    prices = {"m-1": {"input": 1_000_000, "output": 2_000_000}}
    with (
        capture(prices=prices) as captured,
        llmtrace.agent("support"),
        llmtrace.inference(
            "acme", model="m-1", messages=QUESTION, tools=llmtrace.Tools(look_up), parameters={"temperature": 0.5}
        ) as call,
    ):
        call.output = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        call.usage = {"prompt_tokens": 12, "completion_tokens": 5, "other": 1}
        call.finish_reason, call.response_id, call.response_model = "tool_calls", "r1", "m-1-large"
        call.set_attribute("route", "eu")
    span, agent = captured.spans
    operation = span.operation
    assert isinstance(operation, Inference)
    assert (span.name, span.parent_id, span.attributes["route"]) == ("chat m-1", agent.span_id, "eu")
    assert [message.role for message in operation.input] == ["system", "user"]
    assert operation.output[0].tool_calls() == (ToolCall("look_up", {"order_id": 5}, "c1"),)
    assert operation.usage == Usage(12, 5)
    assert (operation.cost_usd, operation.finish_reasons, operation.response_id) == (22.0, ("tool_calls",), "r1")
    assert (operation.response_model, dict(operation.parameters)) == ("m-1-large", {"temperature": 0.5})
    assert [violation.pointer for violation in span.violations] == ["/order_id"]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("Hello.", "Hello."),
        ({"role": "assistant", "content": "Hello."}, "Hello."),
        ([{"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}], "Hello."),
        (Message("assistant", (Text("Hello."),)), "Hello."),
        (ChatCompletionMessage(role="assistant", content="Hello."), "Hello."),
        (None, None),
    ],
)
def test_answers_come_in_many_forms(output: Any, text: str | None) -> None:
    """A text, a dict, an object of a client, a list of them; or nothing."""
    with capture(signals=[]) as captured, llmtrace.inference("acme", messages="Hi.", name="hello") as call:
        call.output = output
    (span,) = captured.spans
    assert isinstance(span.operation, Inference)
    assert span.name == "hello"
    assert [message.text() for message in span.operation.input] == ["Hi."]
    assert [message.text() for message in span.operation.output] == ([] if text is None else [text])


def test_it_counts_for_budgets() -> None:
    """A call that would be one too many does not start."""
    with capture() as captured, pytest.raises(BudgetExceeded), llmtrace.Budget(calls=1):
        for _ in range(2):
            with llmtrace.inference("acme", model="m"):
                pass
    assert len(captured.spans) == 1


def test_a_call_that_fails_keeps_what_is_known() -> None:
    """The error is recorded and reaches the program; a stream that broke is partial."""
    inference = llmtrace.inference("acme", model="m", stream=True)
    with capture(signals=[]) as captured, pytest.raises(ConnectionError), inference as call:
        call.first_chunk()
        call.output = "Hel"
        raise ConnectionError("gone")
    (span,) = captured.spans
    assert isinstance(span.operation, Inference)
    assert (span.operation.partial, span.operation.output[0].text()) == (True, "Hel")
    assert (span.operation.time_to_first_chunk or 0) > 0
    assert span.failure is not None
    assert span.failure.type == "ConnectionError"


def test_async_blocks() -> None:
    """Side by side: each has its own parent and its own answer."""

    async def ask(number: int) -> None:
        async with llmtrace.agent(f"agent {number}"), llmtrace.inference("acme", model="m", messages=str(number)) as call:
            await asyncio.sleep(0)
            call.output = str(number)

    async def main() -> None:
        await asyncio.gather(*(ask(number) for number in range(3)))

    with capture(signals=[]) as captured:
        asyncio.run(main())
    names = {span.span_id: span.name for span in captured.spans}
    calls = [span for span in captured.spans if isinstance(span.operation, Inference)]
    assert sorted((names[str(span.parent_id)], span.operation.output[0].text()) for span in calls) == [  # type: ignore[union-attr]
        (f"invoke_agent agent {number}", str(number)) for number in range(3)
    ]


def test_a_retrieval_by_hand() -> None:
    """Query, documents and source; nothing found is a finding, as in an instrumented one."""
    with capture() as captured, llmtrace.agent("support"):
        with llmtrace.retrieval("refund policy", source="handbook", top_k=2, provider="acme") as search:
            search.documents = ["Refunds take 5 days.", {"id": "d2", "score": 0.5}]
        with llmtrace.retrieval("nonsense") as search:
            search.documents = []
    full, empty, _ = captured.spans
    assert isinstance(full.operation, Retrieval)
    assert (full.operation.query, full.operation.data_source_id, full.operation.top_k) == ("refund policy", "handbook", 2)
    assert full.operation.documents == [{"content": "Refunds take 5 days."}, {"id": "d2", "score": 0.5}]
    assert full.evaluations == ()
    assert [evaluation.name for evaluation in empty.evaluations] == ["empty_result"]


def test_without_configure_nothing_is_recorded_and_nothing_breaks() -> None:
    """The block runs, and its object takes everything."""
    with llmtrace.inference("acme", messages=QUESTION, tools=llmtrace.Tools(look_up)) as call:
        call.output, call.usage = "x", {"input_tokens": 1}
        call.first_chunk()
        call.add_event("retried", {"times": 2})
    with llmtrace.retrieval("x") as search:
        search.documents = [object()]
    assert (call.trace_id, call.span_id, search.trace_id) == (None, None, None)


def test_what_cannot_be_read_costs_itself_only() -> None:
    """A usage that is no mapping, counts that are no numbers: the rest is recorded."""
    with capture(signals=[]) as captured:
        with llmtrace.inference("acme", model="m") as call:
            call.output, call.usage = "x", 5  # type: ignore[assignment]
        with llmtrace.inference("acme", model="m") as call:
            call.usage = {"input_tokens": "many", "output_tokens": 3}
    first, second = (span.operation for span in captured.spans)
    assert isinstance(first, Inference)
    assert isinstance(second, Inference)
    assert (first.usage, first.output[0].text()) == (None, "x")
    assert second.usage == Usage(None, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: llmtrace.inference(5), "inference(5): expected the provider's name"),  # type: ignore[arg-type]
        (lambda: llmtrace.inference("a", model=5), "inference(model=5): expected a text"),  # type: ignore[arg-type]
        (lambda: llmtrace.inference("a", tools=5), "inference(tools=5): expected Tools or a list"),  # type: ignore[arg-type]
        (lambda: llmtrace.inference("a", tools=[look_up]), "a function goes into Tools"),
        (lambda: llmtrace.inference("a", operation="talk"), "inference(operation='talk'): expected one of chat"),  # type: ignore[arg-type]
        (lambda: llmtrace.inference("a", parameters=5), "inference(parameters=5): expected a mapping"),  # type: ignore[arg-type]
        (lambda: llmtrace.retrieval(5), "retrieval(5): expected the text that is searched for"),  # type: ignore[arg-type]
        (lambda: llmtrace.retrieval("a", top_k=0), "retrieval(top_k=0): expected a number of documents, 1 or more"),
    ],
)
def test_a_wrong_value_is_an_error_at_once(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        make()
    assert message in str(error.value)


def test_a_block_is_for_one_call() -> None:
    """A second use would mix two answers."""
    block = llmtrace.inference("acme")
    with block:
        pass
    with pytest.raises(ConfigurationError, match="make one for each call"), block:
        pass
