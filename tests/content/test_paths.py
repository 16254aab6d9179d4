"""The subset of JSONPath that redaction knows."""

from __future__ import annotations

import pytest

from llmtrace.content.paths import parse_path, replace_at
from llmtrace.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$.a.b", ("a", "b")),
        ("$..key", (..., "key")),
        ("$.a..b[0]", ("a", ..., "b", 0)),
        ("$[*].x", (None, "x")),
        ("$.*", (None,)),
        ("$..*", (..., None)),
        ("$..[0]", (..., 0)),
        ("$['a b'][\"c.d\"]", ("a b", "c.d")),
        ("$.order-id", ("order-id",)),
    ],
)
def test_paths_that_are_known(text: str, steps: tuple[object, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text", ["", "$", "a.b", "$.", "$...a", "$.a[", "$.a[?(@.b)]", "$.a[1:2]", "$a", "$.a b", "$.a.", "$..", "$[-1]"]
)
def test_what_is_not_known_says_so(text: str) -> None:
    with pytest.raises(ConfigurationError, match="JSON path"):
        parse_path(text)


def test_nothing_is_copied_where_nothing_fits() -> None:
    value = {"a": [{"b": 1}]}
    assert replace_at(value, parse_path("$.a[*].c"), lambda _: 0) is value
    assert replace_at(5, parse_path("$.a"), lambda _: 0) == 5


def test_the_value_given_is_not_changed() -> None:
    value = {"a": [{"b": 1}, {"b": 2}]}
    assert replace_at(value, parse_path("$..b"), lambda _: 0) == {"a": [{"b": 0}, {"b": 0}]}
    assert value == {"a": [{"b": 1}, {"b": 2}]}
