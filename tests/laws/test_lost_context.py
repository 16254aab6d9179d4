"""What a program cuts off its history, through the real client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.agent_run import AgentRun, tool
from tests.instrumentation.openai_server import MODEL, Server, completion, message, whole

import llmtrace
from llmtrace.diagnosis import findings_of
from llmtrace.testing import capture

Cut = Callable[[list[Any]], list[Any]]
SYSTEM = {"role": "system", "content": "You are a support agent. Never give refunds."}


def losses(cut: Cut, *, turns: int = 6) -> list[str | None]:
    """Labels of the law for an agent that sends ``cut(history)``."""

    @llmtrace.agent
    def support(task: str) -> None:
        history: list[Any] = [SYSTEM, {"role": "user", "content": task}]
        for turn in range(turns):
            answer = client.chat.completions.create(model=MODEL, messages=cut(history)).choices[0].message
            history += [answer, {"role": "user", "content": f"And what of number {turn}?"}]

    client = Server(*(whole(completion(message(f"Number {turn} is on its way."))) for turn in range(turns))).client()
    with capture() as captured:
        support("Where is order W1234?")
        trace = captured.trace
    return [found.label for found in findings_of(trace) if found.law == "lost_context"]


@pytest.mark.parametrize("kept", [3, 4])
def test_a_history_that_is_cut_is_reported_once(kept: int) -> None:
    """Where many messages go at once. What the window drops later is too little at once to be a loss by itself."""
    assert losses(lambda history: history if len(history) < 10 else history[:1] + history[1:][-kept:]) == ["messages"]


@pytest.mark.parametrize("kept", [3, 4])
def test_one_turn_at_a_time_is_no_loss_by_itself(kept: int) -> None:
    """A window that drops a question and its answer each time: agents drop one or two messages on purpose."""
    assert losses(lambda history: history[:1] + history[1:][-kept:]) == []


@pytest.mark.parametrize("again", [True, False])
def test_a_call_that_slid_out_of_the_window_and_is_made_again(again: bool) -> None:
    """However little is lost at once: what it held was missing."""
    look_up = tool("look_up", "order_id")
    run = AgentRun(look_up).user("Compare my orders.")
    for number in ("KS-1", "KS-2", "KS-3", "KS-1" if again else "KS-4"):
        run.call("look_up", {"of": number}, order_id=number)
        run.messages[1:] = run.messages[1:][-4:]
    found = findings_of(run.answer("They are equal.").trace())
    expected = [("lost_context", "looked_up_again", "likely")] if again else []
    assert [(one.law, one.label, one.confidence) for one in found if one.law == "lost_context"] == expected


def test_a_call_that_was_repeated_while_it_could_be_seen_is_not_repeated_for_want_of_it() -> None:
    """A loop under a sliding window is a loop."""
    run = AgentRun(tool("look_up", "order_id")).user("Is my order ready?")
    for _ in range(6):
        run.call("look_up", {"state": "packing"}, order_id="KS-1")
        run.messages[1:] = run.messages[1:][-4:]
    found = [one.law for one in findings_of(run.answer("Not yet.").trace())]
    assert "repeated_call" in found
    assert "lost_context" not in found


@pytest.mark.parametrize("kept", [2, 3, 4])
def test_a_window_that_slides_over_the_system_prompt(kept: int) -> None:
    """The system prompt is what matters most."""
    found = losses(lambda history: history[-kept:] if len(history) > kept else history)
    assert "system" in found
    assert set(found) <= {"system", "messages"}


def test_the_middle_is_cut_out() -> None:
    """The task is still there."""
    assert losses(lambda history: history if len(history) < 10 else history[:2] + history[-3:]) == ["messages"]


@pytest.mark.parametrize(
    "cut",
    [
        lambda history: history,
        lambda history: [SYSTEM, *history[-1:]],
        lambda history: history if len(history) != 8 else [{"role": "system", "content": "Is he content?"}, *history[-4:]],
        lambda history: [SYSTEM, {"role": "user", "content": f"It is {len(history)} o'clock."}, *history[1:]],
    ],
    ids=["whole", "one question after another", "another agent's view", "a clock in front"],
)
def test_nothing_is_lost(cut: Cut) -> None:
    """The whole history goes on, each question stands for itself, or others look on."""
    assert losses(cut) == []
