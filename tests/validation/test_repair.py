"""Repairing a call without loss, and telling the model what is wrong with it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.model import ToolCall, ToolDefinition
from llmtrace.validation.check_values import check_arguments, check_call
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.repair import repair, reply
from llmtrace.validation.signature import Signature

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string"},
        "count": {"type": "integer", "minimum": 1},
        "price": {"type": "number"},
        "express": {"type": "boolean"},
        "note": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "size": {"enum": [1, 2, "large"]},
        "address": {"type": "object", "properties": {"floor": {"type": "integer"}}},
        "lines": {"type": "array", "items": {"type": "integer"}},
        "when": {"type": "string", "format": "date"},
    },
    "required": ["count"],
}
TOOL = ToolDefinition("order", SCHEMA, cache={})


@pytest.mark.parametrize(
    ("given_member", "repaired", "note"),
    [
        ({"count": "5"}, {"count": 5}, "/count: string to integer"),
        ({"price": "0.10"}, {"price": 0.1}, "/price: string to number"),
        ({"price": "-3e2"}, {"price": -300.0}, "/price: string to number"),
        ({"express": "true"}, {"express": True}, "/express: string to boolean"),
        ({"express": "False"}, {"express": False}, "/express: string to boolean"),
        ({"order_id": 42}, {"order_id": "42"}, "/order_id: integer to string"),
        ({"note": "7"}, {"note": 7}, "/note: string to integer"),
        ({"note": "null"}, {"note": None}, "/note: string to null"),
        ({"size": "2"}, {"size": 2}, "/size: string to integer"),
        ({"address": '{"floor": 1}'}, {"address": {"floor": 1}}, "/address: string to object"),
        ({"address": {"floor": "1"}}, {"address": {"floor": 1}}, "/address/floor: string to integer"),
        ({"lines": "[1, 2]"}, {"lines": [1, 2]}, "/lines: string to array"),
        ({"lines": [1, "2"]}, {"lines": [1, 2]}, "/lines/1: string to integer"),
    ],
)
def test_what_is_only_written_differently_is_repaired(given_member: Any, repaired: Any, note: str) -> None:
    """The value says the same in the type that the schema wants; the given arguments stay as they were."""
    arguments = {"count": 1, **given_member}
    before = copy.deepcopy(arguments)
    assert repair(arguments, TOOL) == ({"count": 1, **repaired}, (note,))
    assert arguments == before


def test_repairs_uncover_more_to_repair() -> None:
    """Text that turns out to be an object is repaired inside."""
    found = repair({"count": "1", "address": '{"floor": "2"}'}, TOOL)
    assert found is not None
    assert found[0] == {"count": 1, "address": {"floor": 2}}
    assert len(found[1]) == 3


@pytest.mark.parametrize(
    ("raw", "repaired"),
    [
        ('```json\n{"count": "5"}\n```', {"count": 5}),
        ('"{\\"count\\": 5}"', {"count": 5}),
        ('"```json\\n{\\"count\\": 5}\\n```"', {"count": 5}),
        ('{"count": 5}', {"count": 5}),
    ],
)
def test_wrappings_come_off(raw: str, repaired: Any) -> None:
    """A code fence, a second encoding as text."""
    found = repair(parse_arguments(raw), TOOL)
    assert found is not None
    assert found[0] == repaired


def test_nothing_is_no_arguments() -> None:
    """Empty text for a tool that requires nothing."""
    assert repair("", ToolDefinition("ping", {"type": "object", "properties": {}})) == ({}, (": nothing to {}",))
    assert repair("", TOOL) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"count": 5.5},
        {"count": "5.5"},
        {"count": "05"},
        {"count": " 5"},
        {"count": "five"},
        {"count": "1_000"},
        {"count": [5]},
        {"count": True},
        {"count": None},
        {"count": "0"},
        {},
        {"count": 1, "express": "yes"},
        {"count": 1, "express": 1},
        {"count": 1, "order_id": 5.5},
        {"count": 1, "order_id": True},
        {"count": 1, "price": "1e999"},
        {"count": 1, "price": "0.1000000000000000055511151231257827"},
        {"count": 1, "price": "NaN"},
        {"count": 1, "size": "Large"},
        {"count": 1, "lines": 5},
        {"count": 1, "lines": "1, 2"},
        {"count": 1, "lines": '[1], "x": [2]'},
        {"count": 1, "address": '{"floor": 1, "floor": 2}'},
        "{'count': 1}",
        '{"count": 1}{"count": 2}',
        '{"count": "1", "count": 2}',
        "[1]",
        [1],
        "not JSON",
    ],
)
def test_what_would_be_a_guess_is_not_repaired(arguments: Any) -> None:
    """Rounding, trimming, wrapping, renaming, choosing: none of it; then there is no repair at all."""
    assert repair(arguments, TOOL) is None


def test_a_strict_tool_is_repaired_to_its_closed_form_or_not_at_all() -> None:
    """Unexpected members are not dropped."""
    strict = ToolDefinition("order", SCHEMA, strict=True)
    assert repair({"count": "1", "colour": 1}, strict) is None
    found = repair({"count": "1", "colour": 1}, TOOL)
    assert found is not None
    assert found[0] == {"count": 1, "colour": 1}


members = st.sampled_from(sorted(SCHEMA["properties"]))
texts = st.sampled_from(["1", "0", "-1.5", "true", "null", "[1]", "{}", "x", ""])
leaves = texts | st.sampled_from([0, 1, 2.0, 2.5, True, None, [], {}, ["1"], [[1]]])


@given(st.dictionaries(members, leaves, max_size=4))
def test_a_repair_is_valid_and_says_the_same(arguments: dict[str, Any]) -> None:
    """Repaired arguments have no error, the same members, and each value reads like the one it came from."""
    found = repair(arguments, TOOL)
    if found is None:
        return
    repaired, notes = found
    assert not [each for each in check_arguments(repaired, TOOL) if each.severity == "error"]
    assert repaired.keys() == arguments.keys()
    assert bool(notes) is (json.dumps(repaired) != json.dumps(arguments))
    for name, value in repaired.items():
        same = {json.dumps(value), str(value), json.dumps(value).replace('"', "")}
        assert json.dumps(arguments[name]).replace('"', "") in same or str(arguments[name]) in same or value == arguments[name]


def refund(order_id: str, amount: float, reason: str = "late") -> None: ...


def test_a_reply_names_every_fault_and_how_to_mend_it() -> None:
    """All faults with their pointers, near names, allowed values, and what the tool takes."""
    definition = ToolDefinition(
        "order",
        {**SCHEMA, "properties": {**SCHEMA["properties"], "size": {"enum": ["small", "large"]}}},
    )
    arguments = {"cuont": 1, "size": "larg", "lines": ["a"], "when": "today"}
    said = reply("order", check_arguments(arguments, definition), [definition])
    assert said == (
        "`order` was not run: its arguments have 5 faults.\n"
        "- /count: `count` is required\n"
        "- /lines/0: must be an integer, not a string\n"
        '- /size: must be one of "small", "large"; did you mean "large"?\n'
        "- /cuont: is not expected; did you mean `count`?\n"
        '- /when: must have the format "date"\n'
        "`order` takes order_id (string), count (integer, required), price (number), express (boolean), "
        'note (integer | null), size ("small" | "large"), address (object), lines (array), when (string).\n'
        "Correct the arguments and call it again."
    )


def test_a_reply_to_malformed_json_says_where() -> None:
    """Line and column, and what the tool takes."""
    definition = Signature(refund).definition
    said = reply("refund", check_arguments("{\"order_id\": '1'}", definition), {"refund": definition})
    assert said == (
        "`refund` was not run: its arguments have 1 fault.\n"
        "- the arguments: not JSON: single quotes are used; JSON needs double quotes (line 1, column 14)\n"
        "`refund` takes order_id (string, required), amount (number, required), reason (string).\n"
        "Correct the arguments and call it again."
    )


def test_a_reply_to_an_unknown_tool_lists_those_there_are() -> None:
    """The near name first, then all of them."""
    tools = [ToolDefinition("look_up"), ToolDefinition("refund")]
    assert reply("refnd", check_call(ToolCall("refnd", {}), tools), tools) == (
        "`refnd` was not run: no tool of this name is on offer; did you mean `refund`?\nThe tools are: `look_up`, `refund`."
    )


def test_a_reply_is_short() -> None:
    """However many faults and parameters there are."""
    schema = {"type": "object", "properties": {f"parameter_{n}": {"type": "integer"} for n in range(300)}}
    definition = ToolDefinition("t", schema)
    arguments = {f"parameter_{n}": "x" * 10_000 for n in range(300)}
    said = reply("t", check_arguments(arguments, definition), [definition])
    assert len(said) < 3000
    assert "- and 80 more" in said
