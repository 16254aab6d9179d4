"""Every example is valid, and the schemas that programs write have one."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal, Optional

import annotated_types
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.example import example_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(pydantic.BaseModel):
    item: str = pydantic.Field(pattern=r"^[A-Z]{2}-\d{3,}(?:x|y)?$")
    amount: int = pydantic.Field(gt=0, le=10, multiple_of=3)
    colour: Colour = Colour.BLUE


class Card(pydantic.BaseModel):
    kind: Literal["card"]
    digits: str = pydantic.Field(min_length=12, max_length=12)


class Cash(pydantic.BaseModel):
    kind: Literal["cash"]
    tendered: decimal.Decimal = pydantic.Field(ge=decimal.Decimal("0.5"))


class Node(pydantic.BaseModel):
    name: Annotated[str, annotated_types.MinLen(20)]
    below: list[Node] = []


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    order_id: uuid.UUID
    bought: datetime.date
    lines: list[Line] = pydantic.Field(min_length=2)
    numbers: set[int] = pydantic.Field(min_length=3)
    paid: Card | Cash = pydantic.Field(discriminator="kind")
    note: Optional[str] = None  # noqa: UP045
    tags: dict[str, float] = {}
    pair: tuple[int, str]
    tree: Node
    email: str = pydantic.Field(json_schema_extra={"format": "email"})
    share: float = pydantic.Field(gt=0.1, lt=0.2)


class Root(pydantic.RootModel[list[Order]]):
    pass


@pytest.mark.parametrize("model", [Line, Card, Cash, Node, Order, Root, Colour, int, bool, list[str], dict[str, int], Any])
def test_models_have_a_valid_example(model: Any) -> None:
    """By the schema, and by pydantic."""
    adapter = pydantic.TypeAdapter(model)
    example = example_of(adapter.json_schema())
    adapter.validate_python(example)


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "examples": ["Graz"]}, "Graz"),
        ({"type": "integer", "examples": ["no number"]}, 1),
        ({"enum": ["b", "a"]}, "b"),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "null"}, None),
        ({"type": "number", "exclusiveMaximum": -0.5}, -3),
        ({"allOf": [{"minimum": 5}, {"maximum": 6, "type": "integer"}]}, 5),
        ({}, "example"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
    ],
)
def test_an_example_is_plain(schema: Any, example: Any) -> None:
    assert example_of(schema) == example


@pytest.mark.parametrize("schema", [False, {"type": "integer", "minimum": 2, "maximum": 1}, {"not": {}}, {"type": 3}])
def test_where_nothing_is_valid_there_is_no_example(schema: Any) -> None:
    with pytest.raises(LookupError):
        example_of(schema)


SMALL, BOUNDS = st.integers(0, 30), st.integers(-9, 9)
PATTERNS = [r"^\d+$", r"[a-f]{3}", r"^(ab|cd)\1$", r"^[^a]+\s\w*$"]
SCALARS = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": SMALL, "maxLength": SMALL}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={"minimum": BOUNDS, "exclusiveMaximum": BOUNDS, "multipleOf": st.sampled_from([2, 0.5])},
    ),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from([1, "a", None, 2.5]), min_size=1, unique=True)}),
    st.fixed_dictionaries({"type": st.sampled_from(["boolean", "null"])}),
    st.fixed_dictionaries({"pattern": st.sampled_from(PATTERNS), "type": st.just("string")}),
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner)},
            optional={"required": st.lists(st.sampled_from("abc"), unique=True), "additionalProperties": st.booleans()},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 4)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(SCHEMAS)
def test_an_example_passes_its_schema(schema: Any) -> None:
    try:
        example = example_of(schema)
    except LookupError:
        return
    assert compile_schema(schema).faults(example)[0] == []
