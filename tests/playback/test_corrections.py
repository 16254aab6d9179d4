"""What a suspect is corrected to, from the record alone."""

from __future__ import annotations

import json

import pytest
from tests.agent_run import AgentRun, tool

from llmtrace.diagnosis import Suspect
from llmtrace.errors import ConfigurationError
from llmtrace.model import Exchange, Inference, Recorded, ToolExecution, Trace, replace
from llmtrace.playback.corrections import TAKEN_OUT, chosen, correction, place_of, read_value

LOOK_UP = tool("look_up", "order_id", count={"type": "integer"})


def recorded(run: AgentRun) -> Trace:
    """The trace, with each model call's answer as it came over the wire."""
    trace = run.trace()
    spans = []
    for span in trace.spans:
        if isinstance(span.operation, Inference):
            calls = [call for message in span.operation.output for call in message.tool_calls()]
            body = {"tool_calls": [{"name": call.name, "arguments": json.dumps(call.arguments)} for call in calls]}
            span = replace(span, recorded=Recorded("d" * 32, (Exchange(200, {}, json.dumps(body).encode()),)))
        spans.append(span)
    return Trace(spans)


def suspect(trace: Trace, pointer: str | None, kind: type = ToolExecution) -> Suspect:
    span = next(span for span in trace.spans if isinstance(span.operation, kind))
    return Suspect("some_law", "some_label", "likely", span.span_id, "a title", "evidence", tool="look_up", pointer=pointer)


def test_the_one_identifier_of_the_same_form_that_the_model_was_told() -> None:
    run = AgentRun(LOOK_UP).user("Order KS-20457, please, not AB-1.").call("look_up", {"ok": True}, order_id="KS-20431")
    trace = recorded(run)
    found = correction(trace, suspect(trace, "/order_id"))
    assert found is not None
    assert found.what == "look_up/order_id=KS-20457"
    asking = next(span for span in trace.spans if isinstance(span.operation, Inference))
    assert found.edit.span_id == asking.span_id  # the model said it, so what it said is changed


def test_the_type_that_the_schema_asks_for() -> None:
    run = AgentRun(LOOK_UP).user("hello").call("look_up", {"ok": True}, order_id="A", count="3")
    trace = recorded(run)
    found = correction(trace, suspect(trace, "/count", Inference))
    assert found is not None
    assert (found.edit.place, found.edit.value) == ("look_up/count", 3)


def test_without_a_right_value_the_step_is_taken_out() -> None:
    """None of that form, or two of them: which is right cannot be told."""
    for task in ("no order here", "KS-20457 or KS-20458?"):
        run = AgentRun(LOOK_UP).user(task).call("look_up", {"ok": True}, order_id="KS-20431")
        trace = recorded(run)
        found = correction(trace, suspect(trace, "/order_id"))
        assert found is not None
        execution = next(span for span in trace.spans if isinstance(span.operation, ToolExecution))
        assert found.edit == (execution.span_id, "", TAKEN_OUT)


def test_a_person_says_what_is_right() -> None:
    run = AgentRun(LOOK_UP).user("hello").call("look_up", {"total": 1}, order_id="KS-20431")
    trace = recorded(run)
    asking, execution, *_ = [span for span in trace.spans if isinstance(span.operation, (Inference, ToolExecution))]
    for setting, span in (("look_up/order_id=KS-1", asking), ("/total=2", execution)):
        assert chosen(trace, suspect(trace, "/order_id").span_id, setting).edit.span_id == span.span_id


def test_an_answer_alone_has_no_correction() -> None:
    trace = recorded(AgentRun().user("hello").answer("done"))
    assert correction(trace, suspect(trace, None, Inference)) is None


def test_a_value_must_fit_the_schema_at_its_place() -> None:
    """JSON, or else the text; without a schema, of the recorded kind."""
    run = AgentRun(LOOK_UP).user("hello").call("look_up", {"ok": True}, order_id="A", count=3)
    trace = recorded(run)
    for pointer, text, expected in (("/order_id", "20418", "20418"), ("/order_id", '"B"', "B"), ("/count", "4", 4)):
        place = place_of(trace, suspect(trace, pointer))
        assert place is not None
        assert read_value(trace, place, text).value == expected
    place = place_of(trace, suspect(trace, "/count"))
    assert place is not None
    assert (place.place, place.value) == ("look_up/count", 3)
    with pytest.raises(ConfigurationError, match="does not fit"):
        read_value(trace, place, '"four"')
    place = place_of(trace, suspect(trace, None))
    assert place is not None
    assert (place.place, place.value) == ("", {"ok": True})
    assert read_value(trace, place, '{"ok": false}').value == {"ok": False}
    with pytest.raises(ConfigurationError, match="kind of the recorded value"):
        read_value(trace, place, "no")
