"""What a schema can cost, against counting it out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.validation.keywords import Subschemas
from llmtrace.validation.limits import MAX_VISITS, TooCostlyError, limits_of, measure

NAMES = ["a", "b"]
references = st.sampled_from(["#", "#/$defs/x", "#/$defs/y", "#anchor"]).map(lambda to: {"$ref": to})
subschemas = st.recursive(
    st.just({"type": "string"}) | references,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "allOf": st.lists(inner, max_size=2),
            "anyOf": st.lists(inner, max_size=2),
            "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)
values = st.recursive(
    st.just("x"),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=2) | st.lists(inner, max_size=2),
    max_leaves=6,
)


class _TooMany(Exception):
    pass


def _count(subschemas: Subschemas, node: Any, value: Any, budget: list[int]) -> int:
    """Applications of subschemas to a value, counted one by one, none left out by short cuts."""
    budget[0] -= 1
    if budget[0] < 0:
        raise _TooMany
    applied = subschemas.applied(node)
    total = applied.cost + sum(_count(subschemas, child, value, budget) for child in applied.same_value)
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    kind = "member" if isinstance(value, dict) else "element"
    for key, member in members:
        for slot, children in applied.inside.items():
            if slot[0] == "any" or slot == (kind, key):
                total += sum(_count(subschemas, child, member, budget) for child in children)
    return total


@settings(max_examples=300, deadline=None)
@given(subschemas, subschemas, subschemas, values)
def test_no_value_that_is_allowed_costs_more_than_was_said(root: Any, x: Any, y: Any, value: Any) -> None:
    """Counted out, the applications are no more than the bound; where no bound is needed, few per value."""
    schema = {**root, "$defs": {"x": x, "y": y}, "$anchor": "anchor"}
    try:
        bounds = limits_of(schema, json.dumps(schema).encode())
    except TooCostlyError:
        return
    size = measure(value)
    most = 64 * size.values
    if bounds is not None:
        if not bounds.allow(value):
            return
        most = bounds.visits[min(size.depth, len(bounds.visits) - 1)] * size.values
    try:
        assert _count(Subschemas(schema), schema, value, [20_000]) <= most
    except _TooMany:
        assert most >= 20_000


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {"$id": "http://e.org/s.json", "dependentSchemas": {"a": {"$ref": "s.json"}}},
        {"$anchor": "me", "if": {"$ref": "#me"}},
    ],
)
def test_a_schema_that_applies_itself_to_the_same_value_is_refused(schema: Any) -> None:
    """It would never end, or end in a verdict that means nothing."""
    with pytest.raises(TooCostlyError, match="without end"):
        limits_of(schema, json.dumps(schema).encode())


def test_growth_is_bounded_by_depth() -> None:
    """A schema that applies itself twice to each member allows as much depth as its doubling leaves."""
    twice = [{"properties": {"a": {"$ref": "#"}}}] * 2
    schema = {"type": "object", "allOf": [dict(each) for each in twice]}
    bounds = limits_of(schema, json.dumps(schema).encode())
    assert bounds is not None
    assert bounds.grows
    value: Any = 1
    allowed = 0
    while bounds.allow(value):
        value, allowed = {"a": value}, allowed + 1
    assert 10 < allowed < 20
    assert 2**allowed < MAX_VISITS
