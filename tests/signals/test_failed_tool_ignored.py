"""What counts as a failed tool, who was told, and what counts as a reaction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signal_cases import DONE, ERROR, call, found, infer, ran, run, says, span, told

from llmtrace.model import Evaluation, Failure, Message, Reasoning, Text, ToolExecution, ToolResult, replace
from llmtrace.signals._answers import admits_failure, new_messages, only_asks
from llmtrace.signals._results import is_error
from llmtrace.signals.failed_tool_ignored import SIGNAL


def labels(*steps: Any) -> list[str | None]:
    return [evaluation.label for _, evaluation in found(SIGNAL, run(*steps))]


def only(*steps: Any) -> Evaluation:
    ((_, evaluation),) = found(SIGNAL, run(*steps))
    return evaluation


@pytest.mark.parametrize(
    "result",
    [
        {"error": "gone"},
        {"errors": [1]},
        {"isError": True, "content": []},
        {"success": False},
        {"ok": False},
        {"status": "error"},
        {"status_code": 404},
        '{"error": {"code": 5}}',
        "Error: gone",
        "error - gone",
        "ValueError: gone",
        "requests.exceptions.HTTPError: 500",
        "Traceback (most recent call last):\n …",
        [{"type": "text", "text": "Error: gone"}],
    ],
)
def test_error_shapes(result: Any) -> None:
    """A result may be an error although nothing was raised; its form says so."""
    assert is_error(result)


@pytest.mark.parametrize(
    "result",
    [
        *(None, "", 0, [], {}, True),
        {"error": None, "rows": []},
        {"errors": []},
        {"success": True},
        {"status": "failed", "payment": 5},
        {"status_code": 200},
        {"data": {"error": "inside"}},
        '{"error": null}',
        '{"text": "an \\"error\\" is shown"}',
        '{"error": ',
        "Errors in medicine: a review",
        "Error handling in Python",
        "The error: none",
    ],
)
def test_other_shapes(result: Any) -> None:
    """Data that speaks of errors is no error."""
    assert not is_error(result)


any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(any_json)
def test_any_result_can_be_looked_at(result: Any) -> None:
    """Any JSON value is an error or is not; looking at it never raises. The text of an object is judged like the object."""
    assert is_error(result) in (True, False)
    if isinstance(result, dict):
        assert is_error(json.dumps(result)) == is_error(result)


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, that did not work.",
        "I couldn’t find it.",
        "There is no such order.",
        "The service is unavailable.",
        "Das hat leider nicht geklappt.",
        "Je n'ai pas pu, désolé.",
        "No se pudo completar.",
        "Não foi possível.",
        "Purtroppo non è stato trovato.",
        "К сожалению, не удалось.",
        "抱歉，查询失败了。",
        "エラーが発生しました。",
        "죄송합니다.",
    ],
)
def test_words_of_failure(text: str) -> None:
    """A failure that is told is not ignored, in any of the languages known here."""
    assert admits_failure(text)


@pytest.mark.parametrize("text", ["Your refund is on its way.", "Ihre Erstattung ist unterwegs.", "返金が完了しました。"])
def test_words_of_success(text: str) -> None:
    assert not admits_failure(text)


def test_a_question_alone_is_a_reaction() -> None:
    """Asking for what is missing reacts to a failure; a courtesy after a claim does not."""
    assert only_asks("Which order do you mean?")
    assert not only_asks("Your refund is done. Anything else?")
    assert labels(ran(ERROR), infer("Your refund is done. Anything else?", asked=told(ERROR))) == ["answered"]


def test_the_sources_are_the_failed_executions() -> None:
    """All ignored failures are one finding, which names the spans to look at, and only tools that are on offer."""
    both = (*told(ERROR), Message("tool", (ToolResult("Error: x", "c2"),)))
    evaluation = only(ran(ERROR), ran("Error: x", "secret_tool", call_id="c2"), infer(DONE, asked=both))
    assert evaluation.sources == (f"{0:016x}", f"{1:016x}")
    assert evaluation.severity == "warning"
    assert "`look_up`" in evaluation.explanation
    assert "secret_tool" not in evaluation.explanation


def test_a_tool_that_is_not_traced() -> None:
    """Where no execution was recorded, the result in the messages is judged; there is no source to name."""
    assert only(infer(DONE, asked=told("Error: gone"))).sources == ()
    assert labels(infer(call(call_id="c2"), asked=told("Error: gone"))) == []


def test_without_call_ids_the_parent_joins() -> None:
    """An execution without a call id is judged at the next inference under the same parent, and once."""
    execution = ran(ERROR, call_id=None)
    assert labels(execution, infer(DONE), infer(DONE)) == ["answered"]
    spans = run(execution, infer(DONE))
    elsewhere = [spans[0], replace(spans[1], parent_id="e" * 16), spans[2]]
    assert found(SIGNAL, elsewhere) == []


def test_an_inference_that_began_before_the_failure_is_not_judged() -> None:
    """What ran beside the tool cannot have known."""
    spans = run(ran(ERROR, call_id=None), infer(DONE))
    assert found(SIGNAL, [spans[0], replace(spans[1], start=spans[0].start), spans[2]]) == []


def test_an_exception_counts_whatever_the_model_was_told() -> None:
    """A tool that raised has failed, also where the program told the model something else."""
    raised = span(ToolExecution("look_up", {"q": 1}, call_id="c1"), 0, run_id="a" * 32, failure=Failure("KeyError"))
    assert labels(raised, infer(DONE, asked=told("nothing"))) == ["answered"]


def test_a_second_run_of_the_same_call_counts() -> None:
    """A call that the program itself ran again, with success, has not failed."""
    assert labels(ran(ERROR), ran("fine"), infer(DONE, asked=told("fine"))) == []


def test_thoughts_beside_a_call_are_a_reaction() -> None:
    """A model that reasons about the failure, or hands words of it to a tool, goes on knowingly."""
    finish = infer(DONE, asked=told("done", call_id="c2", name="refund"))
    thinks = infer(Reasoning("That failed."), call("refund", call_id="c2"), asked=told(ERROR))
    notes = infer(call("refund", {"note": "the look-up failed"}, "c2"), asked=told(ERROR))
    silent = infer(call("refund", {"n": 1}, "c2"), asked=told(ERROR))
    assert labels(ran(ERROR), thinks, finish) == []
    assert labels(ran(ERROR), notes, finish) == []
    assert labels(ran(ERROR), silent, finish) == ["went_on"]


def test_agents_side_by_side() -> None:
    """A failure that one agent passed over is not laid to another's answer."""
    spans = run(ran(ERROR), infer(call("refund", call_id="c2"), asked=told(ERROR)), infer(DONE))
    other = replace(spans[2], parent_id="e" * 16)
    assert found(SIGNAL, [*spans[:2], other]) == []
    assert [evaluation.label for _, evaluation in found(SIGNAL, spans)] == ["went_on"]


def test_only_new_messages_are_read() -> None:
    """What was said before the model last spoke is history: it was judged then."""
    history = (*told(ERROR), Message("assistant", (Text("It failed."),)), *says("Thank you"))
    assert [message.role for message in new_messages(infer(asked=history))] == ["user"]
    assert labels(ran(ERROR), infer(DONE, asked=history)) == []
