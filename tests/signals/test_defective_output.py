"""A stream whose connection is lost, through the real client."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from tests.instrumentation.openai_server import MODEL, Server, chunk, streamed, text_chunks

import llmtrace
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
    """The program read all that came, and no finish reason was among it. So the answer is lost, and the run ends cut."""
    assert labels(chunk({"content": "It is on"})) == [("defective_output", "stream_cut"), ("end_state", "cut")]


def test_a_whole_stream_is_not() -> None:
    assert labels(*text_chunks()) == []


@pytest.mark.parametrize("read", [1, 2])
def test_a_stream_that_the_program_left_is_not(read: int) -> None:
    assert ("defective_output", "stream_cut") not in labels(*text_chunks(), read=read)


def test_a_stream_that_raised_is_a_failure_of_its_own() -> None:
    found = labels(chunk({"content": "It is on"}), breaks=httpx.ReadError("reset"))
    assert ("defective_output", "stream_cut") not in found
