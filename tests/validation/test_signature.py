"""Functions seen as tools."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Optional, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field
from typing_extensions import NotRequired, Unpack

from llmtrace.errors import ConfigurationError
from llmtrace.model import JsonValue
from llmtrace.validation.check_values import check_arguments, check_result
from llmtrace.validation.signature import Signature


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: int = 0


class Place(TypedDict):
    city: str
    zip: NotRequired[str]


class Person(BaseModel):
    name: str
    born: date | None = None


class Strange:
    """pydantic does not know it."""


def _schema(function: Callable[..., Any], **options: Any) -> Any:
    return Signature(function, **options).definition.parameters


def _members(function: Callable[..., Any]) -> Any:
    return _schema(function)["properties"]


def refund(
    order_id: str, amount: Annotated[float, Field(ge=0, description="In euros.")], note: str | None = None
) -> dict[str, Any]:
    """Refund an order.

    Args:
        order_id: Of the order.
        amount: Not this one.
        note: For the customer.
    """
    return {}


def test_a_plain_function() -> None:
    """Name, description, a closed schema with required members, descriptions and defaults, and what it returns."""
    definition = Signature(refund).definition
    assert (definition.name, definition.description, definition.strict) == ("refund", "Refund an order.", False)
    assert definition.output == {"type": "object", "additionalProperties": True}
    assert definition.parameters == {
        "type": "object",
        "properties": {
            "order_id": {"type": "string", "description": "Of the order."},
            "amount": {"type": "number", "minimum": 0, "description": "In euros."},
            "note": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "description": "For the customer.",
                "default": None,
            },
        },
        "required": ["order_id", "amount"],
        "additionalProperties": False,
    }


def annotated(
    literal: Literal["a", "b"],
    optional: Optional[int],  # noqa: UP045
    colour: Colour,
    point: Point,
    place: Place,
    person: Person,
    people: list[Person],
    when: datetime,
    text: Annotated[str, "As plain text."],
    strange: Strange,
    later: Later,
    unknown: Nowhere,  # type: ignore[name-defined]  # noqa: F821
    field: int = Field(5, ge=1, description="By Field."),
    implicit: int = None,  # type: ignore[assignment]  # noqa: RUF013
    bare=1,
) -> None: ...


class Later(BaseModel):
    n: int


class Sides(Enum):
    ONE = 1
    BOTH = "both"


def test_members_of_an_enum_that_are_literals_arrive_as_members() -> None:
    """The schema offers their values, and the function gets what it is annotated with, also inside of other types."""

    def paint(
        side: Literal[Sides.ONE, Sides.BOTH],
        colour: Literal[Colour.RED, "none"] | None = None,
        others: list[Literal[Colour.BLUE]] | None = None,
        strict: Annotated[Literal[Sides.ONE], Field(description="One only.")] = Sides.ONE,
    ) -> None: ...

    signature = Signature(paint)
    members = _members(paint)
    assert members["side"]["enum"] == [1, "both"]
    assert members["strict"] == {"const": 1, "type": "integer", "description": "One only.", "default": 1}
    asked: dict[str, JsonValue] = {"side": "both", "colour": "red", "others": ["blue"], "strict": 1}
    assert check_arguments(asked, signature.definition) == ()
    assert signature.bind(asked) == (
        (),
        {"side": Sides.BOTH, "colour": Colour.RED, "others": [Colour.BLUE], "strict": Sides.ONE},
    )
    assert signature.bind({"side": 1, "colour": "none"}) == ((), {"side": Sides.ONE, "colour": "none"})
    assert signature.bind({"side": True, "colour": "green"}) == ((), {"side": True, "colour": "green"})


def test_a_literal_is_itself_beside_a_member_of_its_value() -> None:
    def paint(colour: Literal["red", Colour.RED, Colour.BLUE]) -> None: ...

    signature = Signature(paint)
    arguments = [signature.bind({"colour": colour})[1]["colour"] for colour in ("red", "blue")]
    assert arguments == ["red", Colour.BLUE]
    assert type(arguments[0]) is str


def test_kinds_of_annotations() -> None:
    """Literals, enums, dataclasses, typed dicts, models, constraints, forward references; what is not known is open."""
    schema = _schema(annotated)
    members = schema["properties"]
    assert members["literal"] == {"type": "string", "enum": ["a", "b"]}
    assert members["optional"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert members["when"] == {"type": "string", "format": "date-time"}
    assert members["text"] == {"type": "string", "description": "As plain text."}
    assert members["strange"] == members["unknown"] == {}
    assert members["field"] == {"type": "integer", "minimum": 1, "description": "By Field.", "default": 5}
    assert members["implicit"] == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    assert members["bare"] == {"default": 1}
    assert set(schema["required"]) == set(members) - {"field", "implicit", "bare"}
    for name, definition in (("colour", "Colour"), ("point", "Point"), ("place", "Place"), ("later", "Later")):
        assert members[name] == {"$ref": f"#/$defs/{definition}"}
    assert members["people"]["items"] == members["person"] == {"$ref": "#/$defs/Person"}
    assert schema["$defs"]["Place"]["required"] == ["city"]
    assert schema["$defs"]["Colour"]["enum"] == ["red", "blue"]


def test_arguments_are_converted() -> None:
    """JSON becomes what the parameters are annotated with."""
    args, kwargs = Signature(annotated).bind(
        {
            "colour": "blue",
            "point": {"x": 1},
            "place": {"city": "Rome"},
            "person": {"name": "Ann", "born": "1990-01-02"},
            "people": [{"name": "Bob"}],
            "when": "2026-01-02T03:04:05Z",
            "strange": {"a": 1},
            "optional": None,
        }
    )
    assert args == ()
    assert kwargs["colour"] is Colour.BLUE
    assert kwargs["point"] == Point(1)
    assert kwargs["place"] == {"city": "Rome"}
    assert kwargs["person"] == Person(name="Ann", born=date(1990, 1, 2))
    assert kwargs["people"] == [Person(name="Bob")]
    assert kwargs["when"].year == 2026
    assert kwargs["strange"] == {"a": 1}
    assert kwargs["optional"] is None
    assert kwargs["field"] == 5


def test_what_cannot_be_converted_is_passed_on() -> None:
    """Conversion refuses nothing: that is the check's to do, and Python's."""
    assert Signature(annotated).bind({"colour": "green", "when": "soon", "extra": 1})[1] == {
        "colour": "green",
        "when": "soon",
        "extra": 1,
        "field": 5,
    }


class Options(TypedDict, total=False):
    depth: int
    name: str


def everything(first, /, second: int, *rest: int, named: str, **more: str) -> Any: ...


def defaults(first: int = 1, /, second: int = 2, third: int = 3, *rest: int) -> Any: ...


def unpacked(a: int, **options: Unpack[Options]) -> Any: ...


def test_kinds_of_parameters() -> None:
    """``*args`` is an array, ``**kwargs`` opens the schema, an unpacked typed dict gives its members."""
    assert _schema(everything)["additionalProperties"] == {"type": "string"}
    assert _members(everything)["rest"] == {"type": "array", "items": {"type": "integer"}}
    assert _schema(everything)["required"] == ["first", "second", "named"]
    assert _members(unpacked) == {"a": {"type": "integer"}, "depth": {"type": "integer"}, "name": {"type": "string"}}
    assert _schema(unpacked)["required"] == ["a"]
    assert _schema(unpacked)["additionalProperties"] is False


_NAMED = {"named": "n", "x": "y"}


@pytest.mark.parametrize(
    ("function", "arguments", "bound"),
    [
        (everything, {"first": 1, "second": 2, "named": "n"}, ((1,), {"second": 2, "named": "n"})),
        (everything, {"first": 1, "second": 2, "rest": [3, 4], **_NAMED}, ((1, 2, 3, 4), _NAMED)),
        (everything, {"second": 2, "named": "n"}, ((), {"second": 2, "named": "n"})),
        (defaults, {}, ((1,), {})),
        (defaults, {"third": 9}, ((1,), {"third": 9})),
        (defaults, {"rest": [7]}, ((1, 2, 3, 7), {})),
        (defaults, {"second": 5, "rest": [7]}, ((1, 5, 3, 7), {})),
        (unpacked, {"a": 1, "depth": 2}, ((), {"a": 1, "depth": 2})),
    ],
)
def test_binding(function: Callable[..., Any], arguments: dict[str, JsonValue], bound: Any) -> None:
    """Each argument reaches the parameter of its name, by position where Python wants that."""
    assert Signature(function).bind(arguments) == bound


@given(st.data())
def test_binding_undoes_a_call(data: st.DataObject) -> None:
    """The arguments of a direct call, bound again, make the same call."""
    function = data.draw(st.sampled_from([defaults, unpacked, refund]))
    signature = inspect.signature(function)
    names = [name for name, each in signature.parameters.items() if each.kind is not each.VAR_POSITIONAL]
    given_arguments = {name: data.draw(st.integers(0, 9)) for name in data.draw(st.sets(st.sampled_from(names)))}
    given_arguments.pop("options", None)
    args, kwargs = Signature(function).bind(given_arguments)
    assert Signature(function).arguments(args, kwargs).items() >= given_arguments.items()


def test_arguments_of_a_direct_call() -> None:
    """By the names of the parameters; defaults are not filled in; a wrong call raises nothing."""
    signature = Signature(everything)
    assert signature.arguments((1, 2, 3), {"named": "n", "x": "y"}) == {
        "first": 1,
        "second": 2,
        "rest": [3],
        "named": "n",
        "x": "y",
    }
    assert Signature(refund).arguments(("a", 1.0, None, "extra"), {"no": 1}) == {
        "order_id": "a",
        "amount": 1.0,
        "note": None,
        "args": ["extra"],
        "no": 1,
    }


class Desk:
    def method(self, n: int) -> str: ...

    @classmethod
    def of_class(cls, n: int) -> str: ...

    @staticmethod
    def static(n: int) -> str: ...

    def __call__(self, n: int) -> str:
        """Call it."""


async def asynchronous(n: int) -> str: ...


def generator(n: int) -> Iterator[str]:
    yield ""


async def asynchronous_generator(n: int) -> AsyncIterator[str]:
    yield ""


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "name", "has_receiver", "output"),
    [
        (Desk.method, "method", True, {"type": "string"}),
        (Desk().method, "method", False, {"type": "string"}),
        (Desk.of_class, "of_class", False, {"type": "string"}),
        (Desk.__dict__["of_class"].__func__, "of_class", True, {"type": "string"}),
        (Desk.static, "static", False, {"type": "string"}),
        (Desk(), "Desk", False, {"type": "string"}),
        (asynchronous, "asynchronous", False, {"type": "string"}),
        (generator, "generator", False, None),
        (asynchronous_generator, "asynchronous_generator", False, None),
        (wrapped(asynchronous), "asynchronous", False, {"type": "string"}),
        (functools.partial(Desk.static), "static", False, {"type": "string"}),
    ],
)
def test_callables_of_all_kinds(function: Callable[..., Any], name: str, has_receiver: bool, output: Any) -> None:
    """Methods without their receiver, objects, wrappers, partials, coroutines, generators."""
    signature = Signature(function)
    assert (signature.definition.name, signature.has_receiver, signature.definition.output) == (name, has_receiver, output)
    assert signature.definition.parameters["properties"] == {"n": {"type": "integer"}}
    assert signature.arguments((1,), {}) == {"n": 1}


@pytest.mark.parametrize("function", [dict, max, int, range, type, print, len, str.join, object(), json.dumps, asyncio.run, 5])
def test_any_callable_has_a_definition(function: Any) -> None:
    """Builtins without a signature take any object; nothing raises, not even for what cannot be called."""
    signature = Signature(function)
    assert signature.definition.parameters["type"] == "object"
    assert signature.definition.name
    signature.bind({"a": 1})
    signature.arguments((1,), {"b": 2})


def test_names_of_the_scope_around() -> None:
    """Types that are local to the function in which a tool is defined are found."""

    class Inner(BaseModel):
        n: int

    def tool(inner: Inner, several: list[Inner]) -> Inner: ...

    signature = Signature(tool)
    assert signature.definition.parameters["properties"]["several"]["items"] == {"$ref": "#/$defs/Inner"}
    assert signature.bind({"inner": {"n": 1}}) == ((), {"inner": Inner(n=1)})


def test_lambdas_have_a_usable_name() -> None:
    """Names are made of what providers take."""
    assert Signature(lambda x: x).definition.name == "lambda"
    assert Signature(refund, name="give_back", description="D", strict=True).definition.name == "give_back"


class Query(BaseModel):
    order_id: str
    when: date


def whole(query: Query) -> None: ...


def by_field(order_id, when) -> None: ...


def test_a_model_as_schema() -> None:
    """A model given as schema describes the arguments, and converts them: whole, or field by field."""
    arguments = {"order_id": "1", "when": "2026-01-02"}
    made = Query(order_id="1", when=date(2026, 1, 2))
    assert _schema(whole, schema=Query) == _schema(by_field, schema=Query) == Query.model_json_schema()
    assert Signature(whole, schema=Query).bind(arguments) == ((made,), {})
    assert Signature(by_field, schema=Query).bind(arguments) == ((), {"order_id": "1", "when": date(2026, 1, 2)})
    assert Signature(whole, schema=Query).arguments((made,), {}) == {"order_id": "1", "when": date(2026, 1, 2)}


def test_a_schema_or_definition_given() -> None:
    """A JSON Schema stands as it is; a provider's definition brings name, description and strictness."""
    schema = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    assert _schema(by_field, schema=schema) == schema
    given_definition = {"type": "function", "function": {"name": "n", "description": "d", "parameters": schema, "strict": True}}
    definition = Signature(by_field, schema=given_definition).definition
    assert (definition.name, definition.description, definition.strict) == ("n", "d", True)
    assert definition.parameters == schema


@pytest.mark.parametrize("schema", ['{"type":"object"}', "Query", b"{}", 5, 0, [1], [], True, object(), Strange])
def test_a_schema_that_is_none_is_refused(schema: Any) -> None:
    """What is neither an object nor a type with a schema would leave the tool unchecked: the program is told at once."""
    with pytest.raises(ConfigurationError, match=r"tool 'by_field': schema=.*Give a JSON Schema as a dict"):
        Signature(by_field, schema=schema)


@pytest.mark.parametrize("member", ["parameters", "input_schema", "outputSchema"])
@pytest.mark.parametrize("odd", ["{}", 5, [1], True, Query])
@pytest.mark.parametrize("wrapper", [None, "function"])
def test_a_definition_with_a_schema_that_is_none_is_refused(member: str, odd: Any, wrapper: str | None) -> None:
    """So it is with what a definition says of arguments and results."""
    inner = {"name": "n", "description": "d", "parameters": {"type": "object"}} | {member: odd}
    with pytest.raises(ConfigurationError, match=f"tool 'by_field': '{member}' in the definition"):
        Signature(by_field, schema={wrapper: inner} if wrapper else inner)
    Signature(by_field, schema=inner | {member: {}})
    Signature(by_field, schema=inner | {member: None})


def test_a_schema_may_name_what_is_defined_later() -> None:
    """A model that is not complete when the tool is defined is no fault: its schema is made when it is first needed."""

    class Order(BaseModel):
        line: Line

    signature = Signature(by_field, schema=Order)

    class Line(BaseModel):
        amount: int

    Order.model_rebuild()
    assert signature.definition.parameters == Order.model_json_schema()
    assert Signature(by_field, schema=list[Query]).definition.parameters is not None


class Computed(BaseModel):
    price: Decimal

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> Decimal:
        return self.price * 2


def priced() -> Computed: ...


def test_results_are_described_as_they_are_recorded() -> None:
    """The result's schema takes what is recorded of it: fields by name, computed ones or not."""
    definition = Signature(priced).definition
    assert check_result({"price": "1.5"}, definition) == ()
    assert check_result({"price": "1.5", "double": "3.0"}, definition) == ()
    assert [each.code for each in check_result({}, definition)] == ["missing"]


@pytest.mark.parametrize("annotation", [None, Any, "inspect.Signature.empty", object, "Iterator[int]", "Nowhere", Strange])
def test_some_annotations_say_nothing_of_a_result(annotation: Any) -> None:
    """Without a usable return annotation no result is checked."""

    def function(): ...

    function.__annotations__ = {"return": annotation}
    assert Signature(function).definition.output is None


def test_derived_schemas_are_closed_errors() -> None:
    """An unexpected argument of a function is an error, as it is for Python; with ``**kwargs`` it is none."""
    [found] = check_arguments({"order_id": "1", "amount": 1, "colour": 1}, Signature(refund).definition)
    assert (found.code, found.severity, found.pointer) == ("unexpected", "error", "/colour")
    assert check_arguments({"first": 1, "second": 2, "named": "n", "x": "y"}, Signature(everything).definition) == ()


def test_annotations_that_cannot_be_read_are_none() -> None:
    """Such as those that are worked out when they are asked for, with a name that is not known."""

    class Deferred:
        @property
        def __annotations__(self) -> Any:
            raise NameError("name 'Later' is not defined")

    def work(order_id: Any) -> None: ...

    work.__wrapped__ = Deferred()  # type: ignore[attr-defined]
    signature = Signature(work)
    assert signature.definition.parameters is not None
