"""Budgets: recorded when crossed; enforced before the next model call starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.errors import BudgetExceeded, ConfigurationError
from llmtrace.guards import budget_tracker
from llmtrace.model import Embedding, Failure, Inference, Message, Operation, Text, Usage
from llmtrace.recorder import active
from llmtrace.testing import capture

PRICES = {"m": {"input": 1_000_000, "output": 0}}


def call(model: str = "m", tokens: int = 1, output: int = 0) -> None:
    start(Inference("openai", request_model=model, usage=Usage(tokens, output)))


def start(operation: Operation) -> None:
    recorder = active()
    assert recorder is not None
    recorder.start(operation).end(operation)


def crossings(captured: Any, name: str = "budget_exceeded") -> list[tuple[str, str | None]]:
    return [
        (span.name, evaluation.label) for span in captured.spans for evaluation in span.evaluations if evaluation.name == name
    ]


def test_record_marks_the_span_that_crossed_it_once() -> None:
    """Under record the run goes on; one evaluation says where the budget was crossed."""
    with (
        capture(prices=PRICES, signals=[]) as captured,
        llmtrace.Budget(usd=2, calls=2, tokens=100, on_exceed="record") as spent,
    ):
        for _ in range(4):
            call()
    assert crossings(captured) == [("chat m", "usd"), ("chat m", "calls")]
    assert (spent.usd, spent.calls, spent.tokens) == (4.0, 4, 4)


def test_raise_stops_the_next_call() -> None:
    """Under raise the call that would be one too many never starts, and the agent's span tells why."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=3))
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


def test_a_caught_budget_error_still_shows_in_the_trace() -> None:
    """A program that catches the error leaves a trace in which a budget certainly stopped the run."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=2))
    def stubborn() -> int:
        refused = 0
        for _ in range(5):
            try:
                call()
            except Exception:
                refused += 1
        return refused

    with capture(signals=[]) as captured:
        assert stubborn() == 3
    assert crossings(captured, "budget_stopped") == [("invoke_agent stubborn", "calls")]
    assert captured.trace.health == "recovered"
    suspect = diagnose(captured.trace).suspects[0]
    assert (suspect.confidence, suspect.check, suspect.label) == ("certain", "end_state", "budget")
    assert "2 calls used" in suspect.evidence


def test_a_budget_of_a_part_does_not_stop_the_run() -> None:
    """Where models answered after an inner budget had stopped its agent, the run went on: no certain cause."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=1))
    def part() -> None:
        for _ in range(2):
            with contextlib.suppress(BudgetExceeded):
                call()

    @llmtrace.agent
    def whole() -> None:
        part()
        call()

    with capture(signals=[]) as captured:
        whole()
    suspects = [(suspect.confidence, suspect.check, suspect.label) for suspect in diagnose(captured.trace).suspects]
    assert suspects == [("possible", "end_state", "budget")]


def test_an_uncaught_budget_error_is_recorded_once() -> None:
    """The span that failed of a budget needs no evaluation beside its failure."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=0))
    def stopped() -> None:
        call()

    with capture(signals=[]) as captured, pytest.raises(BudgetExceeded):
        stopped()
    assert crossings(captured, "budget_stopped") == []


@pytest.mark.parametrize("limit", ["usd", "tokens"])
def test_raise_by_cost_and_tokens(limit: str) -> None:
    """Spending is known when a call ends; the next does not start."""
    with capture(prices=PRICES), pytest.raises(BudgetExceeded), llmtrace.Budget(**{limit: 5}) as spent:  # type: ignore[arg-type]
        while True:
            call(tokens=2)
    assert spent.calls == 3


def test_each_invocation_has_its_own_budget() -> None:
    """A decorated agent starts anew with each call, and is held by the budgets around it too."""

    @llmtrace.agent(budget=llmtrace.Budget(calls=2))
    def twice() -> None:
        call()
        call()

    with capture(), llmtrace.Budget(calls=5) as around:
        twice()
        twice()
        with pytest.raises(BudgetExceeded):
            twice()
    assert around.calls == 5


def test_an_unknown_price_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A budget in dollars that cannot count says so once, with what to do; each run shows it on its first such call."""
    with capture(signals=[]) as captured, caplog.at_level(logging.WARNING):
        for _ in range(2):
            with llmtrace.agent("a", budget=llmtrace.Budget(usd=1)):
                call("no-such-model-x")
                call("no-such-model-x")
                start(Inference("openai", usage=Usage(1, 1)))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        " a budget in usd does not stop calls of 'no-such-model-x'",
        " a budget in usd does not stop calls without a model's name",
    ]
    assert crossings(captured, "budget_unpriced") == [("chat no-such-model-x", "usd")] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"calls": -1},
        {"calls": 1, "on_exceed": "stop"},
        {"calls": 1, "scope": "team"},
        {"calls": 1, "per": "week"},
        {"repeats": 1, "per": "day"},
        {"usd": "1"},
        {"usd": float("nan")},
        {"calls": True},
    ],
)
def test_a_budget_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    """A programming error is told at once."""
    with pytest.raises(ConfigurationError):
        llmtrace.Budget(**wrong)


def test_what_an_inner_budget_refuses_does_not_count_outside() -> None:
    """A call that never started spends nothing."""
    with capture(), llmtrace.Budget(calls=3) as outer:
        for _ in range(5):
            with pytest.raises(BudgetExceeded), llmtrace.Budget(calls=0):
                call()
        for _ in range(3):
            call()
        with pytest.raises(BudgetExceeded) as caught:
            call()
    assert (caught.value.spent, outer.calls) == (3, 3)


def test_it_warns_at_80_percent_once_and_tells_at_100() -> None:
    """The span that reaches 80 % says so, with severity warning, and the one that reaches 100 %; each once."""
    with capture(signals=[]) as captured, llmtrace.Budget(calls=10, on_exceed="record"):
        for _ in range(12):
            call()
    said = [(place, evaluation) for place, span in enumerate(captured.spans, 1) for evaluation in span.evaluations]
    assert [(place, evaluation.name, evaluation.severity, evaluation.score) for place, evaluation in said] == [
        (8, "budget_nearly_spent", "warning", 8.0),
        (10, "budget_exceeded", "warning", 10.0),
    ]
    assert said[0][1].explanation == "budget of 10 calls is nearly spent (8 calls used)"


@pytest.mark.parametrize(
    ("ceiling", "said"),
    [
        ({"calls": 1}, "budget of 1 call is spent (1 call used): m 100 %"),
        ({"tokens": 1}, "budget of 1 token is spent (1 token used): m 100 %"),
        ({"usd": 0.5}, "budget of $0.50 is spent ($1.00 used): m 100 %"),
        ({"calls": 1, "per": "day", "name": "night"}, "budget 'night' of 1 call a day is spent (1 call used): m 100 %"),
        (
            {"tokens": 1, "scope": "user", "per": "month"},
            "budget of 1 token a month for each user is spent (1 token used): m 100 %",
        ),
    ],
)
def test_it_reads_well(ceiling: dict[str, Any], said: str) -> None:
    """One call is no calls, dollars are dollars; the error says which budget, how much, and who."""
    with capture(prices=PRICES), llmtrace.context(user="ada"), llmtrace.Budget(**ceiling):
        call()
        with pytest.raises(BudgetExceeded) as caught:
            call()
    assert str(caught.value) == said


def test_output_tokens_and_seconds() -> None:
    """Output tokens alone, and time on the wall, stop the next call too."""
    with capture(), pytest.raises(BudgetExceeded) as caught, llmtrace.Budget(output_tokens=5):
        while True:
            call(tokens=100, output=3)
    assert (caught.value.limit, caught.value.spent) == ("output_tokens", 6)
    with capture(), pytest.raises(BudgetExceeded) as caught, llmtrace.Budget(seconds=0):
        call()
    assert caught.value.limit == "seconds"
    with capture(), llmtrace.Budget(seconds=3600) as spent:
        call()
    assert 0 < spent.seconds < 3600


@pytest.mark.parametrize("on_exceed", ["record", "raise"])
def test_time_that_ran_out_between_two_calls(on_exceed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is there to be marked, so the next span that ends is: the agent's own, where the next call was refused."""
    clock = [0.0]
    monkeypatch.setattr(budget_tracker, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    @llmtrace.agent(budget=llmtrace.Budget(seconds=10, on_exceed=on_exceed))
    def slow() -> None:
        call()
        clock[0] = 11
        if on_exceed == "raise":
            call()

    with capture(signals=[]) as captured, contextlib.suppress(BudgetExceeded):
        slow()
    assert [span.name for span in captured.spans] == ["chat m", "invoke_agent slow"]
    assert crossings(captured) == [("invoke_agent slow", "seconds")]
    assert crossings(captured, "budget_nearly_spent") == []


def test_repeats_of_one_tool_call() -> None:
    """The same tool with the same arguments, more than so often: the next one does not run."""
    ran: list[int] = []

    @llmtrace.tool
    def look_up(a: int, b: int = 0) -> int:
        ran.append(a)
        return a

    with capture(signals=[]) as captured, llmtrace.Budget(repeats=2) as spent:
        for number in range(5):
            look_up(number)
        look_up(0)
        look_up(0)
        with pytest.raises(BudgetExceeded) as caught:
            look_up(0)
        look_up(7)
    assert str(caught.value) == "budget of 2 repeats is spent (2 repeats used): look_up 100 %"
    assert (ran.count(0), ran[-1], spent.repeats) == (3, 7, 2)
    assert crossings(captured) == [("execute_tool look_up", "repeats")]


@pytest.mark.parametrize("on_exceed", ["record", "raise"])
def test_repeats_beside_model_calls(on_exceed: Any) -> None:
    """Where a model calls the tool, as it does: 80 % and 100 % of the repeats are told, each once, with the tool's name."""

    @llmtrace.tool
    def look_up(a: int) -> int:
        return a

    with capture(signals=[]) as captured, contextlib.suppress(BudgetExceeded), llmtrace.Budget(repeats=5, on_exceed=on_exceed):
        for _ in range(8):
            call()
            look_up(1)
    evaluations = [evaluation for span in captured.spans for evaluation in span.evaluations]
    assert [(evaluation.name, evaluation.label, evaluation.score, evaluation.explanation) for evaluation in evaluations] == [
        ("budget_nearly_spent", "repeats", 4.0, "budget of 5 repeats is nearly spent (4 repeats used)"),
        ("budget_exceeded", "repeats", 5.0, "budget of 5 repeats is spent (5 repeats used): look_up 100 %"),
    ]


def test_a_tools_budget_goes_through_tools_run() -> None:
    """`Tools.run` answers a tool's own failure, but lets a budget through."""

    @llmtrace.tool
    def look_up(a: int) -> int:
        return a

    calls = [{"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}] * 2
    with capture(), llmtrace.Budget(repeats=0), pytest.raises(BudgetExceeded):
        llmtrace.Tools(look_up).run({"role": "assistant", "content": None, "tool_calls": calls})


def test_the_top_three_spenders_are_named() -> None:
    """By the innermost agent or tool around the call and its model, the greatest first, with their share."""

    @llmtrace.tool
    def summarise(text: str) -> str:
        call("small", tokens=20)
        return text

    @llmtrace.agent
    def researcher() -> None:
        call("big", tokens=60)
        with llmtrace.span("step"):
            call("big", tokens=10)
        summarise("x")

    @llmtrace.agent(budget=llmtrace.Budget(tokens=100))
    def boss() -> None:
        researcher()
        call("big", tokens=10)
        call("tiny", tokens=1)

    with capture(), pytest.raises(BudgetExceeded) as caught:
        boss()
    assert [(spender.name, round(spender.share, 2)) for spender in caught.value.spenders] == [
        ("researcher with big", 0.7),
        ("summarise with small", 0.2),
        ("boss with big", 0.1),
    ]
    assert "researcher with big 70 %, summarise with small 20 %, boss with big 10 %" in str(caught.value)
    assert caught.value.budget == llmtrace.Budget(tokens=100)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.limit, copied.spenders) == (str(caught.value), "tokens", caught.value.spenders)


def test_retries_and_embeddings_count() -> None:
    """Each request that a client made counts as a call, its own retries too; embeddings count and cost as models do."""
    prices = {"m": {"input": 1_000_000, "output": 0}}
    with capture(prices=prices), llmtrace.Budget(calls=100, tokens=100, usd=100) as spent:
        start(Inference("openai", request_model="m", usage=Usage(2, 3), attempts=3))
        start(Embedding("openai", "m", usage=Usage(7)))
    assert (spent.calls, spent.tokens, spent.output_tokens, spent.usd) == (4, 12, 3, 9.0)


def test_a_call_that_failed_costs_a_call_and_nothing_else() -> None:
    """Where a request failed and no usage was told, no tokens and no dollars are made up."""
    question = (Message("user", (Text("x" * 4000),)),)
    with capture(), llmtrace.Budget(usd=1, tokens=10, calls=9) as spent:
        recorder = active()
        assert recorder is not None
        operation = Inference("openai", request_model="m", input=question)
        recorder.start(operation).end(operation, failure=Failure("RateLimitError"))
    assert (spent.calls, spent.tokens, spent.usd) == (1, 0, 0.0)


def test_usage_that_nobody_told_is_estimated() -> None:
    """Four bytes are a token where the server told none, so that such a call is not free."""
    question, said = (Message("user", (Text("x" * 40),)),), (Message("assistant", (Text("\u4e2d" * 40),)),)
    with capture(prices=PRICES), llmtrace.Budget(usd=100, tokens=1000) as spent:
        start(Inference("openai", request_model="m", input=question, output=said))
    assert (spent.tokens, spent.output_tokens, spent.usd) == (40, 30, 10.0)


def test_budgets_hold_over_threads() -> None:
    """Eight threads: no call more than allowed, and of tokens no more than the calls under way."""

    def work(_: int) -> None:
        try:
            while True:
                call(tokens=10)
        except BudgetExceeded:
            return

    for limit, allowed, most in (("calls", 100, 100), ("tokens", 1000, 1000 + 8 * 10)):
        with capture(signals=[]) as captured:
            with llmtrace.Budget(**{limit: allowed}) as spent, ThreadPoolExecutor(8) as pool:  # type: ignore[arg-type]
                list(pool.map(llmtrace.wrap(work), range(8)))
            assert allowed <= getattr(spent, limit) <= most
        assert len(captured.spans) == spent.calls


@pytest.mark.parametrize("scope", ["run", "user"])
def test_budgets_hold_over_tasks(scope: Any) -> None:
    """A hundred tasks at once, each under a budget of its own or of its user."""

    async def main() -> int:
        async def work() -> None:
            with contextlib.suppress(BudgetExceeded):
                while True:
                    recorder = active()
                    assert recorder is not None
                    operation = Inference("openai", request_model="m", usage=Usage(1, 0))
                    recording = recorder.start(operation)
                    await asyncio.sleep(0)
                    recording.end(operation)

        async def of_user() -> None:
            with llmtrace.Budget(calls=250, scope="user", per="day"):
                await work()

        with (
            llmtrace.context(user="tasks"),
            llmtrace.Budget(calls=250, on_exceed="raise" if scope == "run" else "record") as spent,
        ):
            await asyncio.gather(*(work() if scope == "run" else of_user() for _ in range(100)))
            return spent.calls

    with capture(signals=[]):
        assert asyncio.run(main()) == 250


def test_budgets_hold_over_threads_of_tasks() -> None:
    """A hundred tasks in eight threads, under a run's budget within a day's: overspent by no more than what was under way when
    it was spent, which never is more than there are tasks."""
    lock, under_way, most = threading.Lock(), 0, 0

    def count(step: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += step
            most = max(most, under_way)

    async def work() -> None:
        recorder = active()
        assert recorder is not None
        operation = Inference("openai", request_model="m", usage=Usage(8, 2))
        with contextlib.suppress(BudgetExceeded):
            while True:
                count(1)
                try:
                    recording = recorder.start(operation)
                    await asyncio.sleep(0)
                    recording.end(operation)
                finally:
                    count(-1)

    async def tasks() -> None:
        await asyncio.gather(*(work() for _ in range(13)))

    with capture(signals=[]) as captured:
        day = llmtrace.Budget(calls=10_000, scope="all", per="day")
        with day as of_day, llmtrace.Budget(tokens=3000) as spent, ThreadPoolExecutor(8) as pool:
            list(pool.map(llmtrace.wrap(lambda _: asyncio.run(tasks())), range(8)))
    assert 3000 <= spent.tokens <= 3000 + 10 * most
    assert most <= 104
    assert len(captured.spans) == spent.calls == of_day.calls == spent.tokens / 10
    assert under_way == 0


def test_several_budgets_at_once() -> None:
    """An agent may have more than one; each holds."""

    @llmtrace.agent(budget=[llmtrace.Budget(tokens=100), llmtrace.Budget(calls=2)])
    def twice() -> None:
        while True:
            call()

    with capture(), pytest.raises(BudgetExceeded) as caught:
        twice()
    assert caught.value.limit == "calls"


def test_a_refused_call_counts_with_no_budget() -> None:
    """What an outer budget refuses is given back to the inner one that had counted it already."""
    with capture(), llmtrace.Budget(calls=2), llmtrace.Budget(calls=3) as inner:
        call()
        call()
        for _ in range(5):
            with pytest.raises(BudgetExceeded) as caught:
                call()
            assert caught.value.allowed == 2
    assert inner.calls == 2


def test_one_budget_opened_many_times_counts_each_time_anew() -> None:
    """Nested, in turn, in tasks and in threads: each block has sums of its own; the one around counts all."""
    budget = llmtrace.Budget(calls=5)

    async def work(calls: int) -> int:
        async with budget as spent:
            for _ in range(calls):
                call()
                await asyncio.sleep(0)
            return spent.calls

    async def main() -> list[int]:
        return await asyncio.gather(work(2), work(3))

    with capture(signals=[]):
        with budget as outer:
            with budget as inner:
                call()
            call()
            assert (inner.calls, outer.calls) == (1, 2)
        assert asyncio.run(main()) == [2, 3]
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda calls: asyncio.run(work(calls)), [4, 5])) == [4, 5]
        with budget as spent:
            assert spent.calls == 0


def test_a_block_of_a_budget_ends_with_it() -> None:
    """After it, nothing is stopped any more, also where it was left by an exception."""
    with capture(signals=[]):
        with pytest.raises(BudgetExceeded), llmtrace.Budget(calls=0):
            call()
        call()
