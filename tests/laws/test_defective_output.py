"""A stream whose connection is lost, through the real client."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from tests.instrumentation.openai_server import MODEL, Server, chunk, streamed, text_chunks

import llmtrace
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Inference, Span, Trace
from llmtrace.testing import capture

QUESTION: Any = [{"role": "user", "content": "Where is it?"}]


def labels(*chunks: Any, read: int | None = None, breaks: BaseException | None = None) -> list[tuple[str, str | None]]:
    """What is found on an agent that reads the first ``read`` chunks of one stream, or all."""
    client = Server(streamed(chunks, breaks=breaks, done=False)).client()
    with capture() as captured, llmtrace.agent("support"):
        stream = client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        try:
            for number, _ in enumerate(stream, start=1):
                if number == read:
                    stream.close()
                    break
        except openai.APIConnectionError:
            pass
    return [(found.name, found.label) for span in captured.spans for found in span.evaluations]


def test_a_stream_that_ends_in_the_middle_is_cut() -> None:
    """The program read all that came, and no finish reason was among it. The answer is lost: a fact, and a mark of the run."""
    assert labels(chunk({"content": "It is on"})) == [("defective_output", "stream_cut")] * 2


def test_a_whole_stream_is_not() -> None:
    assert labels(*text_chunks()) == []


@pytest.mark.parametrize("read", [1, 2])
def test_a_stream_that_the_program_left_is_not(read: int) -> None:
    assert ("defective_output", "stream_cut") not in labels(*text_chunks(), read=read)


def test_a_stream_that_raised_is_a_failure_of_its_own() -> None:
    found = labels(chunk({"content": "It is on"}), breaks=httpx.ReadError("reset"))
    assert ("defective_output", "stream_cut") not in found


@pytest.mark.parametrize(("reason", "label"), [("length", "cut"), ("content_filter", "filtered"), ("stop", None)])
def test_an_answer_that_was_not_recorded_is_judged_by_its_finish_reason(reason: str, label: str | None) -> None:
    """Other writers leave content out; that the answer was cut is known all the same."""
    span = Span("1" * 32, "2" * 16, "chat", 1, 2, operation=Inference("p", request_model="m", finish_reasons=(reason,)))
    judged, _ = evaluate_trace(Trace([span]))
    found = [(one.name, one.label) for one in judged.root.evaluations if one.name == "defective_output"]
    assert found == ([] if label is None else [("defective_output", label)] * 2)  # the fact, and the mark of the run
