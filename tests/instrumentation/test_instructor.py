"""instructor: the calls that one structured answer takes are below one step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from spans_of import failure_of

instructor = pytest.importorskip("instructor")

import openai  # noqa: E402
import pydantic  # noqa: E402
from instructor.core.exceptions import InstructorRetryException  # noqa: E402

from llmtrace.demo.server import ModelServer  # noqa: E402
from llmtrace.model import Custom, Inference  # noqa: E402
from llmtrace.testing import capture  # noqa: E402


class Order(pydantic.BaseModel):
    order_id: int


def script(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Answer wrongly at first, and rightly when the refusal is among the messages."""
    arguments = '{"order_id": "seven"}' if len(messages) == 1 else '{"order_id": 7}'
    call = {"id": "call_1", "type": "function", "function": {"name": "Order", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_attempts_are_below_one_step(asynchronous: bool) -> None:
    """The refused attempt and the one that is accepted; the step has what the program got."""
    asked: dict[str, Any] = {"response_model": Order, "max_retries": 2}
    asked |= {"model": "m", "messages": [{"role": "user", "content": "Which order?"}]}
    with ModelServer(script, pace=0) as server, capture(instrument=("instructor", "openai"), redact=False) as captured:
        where: dict[str, Any] = {"base_url": server.url, "api_key": "none"}
        if asynchronous:
            order = asyncio.run(instructor.from_openai(openai.AsyncOpenAI(**where)).chat.completions.create(**asked))
        else:
            order = instructor.from_openai(openai.OpenAI(**where)).chat.completions.create(**asked)
    assert order.order_id == 7
    *attempts, step = captured.spans
    assert step.name == "instructor Order"
    assert step.operation == Custom({"response_model": "Order"}, {"order_id": 7}, has_result=True)
    assert [type(span.operation) for span in attempts] == [Inference, Inference]
    assert {span.parent_id for span in attempts} == {step.span_id}
    assert [bool(span.violations) for span in attempts] == [True, False]


def test_an_answer_that_never_has_its_form_is_a_failure() -> None:
    asked: dict[str, Any] = {"response_model": Order, "max_retries": 1, "model": "m"}
    asked |= {"messages": [{"role": "user", "content": "Which order?"}]}
    server, recording = ModelServer(lambda _: script([{}]), pace=0), capture(instrument=("instructor", "openai"), redact=False)
    with server, recording as captured, pytest.raises(InstructorRetryException):
        client = instructor.from_openai(openai.OpenAI(base_url=server.url, api_key="none"))
        client.chat.completions.create(**asked)
    step = captured.spans[-1]
    assert failure_of(step).type.endswith("InstructorRetryException")
