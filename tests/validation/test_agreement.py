"""Verdicts on random schemas and values, against python-jsonschema; and the fallback against the validator in line."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import jsonschema_specifications
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.model import ToolDefinition
from llmtrace.validation import python_engine, rust_engine
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.compiled_schema import close
from llmtrace.validation.violations import violations

NAMES = ["a", "b", "c/d", "~"]
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.0, "", "a", "ab", "abc", "2026-01-01"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
counts = st.integers(0, 3)


def _table(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """What each keyword may say, given what may stand in a subschema."""
    members = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    several = st.lists(inner, min_size=1, max_size=3)
    applied = ("additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else")
    counted = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
    return {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "properties": members,
        "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "[c~]"]), inner, max_size=2),
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), st.just(["b"]), max_size=2),
        "prefixItems": several,
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "pattern": st.sampled_from(["^a", "b$", "^[0-9-]+$"]),
        "uniqueItems": st.booleans(),
        "format": st.sampled_from(["date", "ipv4"]),
        "unevaluatedProperties": inner,
        "unevaluatedItems": inner,
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
        **dict.fromkeys(("anyOf", "oneOf", "allOf"), several),
        **dict.fromkeys(applied, inner),
        **dict.fromkeys(counted, counts),
    }


@st.composite
def _keywords(draw: st.DrawFn, depth: int) -> Any:
    leaf = st.booleans() | st.builds(lambda name: {"type": name}, types)
    table = _table(leaf if depth == 0 else leaf | _keywords(depth - 1))
    chosen = draw(st.lists(st.sampled_from(sorted(table)), min_size=1, max_size=4, unique=True))
    return {keyword: draw(table[keyword]) for keyword in chosen}


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """An object schema; ``x`` may refer to ``y``, and both to nothing that refers back."""
    plain = st.builds(lambda name, least: {"type": name, "minLength": least}, types, counts)
    root = draw(_keywords(2))
    return {**root, "$defs": {"x": {"anyOf": [draw(plain), {"$ref": "#/$defs/y"}]}, "y": draw(plain)}}


def _oracle(schema: Any) -> Any:
    return jsonschema.Draft202012Validator(schema, registry=jsonschema_specifications.REGISTRY)


@settings(max_examples=250, deadline=None)
@given(schemas(), objects)
def test_errors_are_what_python_jsonschema_finds_invalid(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    """A call has an error exactly if python-jsonschema finds it invalid, formats not asserted."""
    found = check_arguments(arguments, ToolDefinition("t", schema))
    assert "schema" not in {each.code for each in found}
    assert any(each.severity == "error" for each in found) is not _oracle(schema).is_valid(arguments)


@settings(max_examples=120, deadline=None)
@given(schemas(), objects)
def test_strict_means_the_closed_form(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    """A strict tool has an error exactly if the call is invalid against the schema or its closed form, formats asserted."""
    found = check_arguments(arguments, ToolDefinition("t", schema, strict=True))
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    closed = jsonschema.Draft202012Validator(close(schema), registry=jsonschema_specifications.REGISTRY, format_checker=checker)
    assert bool(found) is not (_oracle(schema).is_valid(arguments) and closed.is_valid(arguments))
    assert all(each.severity == "error" for each in found)


@settings(max_examples=120, deadline=None)
@given(schemas(), objects)
def test_closing_only_narrows(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    """What the closed form takes, the schema takes; and closing leaves the schema that it was given as it was."""
    before = copy.deepcopy(schema)
    closed = close(schema)
    assert schema == before
    assert _oracle(schema).is_valid(arguments) or not _oracle(closed).is_valid(arguments)


@settings(max_examples=120, deadline=None)
@given(schemas(), objects)
def test_the_fallback_finds_the_same(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Without jsonschema-rs the verdict is the same, and so are codes and pointers where no alternatives are involved."""
    if "unevaluatedProperties" in str(schema) and "patternProperties" in str(schema):
        return  # it says that it cannot
    fast = rust_engine.compile_schema(schema, formats=False).faults(arguments)
    slow = python_engine.compile_schema(schema, formats=False).faults(arguments)
    assert bool(fast) is bool(slow)
    if not any(keyword in str(schema) for keyword in ("anyOf", "oneOf", "allOf", "$ref", "unevaluated", "propertyNames", "if")):
        assert _found(fast) == _found(slow)


def _found(faults: Any) -> set[tuple[str, str]]:
    return {(each.code, each.pointer) for each in violations(faults)}


def test_formats_are_checked_without_the_packages_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """python-jsonschema is installed without its extra for formats: jsonschema-rs checks them in its place."""
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    few = {name: check for name, check in checker.checkers.items() if name in ("date", "ipv4", "email", "regex", "uuid")}
    monkeypatch.setattr(checker, "checkers", few)
    python_engine._format_checker.cache_clear()
    try:
        for name, good in (("date-time", "2026-11-28T20:00:00Z"), ("uri", "https://a.example/b"), ("date", "2026-11-28")):
            engine = python_engine.compile_schema({"format": name}, formats=True)
            assert engine.is_valid(good)
            assert not engine.is_valid("n o t h i n g")
    finally:
        python_engine._format_checker.cache_clear()
