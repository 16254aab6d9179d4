"""What models were asked to correct and did, by model."""

from __future__ import annotations

import json
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import OutputInvalid
from llmtrace.statistics import Statistics
from llmtrace.testing import Captured


@llmtrace.tool(on_invalid="reply")
def refund(amount: float) -> float:
    return amount


TOOLS = llmtrace.Tools(refund)
NUMBER = {"type": "number"}


def ask(model: str, name: str, amount: Any, call_id: str) -> None:
    function = {"name": name, "arguments": json.dumps({"amount": amount})}
    message = {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    with llmtrace.inference("local", model=model, tools=TOOLS.definitions) as call:
        call.output = message
    TOOLS.run(message)


def answer(model: str, text: str) -> str:
    with llmtrace.inference("local", model=model) as call:
        call.output = text
    return text


@llmtrace.agent
def agent() -> None:
    ask("good", "refund", "a lot", "1")
    ask("good", "refund", "more", "2")
    ask("good", "refund", 3, "3")
    ask("bad", "refnd", 3, "4")
    texts = iter(["three", "3"])
    llmtrace.validated(NUMBER, lambda _: answer("good", next(texts)))
    llmtrace.validated(NUMBER, lambda _: answer("good", "3"))
    with pytest.raises(OutputInvalid):
        llmtrace.validated(NUMBER, lambda _: answer("bad", "three"))


def test_corrections_by_model(captured: Captured) -> None:
    """A row of refused calls is one correction, of the model that began it; an answer that fits at once is none."""
    agent()
    statistics = Statistics("model")
    statistics.add(captured.trace)
    counts = {group.key[0]: (group.corrections, group.corrected) for group in statistics.groups.values()}
    assert counts == {"good": (2, 2), "bad": (2, 0)}
