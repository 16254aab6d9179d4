"""The judge's correction of one value, against a real server: read strictly, and held against the tool's schema."""

from __future__ import annotations

import json

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.diagnosis import Suspect
from llmtrace.errors import JudgeFailed
from llmtrace.judge import Endpoint
from llmtrace.judge.correction import CorrectionQuestion, correct, question_for
from llmtrace.judge.prompt import MOST_CHARACTERS
from llmtrace.model import JsonValue, ToolExecution
from llmtrace.playback.corrections import Correction, place_of
from llmtrace.reading.graph import analyze
from tests.agent_run import AgentRun, tool
from tests.playback.test_corrections import recorded


def question(pointer: str | None, result: JsonValue, **arguments: JsonValue) -> CorrectionQuestion:
    run = (
        AgentRun(tool("look_up", "order_id", count={"type": "integer"}))
        .user("KS-1, please")
        .call("look_up", result, **arguments)
    )
    trace = recorded(run)
    span = next(span for span in trace.spans if isinstance(span.operation, ToolExecution))
    suspect = Suspect("some_law", "some_label", "likely", span.span_id, "a title", "evidence", tool="look_up", pointer=pointer)
    place = place_of(trace, suspect)
    assert place is not None
    return question_for(trace, analyze(trace), suspect, place)


@pytest.mark.parametrize(
    ("pointer", "value", "expected"),
    [
        ("/order_id", '"KS-1"', "KS-1"),
        ("/order_id", "1", "1"),  # JSON, but the schema wants a text
        ("/order_id", '"KS-2"', "it gives the recorded value"),
        ("/order_id", None, 'it cannot tell the right value: "why"'),
        ("/order_id", 5, "not in the form"),
        ("/count", '"many"', "its value does not fit: must be an integer"),
        (None, '{"total": 2}', {"total": 2}),
        (None, "[]", "its value does not fit: it must have the kind of the recorded value"),
    ],
)
def test_a_value_is_taken_or_refused(pointer: str | None, value: JsonValue, expected: JsonValue) -> None:
    asked = question(pointer, {"total": 1}, order_id="KS-2", count=1)
    answer = json.dumps({"value": value, "reason": "why"})
    with ModelServer(lambda _: {"role": "assistant", "content": answer}, pace=0) as server:
        tokens, given = correct(asked, Endpoint("m", server.url))
    assert tokens.input_tokens is not None
    if isinstance(given, Correction):
        assert given.edit == asked.place._replace(value=expected)
        assert given.what.endswith(', which judge m gives: "why"')
    else:
        assert str(expected) in str(given)


def test_what_is_asked_is_bounded() -> None:
    """A value too long for the question is not cut, which no answer could mend: nobody is asked."""
    asked = question(None, "x" * 3 * MOST_CHARACTERS, order_id="KS-2")
    with pytest.raises(JudgeFailed, match="too long"):
        correct(asked, Endpoint("m", "http://127.0.0.1:9/v1"))
