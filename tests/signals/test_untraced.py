"""An unchanged program's tools have no spans: what came of them is read from what the model is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signal_cases import TOOLS, run

from llmtrace.evaluation import Evaluator
from llmtrace.model import Inference, Message, Span, Text, ToolCall, ToolExecution, ToolResult
from llmtrace.signals._untraced import CALLS, Untraced

FAILED = {"error": "no such order"}


def conversation(*calls: tuple[str, Any, Any], call_ids: bool = True) -> Iterator[Inference]:
    """Model calls of a loop that asks for these calls (tool, arguments, result), one by one, and then answers."""
    history = [Message("user", (Text("where is it?"),))]
    for number, (tool, arguments, result) in enumerate(calls):
        asked = Message("assistant", (ToolCall(tool, arguments, f"c{number}" if call_ids else None),))
        yield Inference("openai", "m", input=tuple(history), output=(asked,), tools=TOOLS)
        history += [asked, Message("tool", (ToolResult(result, f"c{number}" if call_ids else None),))]
    answer = Message("assistant", (Text("It is on its way."),))
    yield Inference("openai", "m", input=tuple(history), output=(answer,), tools=TOOLS)


def found(*steps: Any) -> dict[str, list[tuple[str, str | None]]]:
    """By the id of a span: the name and the label of what was found on it."""
    evaluator = Evaluator()
    state = evaluator.start()
    spans = run(*steps)
    judged = [evaluator.step(state, span) for span in spans[:-1]]
    judged.append(evaluator.finish(state, evaluator.step(state, spans[-1])))
    return {span.span_id: [(one.name, one.label) for one in span.evaluations] for span in judged if span.evaluations}


def names(findings: dict[str, list[tuple[str, str | None]]]) -> set[str]:
    return {name for each in findings.values() for name, _ in each}


SAME = ("look_up", {"id": 7}, {"state": "sent"})


def test_a_loop_is_seen_where_its_result_is_told() -> None:
    """The same calls with the same results, again: on the model call that was told so."""
    other = ("search", {"q": "parcel"}, ["a depot"])
    assert ("repeated_call", "repeat") in found(*conversation(SAME, SAME, SAME))["2".zfill(16)]
    assert {"repeated_call", "loop"} <= names(found(*conversation(*[SAME, other] * 3)))


def test_sources_lead_to_the_model_calls_that_asked() -> None:
    """Where to look: the spans that made the calls."""
    evaluator = Evaluator()
    state = evaluator.start()
    spans = [evaluator.step(state, span) for span in run(*conversation(SAME, SAME), outermost=False)]
    (repeated,) = (one for one in spans[-1].evaluations if one.name == "repeated_call")
    assert repeated.sources == (spans[0].span_id,)
    assert repeated.call_id == "c1"


def test_a_tool_that_fails_in_a_row_is_a_storm() -> None:
    """Failures are told of by the messages."""
    different = [("look_up", {"id": number}, FAILED) for number in range(6)]
    assert "retry_storm" in names(found(*conversation(*different)))


def test_a_tool_that_was_never_offered_is_not_named() -> None:
    """Its name is the model's words, and an explanation holds none."""
    evaluator = Evaluator()
    state = evaluator.start()
    spans = [evaluator.step(state, span) for span in run(*conversation(("xk7canary", {"id": 7}, FAILED)), outermost=False)]
    explanations = [one.explanation for span in spans for one in span.evaluations if one.name == "failed_action"]
    assert explanations == ["a tool failed as the model called it"]


def test_a_run_that_used_its_tools_took_action() -> None:
    """No end state says that no tool was used; without tools, one does."""
    assert found(*conversation(SAME)) == {}
    no_action = Inference("openai", "m", output=(Message("assistant", (Text("It is on its way."),)),), tools=TOOLS)
    assert [("end_state", "no_action")] in found(no_action).values()


def test_an_execution_with_a_span_is_counted_once() -> None:
    """Whether the span is known by its call id or tells none."""
    for call_ids in (True, False):
        asking, telling, answering = conversation(SAME, ("search", {}, "nothing"))
        executed = ToolExecution("look_up", SAME[1], SAME[2], True, "c0" if call_ids else None)
        then = ToolExecution("search", {}, "nothing", True, "c1" if call_ids else None)
        assert "repeated_call" not in names(found(asking, executed, telling, then, answering))


def test_calls_without_an_id_are_left_alone() -> None:
    """Nothing tells which result is whose."""
    assert "repeated_call" not in names(found(*conversation(SAME, SAME, call_ids=False)))


def test_what_is_remembered_is_bounded() -> None:
    """A run that never tells results holds no more than `CALLS` of them, and no prompt."""
    untraced = Untraced()
    for number in range(CALLS + 5):
        asked = Inference("openai", "m", output=(Message("assistant", (ToolCall("look_up", {}, f"c{number}"),)),))
        assert not untraced.seen(Span("0" * 32, "1" * 16, "s", 0, 1, operation=asked))
    assert len(untraced.asked) == CALLS
