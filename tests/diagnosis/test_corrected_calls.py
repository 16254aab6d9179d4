"""What a model asked for and what the tool got are two things: only what the tool got was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.agent_run import AgentRun, tool

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.diagnosis.result import Suspect
from llmtrace.lineage import analyze
from llmtrace.model import Failure, Message, Review, ToolCall, ToolExecution, ToolResult
from llmtrace.model.reviews import ReviewRequest
from llmtrace.store import open_store

MADE_UP = {"order_id": "KS-20431", "amount": 42.0}
WRONG_TYPE = {"order_id": "42", "amount": "42.0"}


def suspect_of(check: str, arguments: dict[str, Any], store: Path, *, approves: bool = False, **options: Any) -> Suspect:
    """What is said of a run in which a model asks for a refund, and gets an answer."""

    def look(request: ReviewRequest) -> llmtrace.Decision:
        if approves:
            return llmtrace.Decision("approved", by="Ada")
        return llmtrace.Decision("edited", {"order_id": "KS-20457", "amount": 42.0}, by="Ada")

    def refund(order_id: str, amount: float) -> str:
        """Pay back."""
        return f"refunded {amount} EUR for {order_id}"

    llmtrace.configure(store=store, instrument=(), exporters=(), notify=look)
    tools = llmtrace.Tools(llmtrace.tool(**options)(refund))
    calls = [{"id": "c1", "type": "function", "function": {"name": "refund", "arguments": json.dumps(arguments)}}]

    @llmtrace.agent
    def support(task: str) -> str:
        with llmtrace.inference("openai", model="m", messages=task, tools=tools) as call:
            call.output = {"role": "assistant", "tool_calls": calls}
        tools.run(calls)
        return "It is on its way."

    support("I would like my 42 EUR back.")
    llmtrace.shutdown()
    store_read = open_store(str(store))
    (summary,) = store_read.traces()
    suspects = diagnose(store_read.trace(summary.trace_id)).suspects
    return next(suspect for suspect in suspects if suspect.check == check)


@pytest.mark.parametrize(
    ("check", "arguments", "options", "confidence", "words"),
    [
        ("ungrounded_argument", MADE_UP, {}, "likely", "answered all the same"),
        ("ungrounded_argument", MADE_UP, {"review": True}, "possible", "it was corrected before refund ran"),
        ("ungrounded_argument", MADE_UP, {"review": True, "approves": True}, "possible", "a person approved the call"),
        ("invalid_call", WRONG_TYPE, {"on_invalid": "record"}, "certain", "it ran all the same"),
        ("invalid_call", WRONG_TYPE, {"on_invalid": "repair"}, "possible", "were corrected before refund ran"),
        ("invalid_call", WRONG_TYPE, {"on_invalid": "review"}, "possible", "were corrected before refund ran"),
    ],
)
def test_what_was_corrected_or_approved_before_it_ran_marks_no_run(
    check: str, arguments: dict[str, Any], options: dict[str, Any], confidence: str, words: str, tmp_path: Path
) -> None:
    suspect = suspect_of(check, arguments, tmp_path / "store", **options)
    assert suspect.confidence == confidence
    assert words in suspect.evidence


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
