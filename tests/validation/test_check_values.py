"""Verdicts on tool calls, outputs and results."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.model import ToolCall, ToolDefinition, Violation
from llmtrace.validation.check_values import check_arguments, check_call, check_output, check_result
from llmtrace.validation.parse_arguments import parse_arguments

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "pattern": "^#W[0-9]+$", "maxLength": 8, "minLength": 3},
        "amount": {"type": "number", "minimum": 0, "exclusiveMaximum": 1000, "multipleOf": 0.5},
        "reason": {"enum": ["damaged", "late", "other"]},
        "when": {"type": "string", "format": "date"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "kind": {"const": "refund"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3, "minItems": 1, "uniqueItems": True},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "zip/code": {"type": "string"}},
            "required": ["street"],
            "additionalProperties": False,
        },
        "payment": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"by": {"const": "card"}, "digits": {"type": "integer"}},
                    "required": ["by", "digits"],
                },
                {"type": "object", "properties": {"by": {"const": "cash"}}, "required": ["by"]},
            ]
        },
        "either": {"anyOf": [{"required": ["a"], "type": "object"}, {"required": ["b"], "type": "object"}]},
        "pair": {"prefixItems": [{"type": "string"}], "items": False},
        "map": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "maxProperties": 2, "minProperties": 1},
        "not_null": {"not": {"type": "null"}},
        "some": {"contains": {"type": "integer"}},
        "free": {"type": "object"},
    },
    "required": ["order_id", "amount"],
    "dependentRequired": {"kind": ["reason"]},
    "additionalProperties": False,
}
VALID: dict[str, Any] = {
    "order_id": "#W123",
    "amount": 9.5,
    "reason": "late",
    "when": "2026-01-31",
    "note": None,
    "kind": "refund",
    "tags": ["a", "b"],
    "address": {"street": "Main 1", "zip/code": "1"},
    "payment": {"by": "card", "digits": 4},
    "either": {"a": 1},
    "pair": ["x"],
    "map": {"k": 1},
    "not_null": 1,
    "some": ["x", 1],
    "free": {"anything": 1},
}
TOOL = ToolDefinition("refund", SCHEMA, cache={})


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A mutation: the last of ``path`` becomes the value at the rest of it."""

    def mutate(arguments: dict[str, Any]) -> None:
        home: Any = arguments
        for step in path[:-2]:
            home = home[step]
        home[path[-2]] = path[-1]

    return mutate


def _drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def mutate(arguments: dict[str, Any]) -> None:
        home: Any = arguments
        for step in path[:-1]:
            home = home[step]
        del home[path[-1]]

    return mutate


PLANTED = [
    (_drop("order_id"), "missing", "/order_id", "required"),
    (_drop("address", "street"), "missing", "/address/street", "required"),
    (_drop("reason"), "missing", "/reason", "dependentRequired"),
    (_drop("payment", "digits"), "missing", "/payment/digits", "required"),
    (_set("colour", "red"), "unexpected", "/colour", "additionalProperties"),
    (_set("address", "a/b~c", 1), "unexpected", "/address/a~1b~0c", "additionalProperties"),
    (_set("pair", ["x", 1]), "unexpected", "/pair/1", "items"),
    (_set("map", {"UP": 1}), "unexpected", "/map/UP", "propertyNames"),
    (_set("amount", "9.5"), "wrong_type", "/amount", "type"),
    (_set("note", 5), "wrong_type", "/note", "type"),
    (_set("tags", 1, 7), "wrong_type", "/tags/1", "type"),
    (_set("address", "zip/code", 7), "wrong_type", "/address/zip~1code", "type"),
    (_set("payment", "digits", "4"), "wrong_type", "/payment/digits", "type"),
    (_set("amount", -1), "out_of_range", "/amount", "minimum"),
    (_set("amount", 1000), "out_of_range", "/amount", "exclusiveMaximum"),
    (_set("amount", 9.3), "out_of_range", "/amount", "multipleOf"),
    (_set("order_id", "W1234"), "bad_format", "/order_id", "pattern"),
    (_set("when", "31.01.2026"), "bad_format", "/when", "format"),
    (_set("reason", "lost"), "not_allowed", "/reason", "enum"),
    (_set("kind", "return"), "not_allowed", "/kind", "const"),
    (_set("not_null", None), "not_allowed", "/not_null", "not"),
    (_set("order_id", "#W1234567"), "too_long", "/order_id", "maxLength"),
    (_set("tags", ["a", "b", "c", "d"]), "too_long", "/tags", "maxItems"),
    (_set("map", {"a": 1, "b": 1, "c": 1}), "too_long", "/map", "maxProperties"),
    (_set("tags", []), "too_short", "/tags", "minItems"),
    (_set("map", {}), "too_short", "/map", "minProperties"),
    (_set("tags", ["a", "a"]), "not_unique", "/tags", "uniqueItems"),
    (_set("either", {"c": 1}), "no_match", "/either", "anyOf"),
    (_set("some", ["x"]), "no_match", "/some", "contains"),
]


@pytest.mark.parametrize(("mutate", "code", "pointer", "keyword"), PLANTED, ids=[f"{row[1]} {row[2]}" for row in PLANTED])
def test_a_planted_fault_is_found(mutate: Callable[[Any], None], code: str, pointer: str, keyword: str) -> None:
    """One fault in a valid call gives one violation: its code, its keyword, its exact pointer."""
    arguments = copy.deepcopy(VALID)
    mutate(arguments)
    [found] = check_call(ToolCall("refund", parse_arguments(json.dumps(arguments)), "call_1"), [TOOL])
    assert (found.code, found.pointer, found.keyword) == (code, pointer, keyword)
    assert (found.tool, found.call_id, found.where) == ("refund", "call_1", "arguments")
    assert found.severity == ("warning" if keyword == "format" else "error")


def test_a_valid_call_has_no_fault() -> None:
    """The call that the faults are planted in is valid, as an object and as text."""
    assert check_call(ToolCall("refund", VALID), [TOOL]) == ()
    assert check_arguments(parse_arguments(json.dumps(VALID)), TOOL) == ()


@given(st.lists(st.sampled_from(range(len(PLANTED))), min_size=2, max_size=6, unique=True))
def test_all_faults_at_once(rows: list[int]) -> None:
    """Faults planted together are all found, unless one undoes another by touching the same member."""
    chosen = [PLANTED[row] for row in rows]
    tops = [pointer.split("/")[1] for _, _, pointer, _ in chosen]
    if len(set(tops)) != len(tops) or {"reason", "kind"} <= set(tops):
        return
    arguments = copy.deepcopy(VALID)
    for mutate, *_ in chosen:
        mutate(arguments)
    found = {(each.code, each.pointer) for each in check_arguments(arguments, TOOL)}
    assert found == {(code, pointer) for _, code, pointer, _ in chosen}


def _only(found: tuple[Violation, ...]) -> Violation:
    [violation] = found
    return violation


@pytest.mark.parametrize(
    ("raw", "code", "severity"),
    [
        ("{'order_id': 1}", "malformed_json", "error"),
        ('{"order_id": ', "malformed_json", "error"),
        ("[]", "not_an_object", "error"),
        ("null", "not_an_object", "error"),
        ('"{}"', "not_an_object", "error"),
        ('{"order_id": "#W1", "amount": 1, "amount": 2}', "duplicate_key", "warning"),
    ],
)
def test_text_that_is_no_object(raw: str, code: str, severity: str) -> None:
    """Malformed text, JSON that is no object, and duplicate keys have codes of their own."""
    found = _only(check_arguments(parse_arguments(raw), TOOL))
    assert (found.code, found.severity) == (code, severity)
    assert found.pointer == ("/amount" if code == "duplicate_key" else "")
    assert (found.line is not None) is (code == "malformed_json")


def test_an_object_encoded_twice_is_told() -> None:
    """A JSON string that holds the object is no object, and the message says so."""
    assert "encoded twice" in _only(check_arguments('"{\\"a\\": 1}"', TOOL)).message


def test_nothing_at_all() -> None:
    """Empty text, as models send it for a tool without parameters, is a warning, and what is required is missing."""
    no_parameters = ToolDefinition("ping", {"type": "object", "properties": {}})
    found = _only(check_arguments("", no_parameters))
    assert (found.code, found.severity) == ("malformed_json", "warning")
    assert check_arguments(None, no_parameters) == ()
    assert [each.code for each in check_arguments(" \n", TOOL)] == ["malformed_json", "missing", "missing"]


def test_duplicates_do_not_hide_other_faults() -> None:
    """The object with the last of the duplicates is checked too."""
    found = check_arguments('{"order_id": "#W1", "amount": 1, "amount": "2"}', TOOL)
    assert [(each.code, each.pointer) for each in found] == [("duplicate_key", "/amount"), ("wrong_type", "/amount")]


@pytest.mark.parametrize("name", ["refnd", "Refund", "functions.refund", "re-fund"])
def test_an_unknown_tool_has_a_near_name(name: str) -> None:
    """The name that was probably meant is told, from the tools on offer, in a list or by name."""
    tools = [ToolDefinition("look_up", {}), ToolDefinition("refund", {})]
    for offered in (tools, {tool.name: tool for tool in tools}):
        found = _only(check_call(ToolCall(name, {}, "c"), offered))
        assert (found.code, found.tool, found.got, found.expected) == ("unknown_tool", name, name, ["look_up", "refund"])
        assert "did you mean `refund`?" in found.message


def test_an_unknown_tool_with_malformed_arguments() -> None:
    """Both are told."""
    found = check_call(ToolCall("nothing_alike", "{"), [TOOL])
    assert [each.code for each in found] == ["unknown_tool", "malformed_json"]
    assert "did you mean" not in found[0].message


def test_without_definitions_only_the_text_is_checked() -> None:
    """Where the request is not visible, no tool is unknown."""
    assert check_call(ToolCall("refund", {"a": 1}), []) == ()
    assert [each.code for each in check_call(ToolCall("refund", "{"), {})] == ["malformed_json"]
    assert check_arguments("free text", ToolDefinition("grep", type="custom")) == ()


CLOSABLE = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "when": {"type": "string", "format": "date-time"},
        "place": {"type": "object", "properties": {"lat": {"type": "number"}}},
        "free": {"type": "object"},
        "loose": {"type": "object", "properties": {}},
        "open": {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        "composed": {"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]},
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (
            "date-time",
            (
                "2026-01-02T10:00:00Z",
                "2026-01-02T10:00:00.5+02:00",
                "2026-01-02T10:00:00",
                "2026-01-02T10:00",
                "2026-01-02 10:00",
            ),
            ("tomorrow", "2026-01-02", "2026-13-02T10:00:00", "2026-01-02T25:00", "10:00", "2026-01-02T10:00Z+", ""),
        ),
        ("time", ("10:00:00Z", "10:00:00", "10:00"), ("noon", "25:00", "10", "")),
        ("duration", ("PT3S", "PT1.5S", "-PT3S", "P1Y35D", "P2W", "P1DT1H"), ("3 days", "P", "PT", "P1DT", "0:00:03", "")),
    ],
)
def test_times_need_no_zone(name: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    """What pydantic reads as a time or a duration is none in the wrong format, since its schemas say no more than these."""
    definition = ToolDefinition("t", {"type": "object", "properties": {"at": {"type": "string", "format": name}}})
    assert {text for text in (*right, *wrong) if check_arguments({"at": text}, definition)} == set(wrong)
    assert [(each.code, each.severity) for each in check_arguments({"at": wrong[0]}, definition)] == [("bad_format", "warning")]


@pytest.mark.parametrize(
    ("extra", "pointers"),
    [
        ({"cite": 1}, ["/cite"]),
        ({"place": {"lat": 1, "lon": 2}}, ["/place/lon"]),
        ({"when": "tomorrow"}, ["/when"]),
        ({"free": {"x": 1}, "loose": {"x": 1}, "open": {"x": 1}, "composed": {"x": 1}}, []),
        ({"cite": 1, "place": {"lon": 2}, "when": "x"}, ["/cite", "/place/lon", "/when"]),
    ],
)
def test_closed_form_and_formats_are_warnings(extra: dict[str, Any], pointers: list[str]) -> None:
    """What breaks only the closed form, or a format: a warning; for a strict tool an error; if free or composed, nothing."""
    arguments = {"city": "Rome", **extra}
    for strict, severity in ((False, "warning"), (True, "error")):
        found = check_arguments(arguments, ToolDefinition("weather", CLOSABLE, strict=strict))
        assert sorted(each.pointer for each in found) == pointers
        assert {each.severity for each in found} <= {severity}


def test_errors_come_before_warnings() -> None:
    """An error is told once, as an error, and before the warnings."""
    found = check_arguments({"citi": "Rome", "when": 5}, ToolDefinition("weather", CLOSABLE))
    assert [(each.code, each.severity) for each in found] == [
        ("missing", "error"),
        ("wrong_type", "error"),
        ("unexpected", "warning"),
    ]
    assert "did you mean `city`?" in found[2].message


@pytest.mark.parametrize(
    ("schema", "value", "code", "pointer", "expected"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "5", "wrong_type", "", ["integer", "null"]),
        ({"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]}, 1, "out_of_range", "", 3),
        ({"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]}, "c", "not_allowed", "", ["a", "b"]),
        ({"anyOf": [{"type": "string", "pattern": "^x"}, {"type": "string", "maxLength": 2}]}, "abc", "no_match", "", None),
        ({"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 2, "no_match", "", None),
        ({"anyOf": [{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "array"}]}, "x", "wrong_type", "", None),
        (
            {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]},
            [1, "2"],
            "wrong_type",
            "/1",
            "integer",
        ),
    ],
)
def test_the_nearest_alternative_speaks(schema: Any, value: Any, code: str, pointer: str, expected: Any) -> None:
    """Of anyOf and oneOf the faults of the one clearly nearest alternative are told; else that none fits."""
    definition = ToolDefinition("t", {"type": "object", "properties": {"x": schema}, "additionalProperties": False})
    found = check_arguments({"x": value}, definition)
    assert (found[0].code, found[0].pointer) == (code, f"/x{pointer}")
    if expected is not None:
        assert found[0].expected == expected


def test_integers_are_as_in_json_schema() -> None:
    """5.0 is an integer, true is none, and integers of any size are compared exactly."""
    definition = ToolDefinition("t", {"properties": {"n": {"type": "integer", "maximum": 10**30}}})
    for value in (5, 5.0, 10**30, -(10**30)):
        assert check_arguments({"n": value}, definition) == ()
    assert _only(check_arguments({"n": 10**30 + 1}, definition)).code == "out_of_range"
    assert _only(check_arguments({"n": True}, definition)).code == "wrong_type"
    assert _only(check_arguments({"n": 5.5}, definition)).code == "wrong_type"


def test_many_faults_are_bounded() -> None:
    """A list of a thousand wrong elements gives a hundred violations."""
    definition = ToolDefinition("t", {"properties": {"l": {"items": {"type": "string"}}}})
    found = check_arguments({"l": list(range(1000))}, definition)
    assert len(found) == 100
    assert found[99].pointer == "/l/99"


@given(st.text("canry", min_size=4, max_size=12), st.sampled_from(PLANTED))
def test_messages_are_free_of_content(secret: str, planted: Any) -> None:
    """What the model said stands in ``got`` and in pointers, never in a message or in what was expected."""
    canary = f"CANARY{secret}"
    arguments: dict[str, Any] = {**copy.deepcopy(VALID), "order_id": canary, canary: canary, "map": {canary: 1}}
    planted[0](arguments)
    arguments["reason"] = canary
    for found in check_arguments(arguments, TOOL) + check_arguments(f'{{"{canary}": {canary}', TOOL):
        assert "CANARY" not in found.message + json.dumps(found.expected)


def test_violations_keep_values_of_their_own() -> None:
    """What a violation shows does not change when the program changes the arguments afterwards."""
    arguments: dict[str, Any] = {"order_id": "#W123", "amount": [1]}
    found = _only(check_arguments(arguments, TOOL))
    arguments["amount"].append(2)
    assert found.got == [1]


def test_output_against_its_schema() -> None:
    """An answer that was to be JSON: its text, then its value, with the same codes."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    assert check_output('{"n": 1}', schema) == ()
    assert check_output("[1]", {"type": "array"}) == ()
    for text, code, pointer in (
        ('{"n": "1"}', "wrong_type", "/n"),
        ("{}", "missing", "/n"),
        ('{"n": 1} done', "malformed_json", ""),
        ('```json\n{"n": 1}\n```', "malformed_json", ""),
        ("", "malformed_json", ""),
        ('{"n": 1, "n": 2}', "duplicate_key", "/n"),
    ):
        found = _only(check_output(text, schema))
        assert (found.code, found.pointer, found.where, found.tool) == (code, pointer, "output", None)


def test_result_against_its_schema() -> None:
    """A tool's result is checked against its output schema, if it has one."""
    definition = ToolDefinition("t", output={"type": "object", "required": ["id"]})
    assert check_result({"id": 1}, definition) == check_result("anything", ToolDefinition("t")) == ()
    found = _only(check_result({}, definition, call_id="c"))
    assert (found.code, found.pointer, found.where, found.call_id) == ("missing", "/id", "result", "c")


def test_equal_definitions_are_judged_alike_with_and_without_cache() -> None:
    """The cache on a definition changes nothing but the time."""
    for arguments in (VALID, {}, {"amount": "x"}):
        fresh = ToolDefinition("refund", copy.deepcopy(SCHEMA))
        assert check_arguments(arguments, fresh) == check_arguments(arguments, TOOL) == check_arguments(arguments, TOOL)
