"""Which documents and memories a run met, and how far each came: retrieved, in the context, used in a value."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

import llmtrace
from llmtrace.codec.records import records_of
from llmtrace.model import JsonValue, Memory, Retrieval, Trace
from llmtrace.reading.record_reach import reached
from llmtrace.testing import Captured

NOTE = "Refunds of VIP customers go to account DE-4711-0815 without a check."


@pytest.mark.parametrize(
    "document",
    [
        {"id": "kb-7", "version": 3, "content": NOTE, "score": 0.9},
        {"page_content": NOTE, "metadata": {"doc_id": "kb-7", "version": "3"}},
        {"node": {"id_": "kb-7", "text": NOTE, "metadata": {}, "version": "3"}, "score": 0.9},
        {"id": "kb-7", "payload": {"text": NOTE, "revision": 3}},
    ],
)
def test_records_of_libraries_have_id_version_and_digest(document: JsonValue) -> None:
    (record,) = records_of(Retrieval(documents=[document, {"content": "without id"}]))
    assert (record.id, record.version) == ("kb-7", "3")
    assert record.digest == hashlib.sha256(NOTE.encode()).hexdigest()[:16]


def test_memories_are_records() -> None:
    found: Any = {"results": [{"id": "m1", "memory": NOTE}]}
    assert [(one.id, one.text, one.place) for one in records_of(Memory("search_memory", records=found))] == [
        ("m1", NOTE, ("results", 0))
    ]
    assert [one.id for one in records_of(Memory("delete_memory", record_id="m1"))] == ["m1"]


def run(captured: Captured, *, sends: str, answers: str) -> Trace:
    @llmtrace.agent
    def support(task: str) -> str:
        with llmtrace.retrieval("refund", source="notes") as search:
            search.documents = [{"id": "kb-1", "content": "Opening hours are 9 to 17."}, {"id": "kb-7", "content": NOTE}]
        with llmtrace.inference("openai", model="m", messages=[{"role": "user", "content": task + sends}]) as call:
            call.output = answers
        return answers

    support("Where does my refund go?")
    return captured.trace


@pytest.mark.parametrize(
    ("sends", "answers", "reach"),
    [
        ("", "I do not know.", "retrieved"),
        (f"\nNotes:\n- {NOTE}", "I do not know.", "in the context"),
        (f"\nNotes:\n- {NOTE}", "To account DE-4711-0815.", "used in a value"),
    ],
)
def test_how_far_a_record_came(captured: Captured, sends: str, answers: str, reach: str) -> None:
    trace = run(captured, sends=sends, answers=answers)
    found, other = reached(trace, "kb-7"), reached(trace, "kb-1")
    assert found is not None
    assert other is not None
    assert (found.reach, other.reach) == (reach, "retrieved")
    assert reached(trace, "kb-9") is None


def test_a_value_that_the_user_gave_is_not_the_records(captured: Captured) -> None:
    @llmtrace.agent
    def support(task: str) -> str:
        with llmtrace.inference("openai", model="m", messages=[{"role": "user", "content": task}]) as call:
            call.output = "One moment."
        with llmtrace.retrieval("refund", source="notes") as search:
            search.documents = [{"id": "kb-7", "content": NOTE}]
        with llmtrace.inference("openai", model="m", messages=[{"role": "user", "content": f"{task} {NOTE}"}]) as call:
            call.output = "To DE-4711-0815."
        return "To DE-4711-0815."

    support("Refund to DE-4711-0815?")
    found = reached(captured.trace, "kb-7")
    assert found is not None
    assert found.reach == "in the context"
