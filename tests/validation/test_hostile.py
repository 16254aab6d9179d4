"""Schemas and values made to do harm: nothing hangs, nothing is fetched, nothing takes the process down."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from llmtrace.model import ToolCall, ToolDefinition
from llmtrace.validation.check_values import check_arguments, check_call, check_result
from llmtrace.validation.compiled_schema import MAX_BYTES
from llmtrace.validation.limits import MAX_DEPTH, limits_of, measure

PRELUDE = """
import socket, sys, time
if {blocked}:
    sys.modules["jsonschema_rs"] = None
def refuse(*_, **__):
    raise AssertionError("a socket was opened")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from llmtrace.model import ToolDefinition
from llmtrace.validation import compiled_schema
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.parse_arguments import parse_arguments
assert (compiled_schema.load_rust_engine() is None) is {blocked}

def nested(times, leaf=1, name="a"):
    for _ in range(times):
        leaf = {{name: leaf}}
    return leaf

def check(schema, value, code):
    definition = ToolDefinition("t", schema, cache={{}})
    check_arguments({{}}, ToolDefinition("t", {{"type": "object"}}))  # what has to be imported is
    began = time.process_time()
    found = [each.code for each in check_arguments(value, definition)]
    spent = time.process_time() - began
    assert spent < 3, spent
    assert found == ([code] if code else []), found
    assert [each.code for each in check_arguments(value, definition)] == found
"""

CASES = {
    "a schema nested 100,000 levels": """
        schema = {}
        for _ in range(100_000):
            schema = {"properties": {"a": schema}}
        check(schema, {}, "schema")
    """,
    "a schema that holds itself": """
        schema = {"type": "object"}
        schema["properties"] = {"a": schema}
        check(schema, {}, "schema")
    """,
    "a schema of a megabyte": """
        check({"properties": {f"name{i}": {"type": "string"} for i in range(40_000)}}, {}, "schema")
    """,
    "a value nested 100,000 levels, as text": """
        schema = {"type": "object", "properties": {"a": {"$ref": "#"}}}
        check(schema, parse_arguments('{"a":' * 100_000 + "1" + "}" * 100_000), "malformed_json")
        check(schema, parse_arguments('{"a":' + "[" * 100_000), "malformed_json")
    """,
    "a value nested 100,000 levels, as an object": """
        check({"type": "object", "properties": {"a": {"$ref": "#"}}}, nested(100_000), "schema")
        check({"properties": {"a": {"type": "string"}}}, nested(100_000), "schema")
        check({"$ref": "https://json-schema.org/draft/2020-12/schema"}, nested(100_000, name="not"), "schema")
    """,
    "a value nested as deep as allowed": """
        check({"type": "object", "properties": {"a": {"$ref": "#"}}}, nested(199), "wrong_type")
    """,
    "a value that holds itself": """
        value = {}
        value["a"] = value
        check({"type": "object", "properties": {"a": {"$ref": "#"}}}, value, "schema")
        check({"properties": {"a": {"type": "string"}}}, value, "schema")
    """,
    "a reference to itself at the same place": """
        check({"$ref": "#"}, {}, "schema")
        check({"allOf": [{"$ref": "#"}]}, {}, "schema")
        check({"not": {"$ref": "#"}}, {}, "schema")
        check({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, {}, "schema")
    """,
    "2 to the 30 applications at one place": """
        both = lambda i: [{"$ref": f"#/$defs/d{i}"}, {"$ref": f"#/$defs/d{i}"}]
        for keyword in ("allOf", "anyOf", "oneOf"):
            definitions = {f"d{i}": {keyword: both(i + 1)} for i in range(30)}
            definitions["d30"] = {"required": ["x"]}
            check({"$ref": "#/$defs/d0", "$defs": definitions}, {}, "schema")
    """,
    "2 to the 30 applications below one another": """
        for reference, more in (
            ("#", {}),
            ("#x", {"$anchor": "x"}),
            ("http://e.org/x.json", {"$id": "http://e.org/x.json"}),
            ("x.json", {"$id": "http://e.org/x.json"}),
            ("#/%24defs/self", {"$defs": {"self": {"$ref": "#"}}}),
        ):
            twice = [{"properties": {"a": {"$ref": reference}}}, {"properties": {"a": {"$ref": reference}}}]
            check({"type": "object", "allOf": twice, **more}, nested(30), "schema")
            check({"type": "object", "allOf": twice, **more}, nested(5), "wrong_type")
        check({"type": "object", "patternProperties": {"a": {"$ref": "#"}, "^a": {"$ref": "#"}}}, nested(30), "schema")
    """,
    "a chain of 5,000 references": """
        definitions = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(5_000)}
        check({"$ref": "#/$defs/d0", "$defs": {**definitions, "d5000": {}}}, {}, "schema")
    """,
    "references to elsewhere": """
        for reference in ("http://10.255.255.1/a", "https://example.org/x#/y", "file:///etc/passwd", "other.json", "#/nowhere"):
            check({"properties": {"a": {"$ref": reference}}}, {"a": 1}, "schema")
        check({"$schema": "http://10.255.255.1/dialect", "type": "object"}, {}, None)
    """,
    "patterns that backtrack": """
        check({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 50_000 + "b"}, "bad_format")
        check({"properties": {"a": {"pattern": "(x+x+)+y"}}}, {"a": "x" * 50_000}, "bad_format")
        check({"patternProperties": {"^(a+)+$": False}}, {"a" * 50_000 + "b": 1}, None)
        check({"properties": {"a": {"pattern": "^(?!x)(?:(a+)+)\\\\1+c$"}}}, {"a": "a" * 5_000 + "b"}, "schema")
        check({"properties": {"a": {"anyOf": [{"pattern": "^(?!x)(?:(a+)+)\\\\1+c$"}]}}}, {"a": "a" * 5_000 + "b"}, "schema")
    """,
    "patterns that are huge": """
        check({"properties": {"a": {"pattern": "(((a{100}){100}){100}){100}"}}}, {"a": "x"}, "schema")
        check({"properties": {str(i): {"pattern": f"^.{{1,{1000 + i}}}$"} for i in range(1000)}}, {}, "schema")
    """,
    "values that are huge": """
        texts = {"properties": {"a": {"items": {"type": "string"}}}}
        check(texts, {"a": list(range(300_000))}, "no_match" if compiled_schema.load_rust_engine() else "schema")
        check({"properties": {"a": {"type": "integer"}}}, {"a": 10**5000}, None)
    """,
}


def _run(program: str) -> None:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stderr[-1500:]


@pytest.mark.parametrize("case", CASES)
def test_harm_is_refused(case: str) -> None:
    """The process lives, takes under 3 seconds of CPU, opens no socket, and says the same when asked again."""
    _run(PRELUDE.format(blocked=False) + textwrap.dedent(CASES[case]))


def test_harm_is_refused_without_jsonschema_rs() -> None:
    """The same holds where jsonschema-rs cannot be imported."""
    _run(PRELUDE.format(blocked=True) + "".join(map(textwrap.dedent, CASES.values())))


@pytest.mark.parametrize(
    "schema",
    [
        5,
        "text",
        [],
        {"type": "strin"},
        {"properties": []},
        {"required": "a"},
        {"enum": 5},
        {"a": object()},
        {"const": float("nan")},
    ],
)
def test_what_is_no_schema_checks_nothing(schema: Any) -> None:
    """The call goes through unvalidated, each time with one warning that says so; the text is still checked."""
    definition = ToolDefinition("t", schema, cache={})
    for _ in range(2):
        [found] = check_arguments({"a": 1}, definition)
        assert (found.code, found.severity, found.pointer) == ("schema", "warning", "")
        assert "cannot be used" in found.message
        assert [each.code for each in check_arguments("{", definition)] == ["malformed_json"]
        assert [each.code for each in check_result(1, ToolDefinition("t", output=schema))] == ["schema"]


def test_a_broken_schema_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line per definition, however many calls."""
    with caplog.at_level(logging.WARNING, logger="llmtrace"):
        for _ in range(5):
            check_call(ToolCall("logged_once", {}), [ToolDefinition("logged_once", {"type": "strin"})])
    assert [record.getMessage() for record in caplog.records] == [
        (
            "llmtrace: tool 'logged_once' goes unvalidated: its schema cannot be used: it is not a valid JSON Schema: "
            "/type is not valid"
        )
    ]


@pytest.mark.parametrize("schema", [{"pattern": "("}, {"anyOf": [{"pattern": "("}, {"type": "null"}]}])
def test_a_broken_pattern_is_logged_once(schema: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A pattern that no engine knows leaves only its own values unchecked; one line per definition says so."""
    name = f"pattern_in_{next(iter(schema))}"
    definition = ToolDefinition(name, {"type": "object", "properties": {"a": schema}}, cache={})
    with caplog.at_level(logging.WARNING, logger="llmtrace"):
        for _ in range(3):
            assert [each.code for each in check_arguments({"a": "x"}, definition)] == ["schema"]
    assert [record.getMessage() for record in caplog.records] == [
        f"llmtrace: tool '{name}' goes unvalidated in part: a pattern in its schema cannot be used"
    ]


LOOK_AROUND = r"(?=.*\d)(?=.*[a-z]).{8,}"
BRIEF: dict[str, tuple[Any, Any, str]] = {
    "look-around over a long text": ({"pattern": LOOK_AROUND}, "A" * 1_000_000, "schema"),
    "look-around over a text of 50,000": ({"pattern": LOOK_AROUND}, "A" * 50_000, "schema"),
    "look-around over many texts": ({"items": {"pattern": LOOK_AROUND}}, ["A" * 900] * 1000, "bad_format or schema"),
    "look-behind": ({"pattern": "(?<=x)y"}, "x" * 1_000_000, "schema"),
    "a back-reference": ({"pattern": r"(a+)+\1b"}, "a" * 1_000_000, "schema"),
    "a possessive repetition": ({"pattern": "(?:.*+x)y"}, "a" * 200_000, "schema"),
    "look-around in names": ({"patternProperties": {LOOK_AROUND: {"type": "integer"}}}, {"A" * 60_000: 1}, "schema"),
    "look-around of names": ({"propertyNames": {"pattern": LOOK_AROUND}}, {"A" * 60_000: 1}, "schema"),
    "1,000 constants": ({"anyOf": [{"const": f"c{i}"} for i in range(1000)]}, "A" * 1_000_000, "no_match"),
    "exactly one of 1,000 constants": ({"oneOf": [{"const": f"c{i}"} for i in range(1000)]}, "A" * 1_000_000, "no_match"),
    "1,000 options": ({"enum": [f"c{i}" for i in range(1000)]}, "A" * 1_000_000, "not_allowed"),
    "200 limits": ({"allOf": [{"maxLength": i} for i in range(200)]}, "A" * 1_000_000, "no_match"),
    "190 patterns": ({"anyOf": [{"pattern": f"[a-z]+z{i}"} for i in range(190)]}, "a" * 1_000_000, "no_match"),
    "90,000 wrong elements": ({"items": {"type": "string"}}, list(range(90_000)), "wrong_type"),
    "9,000 wrong elements": ({"items": {"type": "string"}}, list(range(9_000)), "wrong_type"),
    "a host name of a megabyte": ({"format": "idn-hostname"}, "é" * 1_000_000, "bad_format"),
}


@pytest.mark.parametrize("case", BRIEF)
def test_a_check_is_brief(case: str) -> None:
    """It takes some 50 ms of the calling thread at most; the limit here is for a busy machine."""
    schema, argument, code = BRIEF[case]
    definition = ToolDefinition("t", {"type": "object", "properties": {"a": schema}}, cache={})
    check_arguments({}, definition)
    began = time.process_time()
    found = check_arguments({"a": argument}, definition)
    spent = time.process_time() - began
    assert found[0].code in code
    assert spent < 0.4


def test_look_around_is_judged_where_it_is_affordable() -> None:
    """Short texts, and long ones that need few steps, are judged in full."""
    schema = {"properties": {"a": {"pattern": LOOK_AROUND}, "b": {"pattern": "^(?!.*secret)[a-z ]*$"}}}
    definition = ToolDefinition("t", schema, cache={})
    assert check_arguments({"a": "abcdefg1", "b": "x y " * 50_000}, definition) == ()
    [found] = check_arguments({"b": "x y " * 50_000 + "secret"}, definition)
    assert (found.code, found.pointer) == ("bad_format", "/b")
    [found] = check_arguments({"a": "A" * 500}, definition)
    assert (found.code, found.pointer, found.keyword, found.expected) == ("bad_format", "/a", "pattern", LOOK_AROUND)
    schema = {"patternProperties": {LOOK_AROUND: {"type": "integer"}}, "propertyNames": {"pattern": "^(?!x)"}}
    both = check_arguments({"abcdefg1": "", "xy": 1}, ToolDefinition("t", schema))
    assert {(each.code, each.pointer) for each in both} == {("wrong_type", "/abcdefg1"), ("unexpected", "/xy")}


def test_what_only_looks_like_a_pattern_stays() -> None:
    """Constants, options, and members that are called ``pattern`` are no patterns."""
    look = {"pattern": "(?=a)b"}
    schema = {"properties": {"pattern": {"const": look}, "b": {"enum": [look]}}, "default": look}
    assert check_arguments({"pattern": look, "b": look}, ToolDefinition("t", schema)) == ()


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        {1: 2},
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"\xff"},
        {"a": float("nan")},
        {"a": _Text("x")},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": (1, 2)},
        [],
        (),
        object(),
        5,
        True,
        b"{}",
    ],
)
def test_values_that_are_no_json_raise_nothing(value: Any) -> None:
    """Whatever a provider hands over as arguments gets a verdict."""
    for schema in ({"type": "object", "properties": {"a": {"type": "string"}}}, {}, None, True, False):
        check_arguments(value, ToolDefinition("t", schema))
        check_result(value, ToolDefinition("t", output=schema))


def test_text_of_another_class_is_text() -> None:
    """Subclasses of str, and halves of surrogate pairs, are judged as the text that they are."""
    definition = ToolDefinition("t", {"properties": {"a": {"type": "string", "maxLength": 1}}})
    assert check_arguments({"a": _Text("x")}, definition) == check_arguments({"a": "\ud800"}, definition) == ()
    assert [each.code for each in check_arguments({"a": _Text("xy")}, definition)] == ["too_long"]


def test_measure() -> None:
    """Depth counts containers inside one another, count every value; both stop for a value that holds itself."""
    assert measure(1) == (0, 1)
    assert measure({}) == (1, 1)
    assert measure({"a": [1, {"b": 2}]}) == (3, 5)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert measure(cyclic).depth == MAX_DEPTH + 1
    assert measure([[0] * 10] * 1000, limit=100).values > 100


def test_ordinary_schemas_are_not_measured() -> None:
    """Recursion apart, the schemas that tools have cost nothing to bound: values are not even looked at."""
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    union = {"properties": {"a": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}}, "$defs": {"x": {"type": "object"}}}
    assert limits_of({"properties": {"a": {"type": "string"}}}, b"{}") is None
    assert limits_of(union, b'"$ref"') is None
    bounds = limits_of(tree, b'"$ref"')
    assert bounds is not None
    assert bounds.recursive
    assert not bounds.grows
    assert MAX_BYTES == 512 * 1024
