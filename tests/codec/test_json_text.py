"""JSON text and back, odd values included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from llmtrace.codec import json_text
from tests import strategies as some


@given(some.json_values())
@settings(deadline=None)
def test_a_value_reads_back(value: Any) -> None:
    """read(write(value)) == value: big integers, NaN, infinities, lone surrogates."""
    assert some.alike(json_text.read(json_text.write(value)), value)


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [object(), Hostile(), endless(), {"a": {1, 2}}, {(1, 2): 3}, b"\xff", [Hostile()]])
def test_writing_never_raises(value: Any) -> None:
    """A value that is not JSON is written as some JSON text."""
    json_text.read(json_text.write(value))


def test_any_depth_is_written_and_what_can_be_read_is() -> None:
    """Deep nesting is written by the slow writer, and very deep nesting as a placeholder."""
    value: Any = []
    for depth in range(100_000):
        if depth == 400:
            assert json_text.read(json_text.write(value)) == value
        value = [value]
    assert "unserialisable" in json_text.read(json_text.write(value))


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", "[" * 100_000, '"a" "b"'])
def test_invalid_json_is_a_value_error(text: str) -> None:
    """read raises ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011
        json_text.read(text)
