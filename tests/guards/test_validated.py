"""`validated`: what the model is told, what the program gets or is told, and what the trace holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Any, Literal

import pydantic
import pytest
from examples.stand_in_anthropic import scripted
from openai import AsyncOpenAI, OpenAI

import llmtrace
from llmtrace.demo.server import ModelServer
from llmtrace.errors import BudgetExceeded, ConfigurationError, OutputInvalid
from llmtrace.guards.completion import answer_of, usage_of
from llmtrace.model import Custom, Inference, Span, Trace, Usage
from llmtrace.testing import capture


class Order(pydantic.BaseModel):
    order_id: str = pydantic.Field(pattern=r"^[A-Z]{2}-\d+$")
    total: float


SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"], "title": "Sum"}
BAD, BETTER, GOOD = (
    '{"order_id": "one"}',
    '```json\n{"order_id": "KS-1", "total": "?"}\n```',
    '{"order_id": "KS-1", "total": 2}',
)


@pytest.fixture
def asked() -> list[Any]:
    return []


@pytest.fixture
def server(asked: list[Any]) -> Iterator[ModelServer]:
    """A model that needs two corrections."""

    def answer(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        asked.append(messages)
        return {"role": "assistant", "content": (BAD, BETTER, GOOD)[min(2, len(messages) // 2)]}

    with ModelServer(answer, pace=0) as running:
        yield running


def the_span(trace: Trace) -> Span:
    (span,) = (span for span in trace.spans if "llmtrace.validated.name" in span.attributes)
    return span


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("form", "answer", "expected"),
    [
        (Literal["a", "b"], "b", "b"),
        (Literal["a", "b"], ' "b"\n', "b"),
        (Literal["1", "2"], "2", "2"),
        (Literal["a", "b"], "```\na\n```", "a"),
        (Color, " red\n", Color.RED),
        (str, "It is late.", "It is late."),
        (str, "```\nIt is late.\n```", "It is late."),
        (date, "2026-01-31", date(2026, 1, 31)),
        ({"enum": ["a", "b"]}, "a", "a"),
        ({"type": "string"}, "It is late.", "It is late."),
        ({"type": "string"}, "2", "2"),
        ({"type": ["string", "null"]}, "It is late.", "It is late."),
        (int, "2", 2),
    ],
)
def test_a_text_is_read_without_the_quotes_of_json(form: Any, answer: str, expected: Any) -> None:
    """Where each valid answer is a text, a model writes it as it is."""
    assert llmtrace.validated(form, lambda more: answer, retries=0) == expected


def test_a_text_that_is_not_valid_is_corrected_as_text() -> None:
    """The model is told which texts are valid, not that its answer is no JSON."""
    said: list[Any] = []
    assert llmtrace.validated(Literal["a", "b"], lambda more: (said.extend(more), "b" if more else "c")[1]) == "b"
    feedback = said[-1]["content"]
    assert "Input should be 'a' or 'b'" in feedback
    assert "JSON" not in feedback
    with pytest.raises(OutputInvalid, match="JSON"):
        llmtrace.validated(int, lambda more: "two", retries=0)


MESSAGES: Any = [{"role": "user", "content": "Which order?"}]


@pytest.mark.parametrize("how", ["sync", "async", "a plain function around an async client"])
def test_all_faults_at_once_until_the_answer_fits(server: ModelServer, asked: list[Any], how: str) -> None:
    def ask() -> Order:
        if how == "sync":
            client = OpenAI(base_url=server.url, api_key="k")
            return llmtrace.validated(
                Order, lambda more: client.chat.completions.create(model="m", messages=[*MESSAGES, *more])
            )
        many = AsyncOpenAI(base_url=server.url, api_key="k")

        async def create(more: Any) -> Any:
            return await many.chat.completions.create(model="m", messages=[*MESSAGES, *more])

        async def main() -> Order:
            return await llmtrace.validated(Order, create if how == "async" else lambda more: create(more))

        return asyncio.run(main())

    with capture(instrument=("openai",), signals=[]) as captured:
        assert llmtrace.agent(ask)() == Order(order_id="KS-1", total=2)
    assert [len(messages) for messages in asked] == [1, 3, 5]
    assert asked[1][1] == {"role": "assistant", "content": BAD}
    feedback = asked[1][2]["content"]
    assert "2 faults" in feedback
    assert "- /order_id: String should match pattern" in feedback
    assert "- /total: Field required" in feedback
    example = json.loads(feedback.split("made-up values: ")[1].splitlines()[0])
    Order.model_validate(example)
    span = the_span(captured.trace)
    calls = [other for other in captured.trace.spans if isinstance(other.operation, Inference)]
    assert {call.parent_id for call in calls} == {span.span_id}
    assert span.attributes["llmtrace.validated.attempts"] == 3
    assert span.attributes["llmtrace.validated.passed"] is True
    usages = [call.operation.usage for call in calls if isinstance(call.operation, Inference)]
    assert span.attributes["llmtrace.validated.usage.input_tokens"] == sum(usage.input_tokens or 0 for usage in usages if usage)
    assert isinstance(span.operation, Custom)
    assert span.operation.result["value"] == {"order_id": "KS-1", "total": 2.0}
    assert [len(attempt["faults"]) for attempt in span.operation.result["attempts"]] == [2, 1, 0]
    assert captured.trace.health == "ok"


def test_a_client_of_anthropic() -> None:
    wrong = {"type": "tool_use", "id": "t", "name": "order", "input": {"order_id": "one"}}
    client = scripted([wrong], [{"type": "text", "text": GOOD}])
    order = llmtrace.validated(
        Order, lambda more: client.messages.create(model="m", max_tokens=99, messages=[*MESSAGES, *more])
    )
    assert order.order_id == "KS-1"


def test_the_error_holds_what_happened() -> None:
    completion = {"choices": [{"message": {"content": BAD}}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    with capture(signals=[]) as captured, pytest.raises(OutputInvalid, match="none of 2 answers is a valid Order") as raised:
        llmtrace.validated(Order, lambda _: completion, retries=1)
    error = raised.value
    assert error.attempts == 2
    assert [fault.pointer for fault in error.faults] == ["/order_id", "/total"]
    assert error.usage == Usage(6, 4)
    assert error.completion is completion
    span = the_span(captured.trace)
    assert span.failure is not None
    assert span.attributes["llmtrace.validated.passed"] is False


@pytest.mark.parametrize("value", [{"total": 1}, '{"total": 1}', '```\n{"total": 1}\n```'])
def test_a_schema_gives_json(value: Any) -> None:
    assert llmtrace.validated(SCHEMA, lambda _: value) == {"total": 1}
    with pytest.raises(OutputInvalid, match="the answer is not a valid Sum: /total: must be a number"):
        llmtrace.validated(SCHEMA, lambda _: {"total": "x"}, retries=0)


@pytest.mark.parametrize("answer", ["", "Sure!", "\ud83d", None, 3, [], b"\xff", object(), "[" * 5000])
def test_answers_that_are_no_answer(answer: Any) -> None:
    """Each is a fault that the model is told of, whatever came."""
    for form in (Order, SCHEMA):
        more: list[Any] = []

        def call(follow_up: Any, answer: Any = answer, more: list[Any] = more) -> Any:
            more[:] = follow_up
            return answer if not follow_up else {"order_id": "KS-1", "total": 1}

        assert llmtrace.validated(form, call)  # type: ignore[call-overload]
        assert more[-1]["role"] == "user"
        assert all(message["content"].strip() for message in more)


def test_a_stream_is_no_answer_to_be_asked_for_again(server: ModelServer, asked: list[Any]) -> None:
    client = OpenAI(base_url=server.url, api_key="none")

    def call(_: Any) -> Any:
        return client.chat.completions.create(model="scripted", messages=[{"role": "user", "content": "?"}], stream=True)

    with pytest.raises(ConfigurationError, match="returned a stream"):
        llmtrace.validated(Order, call)
    assert len(asked) <= 1


def test_what_the_call_raises_passes_through() -> None:
    def call(_: Any) -> str:
        raise TimeoutError("no answer")

    with capture(signals=[]) as captured, pytest.raises(TimeoutError, match="no answer"):
        llmtrace.validated(Order, call)
    assert "llmtrace.validated.passed" not in the_span(captured.trace).attributes


@pytest.mark.parametrize("arguments", [(3, str), ({"type": 3}, str), (Order, "call"), (Order, str, -1), (Order, str, True)])
def test_wrong_values_are_named(arguments: Any) -> None:
    with pytest.raises(ConfigurationError, match="validated"):
        llmtrace.validated(*arguments[:2], **({"retries": arguments[2]} if len(arguments) > 2 else {}))


COMPLETIONS: list[tuple[Any, Any, Usage | None]] = [
    ({"output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "A"}]}],
      "usage": {"input_tokens": 1, "output_tokens": 2}}, "A", Usage(1, 2)),
    ({"output": [{"type": "function_call", "call_id": "c", "name": "order", "arguments": '{"a": 1}'}]}, {"a": 1}, None),
    ({"content": [{"type": "text", "text": "B"}], "role": "assistant", "usage": {"input_tokens": 4}}, "B", Usage(4)),
    ({"content": [{"type": "tool_use", "id": "t", "name": "order", "input": {"a": 2}}], "role": "assistant"}, {"a": 2}, None),
    ({"candidates": [{"content": {"parts": [{"text": "C"}], "role": "model"}}],
      "usage_metadata": {"prompt_token_count": 5, "candidates_token_count": 6}}, "C", Usage(5, 6)),
    ({"message": {"role": "assistant", "content": "D"}, "prompt_eval_count": 7, "eval_count": 8}, "D", Usage(7, 8)),
    ({"choices": [{"text": "E"}]}, "E", None),
    ({"order_id": "KS-1"}, {"order_id": "KS-1"}, None),
    ("F", "F", None),
]  # fmt: skip


@pytest.mark.parametrize(("completion", "answer", "usage"), COMPLETIONS)
def test_completions_of_many_clients(completion: Any, answer: Any, usage: Usage | None) -> None:
    assert answer_of(completion) == answer
    assert usage_of(completion) == usage


def test_one_budget_of_corrections_for_all_tools_and_outputs() -> None:
    """Names that the model makes up share it with refused calls and invalid outputs."""

    @llmtrace.tool(on_invalid="reply")
    def refund(amount: float) -> float:
        return amount

    tools = llmtrace.Tools(refund)
    calls = 0

    def model(_: Any) -> str:
        nonlocal calls
        with llmtrace.inference("local", model="m"):
            calls += 1
        return "{}"

    def step(name: str) -> None:
        model([])
        tools.run(
            {"tool_calls": [{"id": name, "type": "function", "function": {"name": name, "arguments": '{"amount": "x"}'}}]}
        )

    @llmtrace.agent(budget=llmtrace.Budget(corrections=4))
    def agent() -> None:
        step("refund")
        step("made_up")
        step("made_up_too")
        llmtrace.validated(Order, model, retries=9)

    with capture(signals=[]) as captured, pytest.raises(BudgetExceeded, match="budget of 4 corrections is spent") as raised:
        agent()
    assert raised.value.limit == "corrections"
    assert calls == 5
    assert captured.trace.health == "failed"
