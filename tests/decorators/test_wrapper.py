"""A decorated function passes for the function: copied, pickled, stacked below other decorators."""

from __future__ import annotations

import copy
import dataclasses
import functools
import multiprocessing
import pickle
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, Field

import llmtrace
from llmtrace.errors import InvalidToolCall
from llmtrace.evaluation import evaluate_trace
from llmtrace.testing import Captured, capture


@llmtrace.tool
def doubled(x: int) -> int:
    return 2 * x


@llmtrace.span
def tripled(x: int) -> int:
    return 3 * x


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @llmtrace.tool
    def price(self, item: str) -> tuple[str, str]:
        return self.name, item

    @llmtrace.span
    @staticmethod
    def static(x: int) -> int:
        return x

    @classmethod
    @llmtrace.agent
    def known(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x


@pytest.mark.parametrize("function", [doubled, tripled])
def test_copies_and_pickles_as_a_function_does(function: Any) -> None:
    """By name, to the very same object: so it goes to other processes, and through dataclasses.asdict."""

    @dataclasses.dataclass
    class Holder:
        held: Any

    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is function
    assert dataclasses.asdict(Holder(function)) == {"held": function}
    assert pickle.loads(pickle.dumps(functools.partial(function, 2)))() == function(2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(function, [1]) == [function(1)]


def test_methods_pickle_with_their_object() -> None:
    """A bound method takes its object along; class and static methods are found again by name."""
    assert pickle.loads(pickle.dumps(Shop("x").price))("a") == ("x", "a")
    assert copy.deepcopy(Shop("x").price)("a") == ("x", "a")
    assert pickle.loads(pickle.dumps(Shop.static))(1) == 1
    assert pickle.loads(pickle.dumps(Shop.known))(1) == ("Shop", 1)
    assert pickle.loads(pickle.dumps(Shop.price))(Shop("x"), "a") == ("x", "a")


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as everybody writes them: it is the method, and calls ours as a function."""

    @functools.wraps(function)
    def passes_on(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return passes_on


class Stacked:
    @passing_on
    @llmtrace.tool(on_invalid="raise")
    def retried(self, item: str) -> str:
        return item

    @functools.lru_cache  # noqa: B019
    @llmtrace.tool(on_invalid="raise")
    def cached(self, item: str) -> str:
        return item

    @llmtrace.tool(on_invalid="raise")
    def plain(self, item: str) -> str:
        return item

    @classmethod
    @passing_on
    @llmtrace.tool(on_invalid="raise")
    def of_class(cls, item: str) -> str:
        return item

    @property
    @llmtrace.span
    def size(self) -> int:
        return 3

    @passing_on
    @llmtrace.tool(on_invalid="repair")
    def mended(self, count: int) -> Any:
        return self, count


def arguments(captured: Captured) -> list[Any]:
    assert [span.violations for span in captured.spans] == [()] * len(captured.spans)
    return [span.operation.arguments for span in captured.spans]  # type: ignore[union-attr]


def test_the_receiver_is_no_argument_however_the_method_is_called(captured: Captured) -> None:
    """Below another decorator, a cache, a property, or called through its class: ``self`` is neither judged nor recorded."""
    stacked = Stacked()
    assert [stacked.retried("a"), stacked.cached("b"), Stacked.of_class("c")] == ["a", "b", "c"]
    assert [Stacked.plain(stacked, "d"), Stacked.plain(self=stacked, item="e")] == ["d", "e"]
    assert stacked.size == 3
    assert arguments(captured) == [*({"item": item} for item in "abcde"), {}]


def test_repair_keeps_the_receiver() -> None:
    """What is repaired is the arguments; the object stays."""
    stacked = Stacked()
    with capture():
        assert stacked.mended("5") == (stacked, 5)  # type: ignore[arg-type]


def test_repair_keeps_the_objects_that_json_cannot_hold() -> None:
    """Only what was repaired is replaced; everything else is the object that the program gave."""

    @llmtrace.tool(on_invalid="repair")
    def save(connection: Any, count: int, ratio: float = 1.0) -> Any:
        return connection, count, ratio

    connection = object()
    with capture():
        assert save(connection, "5", 2) == (connection, 5, 2)  # type: ignore[arg-type]


class Pair(NamedTuple):
    left: int
    right: int


class Order(BaseModel):
    number: int = Field(alias="no")


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (float, float("nan")),
        (float, Decimal("1.5")),
        (Pair, Pair(1, 2)),
        (Order, Order(no=1)),
        (list[Order], [Order(no=1)]),
        (datetime, datetime(2024, 1, 1)),
        (list[int], list(range(400_000))),
        (Iterable[int], iter([1])),
        (dict[str, Any], {"deep": {"inside": object()}}),
    ],
)
def test_objects_that_are_no_json_are_not_judged_as_such(annotation: Any, given: Any, captured: Captured) -> None:
    """A direct call may hand over what no model could: a schema of JSON says nothing about it, live or on reading."""

    def work(x: Any, count: int = 1) -> Any:
        return x

    work.__annotations__["x"] = annotation
    made = llmtrace.tool(on_invalid="raise")(work)
    assert made(given) is given
    with pytest.raises(InvalidToolCall):
        made(given, "many")  # type: ignore[arg-type]
    assert [[found.pointer for found in span.violations] for span in captured.spans] == [[], ["/count"]]
    for trace in captured.traces:
        assert evaluate_trace(trace)[0].spans == trace.spans
