"""Budgets: recorded when crossed; enforced before the next model call starts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import BudgetExceeded, ConfigurationError
from llmtrace.model import Inference, Usage
from llmtrace.recorder import active
from llmtrace.testing import capture

PRICES = {"m": {"input": 1_000_000, "output": 0}}


def call(model: str = "m", tokens: int = 1) -> None:
    recorder = active()
    assert recorder is not None
    operation = Inference("openai", request_model=model, usage=Usage(tokens, 0))
    recorder.start(operation).end(operation)


def crossings(captured: Any) -> list[tuple[str, str | None]]:
    return [(span.name, found.label) for span in captured.spans for found in span.evaluations]


def test_record_marks_the_span_that_crossed_it_once() -> None:
    """Under record the run goes on; one evaluation says where the budget was crossed."""
    with capture(prices=PRICES, signals=[]) as captured, llmtrace.budget(usd=2, calls=2, tokens=100) as spent:
        for _ in range(4):
            call()
    assert crossings(captured) == [("chat m", "usd"), ("chat m", "calls")]
    assert (spent.usd, spent.calls, spent.tokens) == (4.0, 4, 4)


def test_raise_stops_the_next_call() -> None:
    """Under raise the call that would be one too many never starts, and the agent's span tells why."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=3, on_exceed="raise"))
    def loop() -> None:
        while True:
            call()

    with capture(signals=[]) as captured, pytest.raises(BudgetExceeded) as caught:
        loop()
    assert (caught.value.limit, caught.value.allowed, caught.value.spent) == ("calls", 3, 3)
    assert [span.name for span in captured.spans] == ["chat m"] * 3 + ["invoke_agent loop"]
    failure = captured.spans[-1].failure
    assert failure is not None
    assert failure.type == "llmtrace.errors.BudgetExceeded"


@pytest.mark.parametrize("limit", ["usd", "tokens"])
def test_raise_by_cost_and_tokens(limit: str) -> None:
    """Spending is known when a call ends; the next does not start."""
    with capture(prices=PRICES), pytest.raises(BudgetExceeded), llmtrace.budget(**{limit: 5}, on_exceed="raise") as spent:  # type: ignore[arg-type]
        while True:
            call(tokens=2)
    assert spent.calls == 3


def test_each_invocation_has_its_own_budget() -> None:
    """A decorated agent starts anew with each call, and is held by the budgets around it too."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=2, on_exceed="raise"))
    def twice() -> None:
        call()
        call()

    with capture(), llmtrace.budget(calls=5, on_exceed="raise") as around:
        twice()
        twice()
        with pytest.raises(BudgetExceeded):
            twice()
    assert around.calls == 5


def test_an_unknown_price_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A budget in dollars that cannot count says so, with what to do."""
    with capture(), caplog.at_level(logging.WARNING), llmtrace.budget(usd=1):
        call("no-such-model-x")
        call("no-such-model-x")
    assert caplog.text.count("price is not known") == 1


@pytest.mark.parametrize(
    "wrong", [{}, {"calls": -1}, {"calls": 1, "on_exceed": "stop"}, {"usd": "1"}, {"usd": float("nan")}, {"calls": True}]
)
def test_a_budget_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    """A programming error is told at once."""
    with pytest.raises(ConfigurationError):
        llmtrace.Budget(**wrong)


def test_what_an_inner_budget_refuses_does_not_count_outside() -> None:
    """A call that never started spends nothing."""
    with capture(), llmtrace.budget(calls=3, on_exceed="raise") as outer:
        for _ in range(5):
            with pytest.raises(BudgetExceeded), llmtrace.budget(calls=0, on_exceed="raise"):
                call()
        for _ in range(3):
            call()
        with pytest.raises(BudgetExceeded) as caught:
            call()
    assert (caught.value.spent, outer.calls) == (3, 3)
