"""What a model asked for and what the tool got are two things: only what the tool got was done.

What a lookup found and how the call went are two things as well: a thing that is in a bad state is a finding.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.agent_run import AgentRun, tool

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.diagnosis.result import Diagnosis
from llmtrace.errors import InvalidToolCall
from llmtrace.model import Failure, Message, Review, ToolCall, ToolExecution, ToolResult
from llmtrace.model.reviews import ReviewRequest
from llmtrace.reading.graph import analyze
from llmtrace.store import open_store

MADE_UP = {"order_id": "KS-20431", "amount": 42.0}
FIRST = {"order_id": "42", "amount": 42.0}
WRONG_TYPE = {"order_id": "42", "amount": "42.0"}


EDITED = llmtrace.Decision("edited", {"order_id": "KS-20457", "amount": 42.0}, by="Ada")
APPROVED = llmtrace.Decision("approved", by="Ada")
ANSWERED = llmtrace.Decision("answered", "done by hand", by="Ada")
REJECTED = llmtrace.Decision("rejected", by="Ada")


def diagnosis_of(
    asked: list[dict[str, Any]],
    store: Path,
    *decisions: llmtrace.Decision,
    result: Any = None,
    answer: str = "It is on its way.",
    first_name: str = "",
    **options: Any,
) -> Diagnosis:
    """What is said of a run in which a model asks for refunds one after the other, and gets an answer."""
    remaining = list(decisions)

    def look(request: ReviewRequest) -> llmtrace.Decision:
        return remaining.pop(0)

    def refund(order_id: str, amount: float) -> Any:
        """Pay back."""
        return result or f"refunded {amount} EUR for {order_id}"

    llmtrace.configure(store=store, instrument=(), exporters=(), notify=look)
    tools = llmtrace.Tools(llmtrace.tool(**options)(refund))

    @llmtrace.agent
    def support(task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        for number, arguments in enumerate(asked):
            function = {"name": first_name if first_name and not number else "refund", "arguments": json.dumps(arguments)}
            message = {"role": "assistant", "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}]}
            with llmtrace.inference("openai", model="m", messages=messages, tools=tools) as call:
                call.output = message
            messages += [message, *tools.run(message)]
        with llmtrace.inference("openai", model="m", messages=messages, tools=tools) as call:
            call.output = answer
        return answer

    if first_name:
        asked = [asked[0], *asked]
    with contextlib.suppress(InvalidToolCall):
        support("I would like my 42 EUR back.")
    llmtrace.shutdown()
    store_read = open_store(str(store))
    (summary,) = store_read.traces()
    return diagnose(store_read.trace(summary.trace_id))


@pytest.mark.parametrize(
    ("check", "arguments", "options", "decision", "confidence", "words"),
    [
        ("ungrounded_argument", MADE_UP, {}, None, "likely", "answered all the same"),
        ("ungrounded_argument", MADE_UP, {"review": True}, EDITED, "possible", "it was corrected before refund ran"),
        ("ungrounded_argument", MADE_UP, {"review": True}, APPROVED, "possible", "a person approved the call"),
        ("ungrounded_argument", MADE_UP, {"review": True}, ANSWERED, "possible", "refund, which did not run"),
        ("ungrounded_argument", MADE_UP, {"review": True}, REJECTED, "possible", "refund did not run"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "record"}, None, "certain", "it ran all the same"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "reply"}, None, "certain", "was refused and did not run"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "repair"}, None, "possible", "it was corrected before refund ran"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "review"}, EDITED, "possible", "it was corrected before refund ran"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "review"}, APPROVED, "possible", "a person approved the call"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "review"}, ANSWERED, "possible", "refund, which did not run"),
        ("invalid_tool_call", WRONG_TYPE, {"on_invalid": "review"}, REJECTED, "possible", "refund did not run"),
    ],
)
def test_what_was_corrected_or_decided_by_a_person_marks_no_run(
    check: str,
    arguments: dict[str, Any],
    options: dict[str, Any],
    decision: llmtrace.Decision | None,
    confidence: str,
    words: str,
    tmp_path: Path,
) -> None:
    decisions = () if decision is None else (decision,)
    answer = "It was not approved." if decision is REJECTED else "It is on its way."
    suspects = diagnosis_of([arguments], tmp_path / "store", *decisions, answer=answer, **options).suspects
    (suspect,) = [suspect for suspect in suspects if suspect.check == check]
    assert suspect.confidence == confidence
    assert words in suspect.evidence
    assert confidence == "certain" or not [other for other in suspects if other.is_marked and other is not suspect]


@pytest.mark.parametrize(("answer", "is_marked"), [("It is on its way.", True), ("It was not approved.", False)])
def test_a_rejected_call_is_no_failure_but_its_answer_may_be(answer: str, is_marked: bool, tmp_path: Path) -> None:
    """What a person rejected did not run, and an answer that does not say so is wrong."""
    suspects = diagnosis_of([FIRST], tmp_path / "store", REJECTED, answer=answer, review=True).suspects
    marked = [(suspect.confidence, suspect.label) for suspect in suspects if suspect.is_marked]
    assert marked == ([("certain", "not_approved")] if is_marked else [])


@pytest.mark.parametrize(
    ("asked", "options", "decisions", "is_marked"),
    [
        ([FIRST, FIRST], {"review": True}, [APPROVED, EDITED], False),
        ([FIRST, FIRST], {"review": True}, [APPROVED, APPROVED], True),
        ([WRONG_TYPE, {"order_id": "42", "amount": 42.0}], {"on_invalid": "repair"}, [], True),
    ],
)
def test_a_change_is_made_twice_if_the_tool_got_the_same_arguments_twice(
    asked: list[dict[str, Any]], options: dict[str, Any], decisions: list[llmtrace.Decision], is_marked: bool, tmp_path: Path
) -> None:
    suspects = diagnosis_of(asked, tmp_path / "store", *decisions, changes=True, **options).suspects
    assert is_marked == any(suspect.check == "duplicated_effect" and suspect.is_marked for suspect in suspects)


@pytest.mark.parametrize(
    ("changes", "result", "confidence"),
    [
        (False, {"payment": "P-1", "status": "failed"}, "possible"),
        (False, {"valid": False, "errors": ["no MX record"]}, "possible"),
        (False, {"ok": False}, "possible"),
        (False, {"url": "/orders", "status_code": 404}, "possible"),
        (False, {"error": "the database is down"}, "certain"),
        (True, {"ok": False}, "certain"),
    ],
)
def test_what_a_lookup_says_of_a_thing_is_no_failure_of_the_lookup(
    changes: bool, result: dict[str, Any], confidence: str, tmp_path: Path
) -> None:
    suspects = diagnosis_of([FIRST], tmp_path / "store", changes=changes, result=result).suspects
    assert {suspect.confidence for suspect in suspects if suspect.label == "never_succeeded"} == {confidence}


def test_what_is_polled_is_called_again_on_purpose(tmp_path: Path) -> None:
    assert diagnosis_of([FIRST] * 4, tmp_path / "store", polls=True, result={"state": "running"}).suspects == ()


def test_an_invalid_call_that_ends_the_run_is_one_suspect(tmp_path: Path) -> None:
    suspects = diagnosis_of([WRONG_TYPE], tmp_path / "store", on_invalid="raise").suspects
    assert [suspect.title for suspect in suspects if suspect.is_marked] == ["refund was called with invalid arguments"]


def test_a_tool_that_does_not_exist_was_replaced_by_another(tmp_path: Path) -> None:
    suspects = diagnosis_of([FIRST], tmp_path / "store", first_name="pay_back").suspects
    assert not [suspect for suspect in suspects if suspect.is_marked]


@pytest.mark.parametrize("are_separate", [True, False])
def test_agents_that_do_not_know_of_each_other_are_no_loop(are_separate: bool, tmp_path: Path) -> None:
    def look_up(order_id: str) -> str:
        """Look up an order."""
        return "shipped"

    llmtrace.configure(store=tmp_path / "store", instrument=(), exporters=())
    tools = llmtrace.Tools(look_up)
    history: list[Any] = []

    @llmtrace.agent
    def worker(task: str, number: int) -> str:
        messages = [{"role": "user", "content": task}] if are_separate else history
        function = {"name": "look_up", "arguments": '{"order_id": "KS-20457"}'}
        message = {"role": "assistant", "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}]}
        with llmtrace.inference("openai", model="m", messages=list(messages), tools=tools) as call:
            call.output = message
        messages += [message, *tools.run(message)]
        return "shipped"

    with llmtrace.workflow("all orders"):
        history.append({"role": "user", "content": "Where is KS-20457?"})
        for number in range(3):
            worker("Where is KS-20457?", number)
    llmtrace.shutdown()
    store = open_store(str(tmp_path / "store"))
    (summary,) = store.traces()
    marked = [suspect.label for suspect in diagnose(store.trace(summary.trace_id)).suspects if suspect.is_marked]
    assert marked == ([] if are_separate else ["same_result"])


@pytest.mark.parametrize("decision", ["edited", "approved"])
def test_the_way_to_a_failure_names_what_a_person_changed(decision: str) -> None:
    """The tool failed with the arguments of a person, not with the model's."""
    asked, ran = {"order_id": "KS-20457", "amount": 42}, {"order_id": "KS-20457", "amount": 420}
    is_edited = decision == "edited"
    run = AgentRun(tool("refund", "order_id", amount="number")).user("I would like my 42 EUR of order KS-20457 back.")
    run.answer(ToolCall("refund", asked, "c1"))
    run.span(Review("refund", tool="refund", call_id="c1", payload=asked, decision=decision, value=ran if is_edited else None))
    run.span(
        ToolExecution("refund", asked, call_id="c1", repaired=ran if is_edited else None), Failure("ValueError", "too much")
    )
    run.messages.append(Message("tool", (ToolResult("error: too much", "c1"),)))
    (suspect,) = diagnose(run.answer("I could not refund it.").trace()).suspects
    assert suspect.confidence == "certain"
    notes = " ".join(step.note for step in suspect.chain)
    assert ("a person changed /amount in a review" in notes) is is_edited


def test_a_value_of_a_person_is_not_said_to_come_from_the_tool() -> None:
    """The tool only repeats what a person put into its call in a review."""
    asked, ran = {"case_id": "C-77120", "amount": 42}, {"case_id": "C-77120", "amount": 420.5}
    run = AgentRun(tool("cancel_order", "order_id"), tool("refund", "case_id", amount="number"))
    run.user("I would like my money back.").call("cancel_order", {"case_id": "C-77120"}, order_id="KS-20457")
    run.answer(ToolCall("refund", asked, "c1"))
    run.span(Review("refund", tool="refund", call_id="c1", payload=asked, decision="edited", value=ran))
    run.span(ToolExecution("refund", asked, {"refunded": 420.5}, True, "c1", repaired=ran))
    run.messages.append(Message("tool", (ToolResult('{"refunded": 420.5}', "c1"),)))
    trace = run.answer("I refunded 420.5 EUR.").trace()
    use = next(use for use in analyze(trace).uses if use.part == "answer" and use.value == "420.5")
    assert use.provenance.earliest is not None
    assert use.provenance.earliest.place == "decision of a person"
    notes = " ".join(step.note for step in diagnose(trace).suspects[0].chain)
    assert "420.5 comes from the decision of a person in a review; the result of refund holds it too" in notes
    assert "a person changed /amount in a review" in notes
