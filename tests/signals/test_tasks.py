"""Where a program turns to its next task in one run: what it repeats there is no repetition."""

from __future__ import annotations

from typing import Any

import pytest
from signal_cases import RUN, assistant, call, infer, ran, run, span, user

from llmtrace.evaluation import Evaluator
from llmtrace.model import Inference, Message, Span, Text, ToolResult
from llmtrace.signals import load

SIGNALS = load(("repeated_call", "loop"))


def names(spans: list[Span]) -> list[str]:
    evaluator = Evaluator(SIGNALS)
    state = evaluator.start()
    return [found.name for one in spans for found in evaluator.step(state, one).evaluations]


def asks(*words: str, **fields: Any) -> Inference:
    """A conversation that is opened, with a call for an answer."""
    return infer(call(), asked=tuple(user(text) for text in words), **fields)


def goes_on(words: str, result: str = "on its way") -> Inference:
    told = Message("tool", (ToolResult(result, "c1"),))
    return infer("It is on its way.", asked=(user(words), assistant(call()), told))


def task(words: str) -> list[Any]:
    return [asks(words), ran("on its way"), goes_on(words)]


def test_another_conversation_is_another_task() -> None:
    """The same call for three questions, one after the other."""
    assert names(run(*task("Where is A-1?"), *task("Where is A-1, and who sent it?"[::-1]), *task("Is A-1 late?"))) == []


def test_within_one_conversation_it_is_a_repetition() -> None:
    first = task("Where is A-1?")
    assert names(run(*first, ran("on its way"), goes_on("Where is A-1?"))) == ["repeated_call"]


def test_circles_are_of_one_task() -> None:
    """Two calls in turns for each of three questions; within one they would be a ping-pong."""
    both = [ran("on its way"), ran("nobody", "search")]
    tasks = [step for words in ("one?", "two?", "three?") for step in (asks(words), *both, goes_on(words))]
    assert names(run(*tasks)) == []
    assert "loop" in names(run(asks("one?"), *both, *both, *both))


def test_a_second_attempt_with_the_same_words_is_none() -> None:
    assert names(run(*task("Where is A-1?"), *task("Where is A-1?"))) == ["repeated_call"]


@pytest.mark.parametrize("held", ["Where is A-1?", "I will look it up, as is right and proper.", "on its way"])
def test_a_message_that_holds_what_was_before_goes_on(held: str) -> None:
    """Agents that write all they know into one message: the question, what the model said, or what came of it."""
    thought = infer("I will look it up, as is right and proper.", asked=(user("Where is A-1?"),))
    assert names(run(thought, ran("on its way"), asks(f"Notes: {held}. Go on."), ran("on its way"))) == ["repeated_call"]
    assert names(run(thought, ran("on its way"), asks("Something else."), ran("on its way"))) == []


def test_a_conversation_below_a_tool_is_no_new_task() -> None:
    """Another agent's, of which nobody tells: it has another parent."""
    inner = span(asks("Summarise, please."), 3, parent_id="e" * 16, run_id=RUN)
    spans = run(asks("Where is A-1?"), ran("on its way"), goes_on("Where is A-1?"), ran("on its way"), outermost=False)
    assert names([*spans[:3], inner, *spans[3:]]) == ["repeated_call"]


def test_a_result_among_the_words_of_the_user_goes_on() -> None:
    """As Anthropic's messages have it; what stood before may have been left out."""
    told = infer(call(), asked=(Message("user", (ToolResult("on its way", "c1"), Text("Go on."))),))
    assert names(run(*task("Where is A-1?"), told, ran("on its way"))) == ["repeated_call"]


@pytest.mark.parametrize("kept", [{"previous_response_id": "r1"}, {"parameters": {"conversation": "conv_1"}}])
def test_what_goes_on_at_the_server_is_not_judged_by_its_words(kept: dict[str, Any]) -> None:
    """The request holds nothing of what was before, and yet goes on."""
    later = asks("And now?", **kept)
    assert names(run(*task("Where is A-1?"), later, ran("on its way"))) == ["repeated_call"]


def test_a_conversation_that_was_not_answered_is_not_over() -> None:
    """The request after a call lacks all that was said before: that is no next task, it is lost context."""
    assert names(run(asks("Where is A-1?"), ran("on its way"), asks("Go on, please."), ran("on its way"))) == ["repeated_call"]
