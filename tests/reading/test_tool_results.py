"""What a tool's result shows by its form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.model import INVALID_TOOL_CALL, Failure, Span, ToolExecution
from llmtrace.reading.result_form import has_failed, is_cut_json, is_empty, is_error, parse_json, structure_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.parametrize(
    "result",
    [
        {"error": "no such order"},
        {"success": False},
        {"ok": False, "reason": "busy"},
        {"status": "error"},
        {"status_code": 503},
        '{"isError": true}',
        '"Error: no such order"',
        [{"type": "text", "text": "Error: no such order"}],
        "TimeoutError: 5 s",
    ],
)
def test_errors_are_read_by_their_form(result: Any) -> None:
    """As an object, as JSON text, in content blocks, or as programs write them."""
    assert is_error(result)


@pytest.mark.parametrize(
    "result", [None, "", [], {}, {"error": None}, {"errors": []}, {"status": "sent"}, {"status": 200}, "sent", 404]
)
def test_other_results_are_no_errors(result: Any) -> None:
    """An empty member named error, and a status of the domain, are results."""
    assert not is_error(result)


@pytest.mark.parametrize(
    "result", [None, "", "  ", "[]", "{}", [], {}, {"items": [], "count": 0}, '{"items": []}', [[]], [None]]
)
def test_empty_results(result: Any) -> None:
    """Nothing at all, or nothing but empty members."""
    assert is_empty(result)


@pytest.mark.parametrize("result", ["none of them", 0, False, {"count": 3}, [0, 1], ["a"], "x" * 400])
def test_results_that_say_something(result: Any) -> None:
    """A number, a flag and words are results."""
    assert not is_empty(result) or result in (0, False)


@given(JSON)
def test_no_result_is_too_odd(result: Any) -> None:
    """Reading a result never raises, whatever it is."""
    is_error(result)
    is_empty(result)
    structure_of(result)


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    """Nor does reading a text; one that parses was not cut."""
    assert not (is_cut_json(text) and parse_json(text) is parse_json("1"))
    is_error(text)


def test_cut_json_is_told_from_whole() -> None:
    """The beginning of an object was cut; a whole one with words behind it was not, nor a line of a log."""
    assert is_cut_json('{"a": [1, 2')
    assert not is_cut_json('{"a": 1} and more')
    assert not is_cut_json("plain words")
    assert not is_cut_json("[14:51:14] Monitoring ...")


def execution(**fields: Any) -> Span:
    failure = fields.pop("failure", None)
    return Span("a" * 32, "b" * 16, "execute_tool pay", 0, 1, operation=ToolExecution("pay", {}, **fields), failure=failure)


def test_failed_has_one_meaning() -> None:
    """Refused, raised, or answered with an error; a call that broke its schema and was answered well has not failed."""
    assert has_failed(execution(executed=False, failure=Failure("unknown_tool"))) is True
    assert has_failed(execution(executed=False)) is None  # a person holds it back
    assert has_failed(execution(failure=Failure("ValueError", "no"))) is True
    assert has_failed(execution(result={"error": "no"}, has_result=True)) is True
    assert has_failed(execution(result="paid", has_result=True, failure=Failure("tool_error"))) is True
    assert has_failed(execution(result="paid", has_result=True, failure=Failure(INVALID_TOOL_CALL))) is False
    assert has_failed(execution(result="paid", has_result=True)) is False
    assert has_failed(execution()) is None
