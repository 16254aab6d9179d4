"""Edits of recorded answers; each provider's forms are edited in its contract suite."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmtrace.errors import ConfigurationError
from llmtrace.model import (
    Exchange,
    Failure,
    Inference,
    JsonValue,
    Message,
    Recorded,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Trace,
    replace,
)
from llmtrace.playback.edit import Edit, answer_of, apply, edit_to, edited, edited_body, request_change
from llmtrace.playback.recorded_run import RecordedRun

ID = "1" * 16


def executed(result: JsonValue) -> Span:
    operation = ToolExecution("look_up", {}, result=result, has_result=True)
    return Span("a" * 32, ID, "execute_tool look_up", 1, 2, operation=operation, run_id="b" * 32, failure=Failure("x"))


def answered(body: Any, *output: Text | ToolCall) -> Span:
    operation = Inference("openai", output=(Message("assistant", output),))
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    recorded = Recorded("d" * 32, (Exchange(500, {}, b"try again"), Exchange(200, {}, text)))
    return Span("a" * 32, ID, "chat m", 1, 2, operation=operation, run_id="b" * 32, recorded=recorded)


def body_of(span: Span) -> str:
    assert span.recorded is not None
    return span.recorded.exchanges[-1].body.decode()


def test_a_result_is_edited_and_the_recorded_one_stays() -> None:
    span = executed({"orders": [{"id": "A"}, {"id": "B"}]})
    for place, value, expected in (
        ("/orders/1/id", "C", {"orders": [{"id": "A"}, {"id": "C"}]}),
        ("/orders", [], {"orders": []}),
        ("", "gone", "gone"),
    ):
        new = edited(span, Edit(ID, place, value))
        assert isinstance(new.operation, ToolExecution)
        assert (new.operation.result, new.failure) == (expected, None)
    assert isinstance(span.operation, ToolExecution)
    assert span.operation.result == {"orders": [{"id": "A"}, {"id": "B"}]}


def test_a_result_is_edited_in_the_object_that_the_tool_gave() -> None:
    """At its place in an object of the same form; in a library's message, where that holds the text of the result."""
    result: JsonValue = {"total": 1}
    of_its_own = {"$class": "a.Order", "$holds": {"total": 1}}
    message = {"$class": "a.Message", "$holds": {"__dict__": {"content": '{"total": 1}'}, "__pydantic_fields_set__": []}}
    for kept, place, value, expected in (
        (of_its_own, "/total", 2, {"$class": "a.Order", "$holds": {"total": 2}}),
        (message, "/total", 2, json.loads(json.dumps(message).replace(": 1}", ": 2}"))),
        (message, "", "gone", json.loads(json.dumps(message).replace('{\\"total\\": 1}', "gone"))),
    ):
        span = replace(executed(result), recorded=Recorded("d", (Exchange(body=json.dumps({"returned": kept}).encode()),)))
        assert json.loads(body_of(edited(span, Edit(ID, place, value))))["returned"] == expected


def test_what_was_changed_is_the_smallest_edit() -> None:
    """Of a result any place; of a model's call one argument, or the text; a list is replaced as a whole."""
    result = executed({"total": 1, "lines": [{"id": "A/B"}]})
    for answer, place, value in (
        ({"total": True, "lines": [{"id": "A/B"}]}, "/total", True),
        ({"total": 1, "lines": [{"id": "C"}]}, "/lines", [{"id": "C"}]),
        ({"total": 2, "lines": []}, "", {"total": 2, "lines": []}),
    ):
        assert edit_to(result, answer) == Edit(ID, place, value)
    assert edit_to(result, answer_of(result)) is None
    assert edit_to(answered({}, Text("Hi")), "Hello") == Edit(ID, "text", "Hello")
    call = answered({"arguments": '{"tags":["a","b"],"n":1}'}, Text("Hi"), ToolCall("look_up", {"tags": ["a", "b"], "n": 1}))
    assert answer_of(call) == {"text": "Hi", "look_up": {"tags": ["a", "b"], "n": 1}}
    edit = edit_to(call, {"text": "Hi", "look_up": {"tags": ["a"], "n": 1}})
    assert edit == Edit(ID, "look_up/tags", ["a"])
    assert json.loads(body_of(edited(call, edit))) == {"arguments": '{"tags":["a"],"n":1}'}
    for answer in ({"text": "Hi", "look_up": {"tags": [], "n": 2}}, {"text": "Ho", "look_up": {"tags": [], "n": 1}}, "Hi"):
        with pytest.raises(ConfigurationError, match="change one argument"):
            edit_to(call, answer)


def test_a_value_in_pieces_is_put_in_the_first() -> None:
    pieces = ['{"order', '_id": "K', 'S-1", "n": 1}']
    events = [{"choices": [{"delta": {"arguments": piece}}]} for piece in pieces]
    body = b"".join(b"data: %s\r\n\r\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
    new = body_of(
        edited(answered(body, ToolCall("look_up", {"order_id": "KS-1", "n": 1})), Edit(ID, "look_up/order_id", "KS-22"))
    )
    got = [json.loads(line[6:])["choices"][0]["delta"]["arguments"] for line in new.splitlines() if line.startswith("data: {")]
    assert json.loads("".join(got)) == {"order_id": "KS-22", "n": 1}
    assert new.endswith("data: [DONE]\n\n")
    assert new.count("\r\n\r\n") == 3


def test_a_request_is_edited_where_the_program_makes_it() -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1}

    def edited_to(place: str, value: Any) -> Any:
        return json.loads(edited_body(json.dumps(body).encode(), Edit(ID, place, value)))

    assert edited_to("/messages/0/content", "Hö")["messages"] == [{"role": "user", "content": "Hö"}]
    assert edited_to("/seed", 7) == {**body, "seed": 7}
    assert edited_to("", {"messages": []}) == {"messages": []}
    assert request_change(body, Edit(ID, "/messages/0/content", "Ho")) == "/messages/0/content: [-Hi-] {+Ho+}"
    assert request_change(body, Edit(ID, "/seed", 7)) == "/seed is new: 7"
    for place, value, said in (
        ("/temperature", 1, "has this value already"),
        ("/messages/1/content", "x", "nothing at /messages/1: /messages has 0"),
        ("/messages/1", "x", "nothing at /messages/1"),
        ("/temperature/x", 1, "nothing at /temperature/x: /temperature has no members"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            request_change(body, Edit(ID, place, value))
    with pytest.raises(ConfigurationError, match="not sent as JSON"):
        edited_body(b"a=1", Edit(ID, "/a", 2))


def test_what_cannot_be_edited_is_said() -> None:
    twice = {"a": [{"arguments": '{"id": 1}'}, {"arguments": '{"id": 1}'}]}
    for span, place, said in (
        (executed({"a": 1}), "/b", "nothing at /b"),
        (executed([1]), "/7", "nothing at /7"),
        (answered({}, Text("x")), "look_up/id", "nothing at 'look_up/id'; edit its text"),
        (answered({}, ToolCall("look_up", {"id": 1})), "text", "nothing at 'text'; edit its look_up/…"),
        (executed({"a": 1}), "a", "the place in a tool's result is /a"),
        (answered({}, ToolCall("look_up", {"id": 1})), "look_up/name", "nothing at /name: it has id"),
        (answered({"x": "y"}, ToolCall("look_up", {"id": 1})), "look_up/id", "is not found"),
        (answered(twice, ToolCall("look_up", {"id": 1})), "look_up/id", "stands 2 times"),
        (answered(b"not JSON", Text("x")), "text", "no JSON"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            edited(span, Edit(ID, place, 2 if place != "text" else "z"))
    with pytest.raises(ConfigurationError, match="no step 2"):
        apply(RecordedRun([Trace([executed(1)])]), Edit("2", "", 1))


def test_an_argument_that_breaks_the_schema_is_refused() -> None:
    """A fault that the recorded call had may stay: the edit is of another argument."""
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, "days": {"type": "integer"}}}
    call = ToolCall("look_up", {"id": 1, "days": "two"})
    span = answered({"arguments": '{"id": 1, "days": "two"}'}, call)
    assert isinstance(span.operation, Inference)
    span = replace(span, operation=replace(span.operation, tools=(ToolDefinition("look_up", schema),)))
    with pytest.raises(ConfigurationError, match="look_up does not take that: /id"):
        edited(span, Edit(ID, "look_up/id", "one"))
    assert json.loads(json.loads(body_of(edited(span, Edit(ID, "look_up/id", 7))))["arguments"]) == {"id": 7, "days": "two"}
