"""Reading tool definitions and output schemas in every form they come in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from llmtrace.model import ToolDefinition
from llmtrace.validation.tool_definitions import output_schema, read_definition

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolDefinition("weather", PARAMETERS, description="Look it up")


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "function", "function": {"name": "weather", "description": "Look it up", "parameters": PARAMETERS}},
        {"type": "function", "name": "weather", "description": "Look it up", "parameters": PARAMETERS, "strict": None},
        {"name": "weather", "description": "Look it up", "input_schema": PARAMETERS},
        {"type": "custom", "name": "weather", "description": "Look it up", "input_schema": PARAMETERS},
        {"name": "weather", "description": "Look it up", "parametersJsonSchema": PARAMETERS},
        {"name": "weather", "description": "Look it up", "inputSchema": PARAMETERS},
        {"name": "weather", "description": "Look it up", "parameters": PARAMETERS},
        {"toolSpec": {"name": "weather", "description": "Look it up", "inputSchema": {"json": PARAMETERS}}},
        WEATHER,
    ],
    ids=["openai chat", "openai responses", "anthropic", "anthropic custom", "google", "mcp", "bare", "bedrock", "ours"],
)
def test_every_form_says_the_same(raw: Any) -> None:
    """One tool, as each provider and protocol writes it, is one definition."""
    assert read_definition(raw) == WEATHER


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"type": "function", "function": {"name": "ping"}}, ToolDefinition("ping")),
        ({"type": "web_search_preview"}, ToolDefinition("web_search_preview", type="web_search_preview")),
        ({"type": "bash_20250124", "name": "bash"}, ToolDefinition("bash", type="bash_20250124")),
        ({"type": "custom", "custom": {"name": "grep", "format": {"type": "text"}}}, ToolDefinition("grep", type="custom")),
        ({"name": "a", "parameters": PARAMETERS, "strict": True}, ToolDefinition("a", PARAMETERS, strict=True)),
        (
            {"type": "function", "function": {"name": "a", "parameters": {}, "strict": True}},
            ToolDefinition("a", {}, strict=True),
        ),
        ({"name": "a", "inputSchema": {}, "outputSchema": PARAMETERS}, ToolDefinition("a", {}, output=PARAMETERS)),
    ],
)
def test_what_else_a_definition_says(raw: Any, expected: ToolDefinition) -> None:
    """Built-in and custom tools, strictness, the schema of the result."""
    assert read_definition(raw) == expected


def test_googles_schemas_become_standard() -> None:
    """Types in capitals, ``nullable`` and counts as text are read; names of members are left alone."""
    parameters = {
        "type": "OBJECT",
        "properties": {
            "nullable": {"type": "STRING", "nullable": True, "maxLength": "5"},
            "any_of": {"any_of": [{"type": "INTEGER"}, {"type": "STRING"}]},
            "items": {"type": "ARRAY", "items": {"type": "OBJECT", "properties": {}}, "min_items": "1"},
            "unit": {"type": "STRING", "format": "enum", "enum": ["c", "f"], "nullable": True},
        },
        "required": ["any_of"],
        "property_ordering": ["any_of"],
    }
    before = copy.deepcopy(parameters)
    assert read_definition({"name": "a", "parameters": parameters}).parameters == {
        "type": "object",
        "properties": {
            "nullable": {"type": ["string", "null"], "maxLength": 5},
            "any_of": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "items": {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 1},
            "unit": {"type": ["string", "null"], "format": "enum", "enum": ["c", "f", None]},
        },
        "required": ["any_of"],
    }
    assert parameters == before


def test_equal_definitions_are_one() -> None:
    """Definitions built anew for each request are read once, and keep what they were when the program changes its dict."""
    raw = {"name": "weather", "parameters": copy.deepcopy(PARAMETERS)}
    first = read_definition(raw)
    assert read_definition(copy.deepcopy(raw)) is first
    raw["parameters"]["required"] = []  # type: ignore[index]
    assert first.parameters == PARAMETERS
    assert read_definition(raw).parameters["required"] == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.builds(object),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "name", "function", "parameters", "strict", "toolSpec", "input_schema", "response"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_reading_never_raises(raw: Any) -> None:
    """Whatever stands in a request's tools or response format gives a definition, and a schema or None."""
    assert isinstance(read_definition(raw), ToolDefinition)
    output_schema(raw)


class Person(BaseModel):
    name: str


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("given_format", "expected"),
    [
        (None, None),
        ("auto", None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS, "strict": True}}, PARAMETERS),
        ({"type": "json_schema", "name": "n", "schema": PARAMETERS}, PARAMETERS),
        ({"format": {"type": "json_schema", "name": "n", "schema": PARAMETERS}, "verbosity": "low"}, PARAMETERS),
        ({"format": {"type": "text"}}, None),
        ({"type": "json_schema"}, None),
        (PARAMETERS, PARAMETERS),
        ({"type": "ARRAY", "items": {"type": "STRING"}}, {"type": "array", "items": {"type": "string"}}),
        (Person, Person.model_json_schema()),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (object(), None),
    ],
)
def test_output_schema(given_format: Any, expected: Any) -> None:
    """What a request says about its answer, as a schema."""
    assert output_schema(given_format) == expected


def test_output_schema_of_a_dataclass() -> None:
    """Types that pydantic knows are described."""
    assert output_schema(Point)["properties"] == {"x": {"title": "X", "type": "integer"}}
