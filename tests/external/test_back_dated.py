"""A span that another instrumentation back-dates to when it made the stream (OpenInference's of LlamaIndex) is our call's."""

from __future__ import annotations

import time

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from llmtrace.external.same_call import OurCalls, current_worker
from llmtrace.model import Inference, Message, Scope, Span, Text

ANSWER = (Message("assistant", (Text("yes"),)),)


@pytest.mark.parametrize(("text", "is_same"), [("yes", True), ("no", False), ("", False)])
def test_its_answer_says_whether_it_is_the_same_call(text: str, is_same: bool) -> None:
    calls, began = OurCalls(), time.time_ns()
    calls.started("a" * 16, Inference("openai", "m"), INVALID_SPAN_CONTEXT)
    started = time.time_ns()
    calls.ended(Span("1" * 32, "a" * 16, "chat m", started, started + 10, operation=Inference("openai", "m", output=ANSWER)))
    output = (Message("assistant", (Text(text),)),) if text else ()
    theirs = Span(
        "1" * 32, "b" * 16, "stream", began - 20, began - 10, operation=Inference("", "m", output=output), scope=Scope("o")
    )
    assert calls.take(theirs, current_worker()) is is_same
