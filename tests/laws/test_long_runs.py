"""The work of judging a run grows in proportion to its length, whatever the agent does again and again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.agent_run import AgentRun, tool

from llmtrace.diagnosis import findings_of
from llmtrace.evaluation import evaluate_trace
from llmtrace.laws.judging import judge
from llmtrace.model import Failure, Trace
from llmtrace.reading.read import read_runs

BOOM = Failure("ValueError", "boom")
TOOLS = tool("look_up", "order"), tool("refund", "order", amount="number")


def agent() -> AgentRun:
    return AgentRun(*TOOLS).user("Refund my orders, from W1000 on.")


def sliding_window(turns: int, *, are_ids_unique: bool = True) -> AgentRun:
    """Each request lacks the calls of the last but one turn."""
    run = agent()
    for turn in range(turns):
        if not are_ids_unique:
            run._calls = 0
        run.calls(*(("look_up", {"order": f"W{1000 + turn}-{number}"}, f"packed {turn}") for number in range(3)))
        del run.messages[1:-4]
    return run


def equal_ids(turns: int) -> AgentRun:
    """The same from a server that counts the calls of each answer from 0."""
    return sliding_window(turns, are_ids_unique=False)


def every_other_fails(turns: int) -> AgentRun:
    run = agent()
    for turn in range(turns):
        run.call(
            "refund", None if turn % 2 else "done", failure=BOOM if turn % 2 else None, order=f"W{1000 + turn}", amount=turn
        )
    return run.answer("All refunded.")


def each_change_twice(turns: int) -> AgentRun:
    run = agent()
    for turn in range(turns):
        run.call("refund", "done", order=f"W{1000 + turn // 2}", amount=1)
    return run.answer("All refunded.")


def work_of(trace: Trace) -> int:
    """The number of functions that are called to judge the runs of a trace."""
    runs = read_runs(evaluate_trace(trace)[0])
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for run in runs:
            judge(run)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    "run_of",
    [sliding_window, equal_ids, every_other_fails, each_change_twice],
)
def test_twice_the_run_takes_twice_the_work(run_of: Callable[[int], AgentRun]) -> None:
    """Some laws search a bounded number of later calls, so runs are longer than that bound."""
    assert work_of(run_of(800).trace()) < 2.6 * work_of(run_of(400).trace())


def test_calls_with_equal_ids_are_not_looked_up_again() -> None:
    """Where a server counts the calls of each answer from 0, a lost call and the next one have one id."""
    found = [finding.label for finding in findings_of(equal_ids(9).trace()) if finding.law == "lost_context"]
    assert found
    assert "looked_up_again" not in found
