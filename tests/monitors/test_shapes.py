"""Shapes of results: the first one that differs is flagged, and becomes a warning when the change stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmtrace.model import Span, ToolExecution
from llmtrace.monitors import tool_results
from tests.monitors.streams import Shelf, run_of, tool, watched

ORDER = {"id": "KS-1", "total": 42.0, "lines": [{"sku": "a", "count": 1}], "note": None}


def results(before: int, after: list[Any]) -> list[tuple[int, str, str | None, str | None]]:
    found = watched(run_of(number, tool(result)) for number, result in enumerate([ORDER] * before + after))
    return [(run, one.severity, one.label, one.pointer) for run, one in found if one.name == "drift.tool_results"]


@pytest.mark.parametrize(
    ("changed", "label", "pointer"),
    [
        (ORDER | {"total": "42.00 EUR"}, "new_type", "/total"),
        ({name: inner for name, inner in ORDER.items() if name != "total"}, "missing_field", "/total"),
        (ORDER | {"vat": 7}, "new_field", "/vat"),
        (ORDER | {"lines": [{"sku": "a", "count": "1"}]}, "new_type", "/lines/-/count"),
        ("<html>maintenance</html>", "new_type", ""),
    ],
)
def test_the_first_result_that_shows_a_change_is_flagged(changed: Any, label: str, pointer: str) -> None:
    """At once, as something to look at; the third run that has it makes it a warning on that same first span."""
    assert results(30, [changed]) == [(30, "info", label, pointer)]
    stays = results(30, [changed] * 3)
    assert [(run, severity) for run, severity, *_ in stays] == [(30, "info"), (30, "warning")]


def test_a_rarity_is_no_warning() -> None:
    """A field that one result in seven has is told once, and that is all; a tool whose results always differ is left alone."""
    assert [severity for _, severity, *_ in results(30, [ORDER | {"gift": True}, *[ORDER] * 6] * 3)] == ["info"]
    traces = (run_of(number, tool({f"field_{chr(97 + number % 26)}{number // 26}x": 1})) for number in range(100))
    assert [one for _, one in watched(traces) if one.severity == "warning"] == []


def test_an_empty_and_a_failing_tool_show_as_shares() -> None:
    """A tool that suddenly finds nothing, or says error in so many words, raises nothing: its shares move."""
    calls = [tool(ORDER)] * 60 + [tool([])] * 12 + [tool("Error: upstream")] * 12
    found = [
        (run, one.explanation) for run, one in watched(run_of(n, call) for n, call in enumerate(calls)) if one.pointer is None
    ]
    assert "share of empty results rose from 0.0 % to 100 %" in found[0][1]
    assert 60 <= found[0][0] < 72


def test_two_tools_and_two_services_are_apart() -> None:
    """What one tool gives is no baseline for another, nor for one of the same name in another service."""
    shelf = Shelf()
    traces = [run_of(n, tool(ORDER), resource={"service.name": "a"}) for n in range(40)]
    traces += [run_of(n, tool({"other": 1}), resource={"service.name": "b"}) for n in range(40, 80)]
    traces += [run_of(n, tool([1], "list_all"), resource={"service.name": "a"}) for n in range(80, 120)]
    assert list(watched(traces, shelf)) == []


def test_a_key_that_is_data_is_nowhere() -> None:
    """An object by customer or by date has no fields: none of its keys is told, whatever changes below it."""
    keys = ("ada@example.com", "Ada Lovelace", "2026-11-24", "KS-20457", "")
    shelf = Shelf()
    traces = [run_of(n, tool({"of": {keys[n % 5]: {"total": 1}}})) for n in range(60)]
    traces += [run_of(n, tool({"of": {keys[n % 5]: {"total": "1"}}})) for n in range(60, 70)]
    found = [one for _, one in watched(traces, shelf)]
    assert {one.pointer for one in found} == {"/of/*/total"}
    assert not any(key in repr((shelf.held, found)) for key in keys if key)


def test_a_long_text_is_not_parsed() -> None:
    """Its shape is that of a text."""
    for items, shape in ((10, list), (100_000, str)):
        result = json.dumps(list(range(items)))
        span = Span("1" * 32, "2" * 16, "s", 1, 2, operation=ToolExecution("f", {}, result=result, has_result=True))
        assert [type(one.value) for one in tool_results.observe(span) if one.part == "shape"] == [shape]
