"""Results of tools: what pydantic takes is no fault, however a snapshot shows it, and what it does not take is one."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime, time, timedelta
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, RootModel, SecretStr, model_serializer

import llmtrace
from llmtrace.testing import capture


class Row(NamedTuple):
    id: str
    total: float = 0.0


class May(enum.Flag):
    READ = 1
    WRITE = 2


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: int


class Parcel(Order):
    weight: float


class Account(BaseModel):
    key: str = Field(repr=False)
    token: SecretStr = SecretStr("t")
    balance: float = 0.0


@dataclasses.dataclass
class Session:
    key: str = dataclasses.field(repr=False)


class Priced(BaseModel):
    price: int

    @model_serializer
    def written(self) -> list[int]:
        return [self.price]


class Timed(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float")
    took: timedelta


def _errors(annotation: Any, result: Any) -> list[tuple[str, str]]:
    def find() -> Any:
        return result

    find.__annotations__["return"] = annotation
    with capture() as captured:
        llmtrace.tool(find)()
    (span,) = captured.spans
    return [(found.code, found.pointer) for found in span.violations if found.severity == "error" or found.code == "bad_format"]


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        (list[Row], [Row("a", 1.5)]),
        (list[Row], [("a", 1.5)]),
        (RootModel[list[int]], RootModel[list[int]]([1])),
        (RootModel[Row], RootModel[Row](Row("a"))),
        (May, May.READ | May.WRITE),
        (Order, Parcel(id=1, weight=2.0)),
        (Account, Account(key="k", balance=float("nan"))),
        (Session, Session("k")),
        (Priced, Priced(price=1)),
        (Annotated[int, PlainSerializer(str, return_type=str)], 3),
        (float, float("nan")),
        (float | None, float("-inf")),
        (int, 1 << 10_000),
        (timedelta, timedelta(days=400, seconds=1.5)),
        (Timed, Timed(took=timedelta(seconds=3))),
        (datetime, datetime(2026, 1, 2)),
        (time, time(1, 2)),
        (list[int], list(range(400_000))),
        (dict[str, int], {str(number): number for number in range(200_000)}),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_pydantic_takes_is_no_fault(annotation: Any, result: Any) -> None:
    """The snapshot of a right result has another form than pydantic writes, or none: that is no fault of the tool."""
    assert _errors(annotation, result) == []


@pytest.mark.parametrize(
    ("annotation", "result", "faults"),
    [
        (list[Row], [Row(1, 1.5)], [("wrong_type", "/0/id")]),
        (list[Row], [("a", 1.5, 2)], [("too_long", "/0")]),
        (list[Row], [{"total": 1.5}], [("missing", "/0/id")]),
        (RootModel[list[int]], RootModel[list[int]].model_construct(["x"]), [("wrong_type", "/0")]),
        (May, "READ", [("wrong_type", "")]),
        (Order, {}, [("missing", "/id")]),
        (Account, Account.model_construct(balance="x"), [("wrong_type", "/balance")]),
        (float, "nan", [("wrong_type", "")]),
        (timedelta, 3, [("wrong_type", "")]),
        (datetime, 3, [("wrong_type", "")]),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_wrong_result_is_a_fault(annotation: Any, result: Any, faults: list[tuple[str, str]]) -> None:
    """Also beside something that JSON cannot hold."""
    assert _errors(annotation, result) == faults
