"""What a model asked for and what the tool got are two things: only what the tool got was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.diagnosis.result import Suspect
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
