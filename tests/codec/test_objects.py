"""Objects that a tool returned or raised are written as JSON and restored."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import sqlite3
import sys
import threading
import uuid
from typing import Any

import anthropic
import httpx
import openai
import pydantic
import pytest
from langchain_core.messages import ToolMessage

from llmtrace.codec.objects import NotSerializable, dump, load


class Size(enum.Enum):
    SMALL = "s"


@dataclasses.dataclass(slots=True, frozen=True)
class Order:
    number: int
    bought: datetime.date

    def __post_init__(self) -> None:
        assert self.number != 13, "the constructor ran"


Pair = collections.namedtuple("Pair", "first second")


class Item(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str = pydantic.Field(alias="Name")
    order: Order | None = None
    _seen: int = 0


class SoldOutError(Exception):
    """An exception with its own constructor."""

    def __init__(self, order: str, *, reason: str) -> None:
        super().__init__(f"{order}: {reason}")
        self.order, self.reason = order, reason


class Moved(OSError):
    def __init__(self, where: str) -> None:
        super().__init__(5, "moved")
        self.where = where


ORDER = Order(1, datetime.date(2026, 1, 31))
REQUEST = httpx.Request("POST", "https://api.example.com/v1/chat", headers={"authorization": "Bearer secret"})
RESPONSE = httpx.Response(
    429, headers={"x-request-id": "r1", "request-id": "r1", "set-cookie": "secret"}, content=b'{"error": 1}', request=REQUEST
)


def through_json(value: Any) -> Any:
    return load(json.loads(json.dumps(dump(value))))


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, (1, {2}), b"\xff"], 3: frozenset({4}), "$class": "tuple"},
        Size.SMALL,
        ORDER,
        Pair(1, "b"),
        Item(Name="bread", extra=[1], order=ORDER),
        [decimal.Decimal("1.20"), uuid.UUID(int=5), datetime.timedelta(days=1, microseconds=1), pathlib.PurePosixPath("/a")],
        datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc),
        ToolMessage("found", tool_call_id="1", artifact={"rows": (1, 2)}),
    ],
)
def test_an_object_is_restored(value: Any) -> None:
    again = through_json(value)
    assert (type(again), again) == (type(value), value)


@pytest.mark.parametrize(
    "error",
    [
        SoldOutError("KS-1", reason="sold out"),
        Moved("elsewhere"),
        FileNotFoundError(2, "No such file", "orders.db"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        ImportError("no such", name="module"),
        json.JSONDecodeError("bad", "document", 1),
        sqlite3.OperationalError("locked"),
        httpx.ConnectTimeout("slow", request=REQUEST),
    ],
)
def test_an_exception_is_restored_with_its_attributes(error: Exception) -> None:
    again = through_json(error)
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))
    theirs, ours = ({k: v for k, v in vars(e).items() if k != "_request"} for e in (error, again))
    assert theirs == ours


@pytest.mark.parametrize("library", [openai, anthropic])
def test_a_providers_error_has_the_response_but_no_secret(library: Any) -> None:
    error = library.RateLimitError("slow down", response=RESPONSE, body={"message": "slow down"})
    assert "secret" not in json.dumps(dump(error))
    again = through_json(error)
    assert type(again) is library.RateLimitError
    assert (again.status_code, again.request_id, again.body) == (429, "r1", {"message": "slow down"})
    assert (again.response.json(), str(again.request.url)) == ({"error": 1}, str(REQUEST.url))


def test_a_validation_error_of_pydantic_is_restored() -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        Item(Name=3)  # type: ignore[arg-type]
    assert str(through_json(raised.value)) == str(raised.value)


class Guarded:
    """A class that JSON cannot express."""


@pytest.mark.parametrize("value", [Guarded(), [threading.Lock()], float("nan"), print, {"a": {"b": object()}}, SoldOutError])
def test_an_object_that_could_not_be_restored_is_not_written(value: Any) -> None:
    with pytest.raises(NotSerializable):
        dump(value)


def test_loading_imports_nothing_and_calls_nothing() -> None:
    for name in ("subprocess.Popen", "os.system", "builtins.eval", "wsgiref.validate.WSGIWarning", "llmtrace.nowhere.X"):
        with pytest.raises(NotSerializable):
            load({"$class": name, "$holds": {"args": ["echo"], "attributes": {}}})
    assert "wsgiref.validate" not in sys.modules
    order = load({"$class": f"{__name__}.Order", "$holds": {"number": 13, "bought": None}})
    assert order.number == 13
