"""What a reader returned, compared with the call: the same value in another notation is the same, and little proves little."""

from __future__ import annotations

import collections
import dataclasses
import sqlite3
from datetime import date, datetime, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.content import to_json
from llmtrace.guards.receipt_comparison import ChangeRecord, compare
from llmtrace.model import JsonValue, Receipt

CALL = {"order_id": "W1", "amount": 10}
Row = collections.namedtuple("Row", "order_id amount")


def receipt(answer: object, arguments: dict[str, JsonValue] | None = None, result: JsonValue = "ok", **how: Any) -> Receipt:
    return compare(answer, ChangeRecord(CALL if arguments is None else arguments, result, how.pop("keys", {"order_id"}), **how))


def status(answer: object, arguments: dict[str, JsonValue] | None = None, result: JsonValue = "ok", **how: Any) -> str:
    return receipt(answer, arguments, result, **how).status


@dataclasses.dataclass
class Refund:
    order_id: str
    amount: Decimal


class Mapped:
    """An object as an ORM makes it."""

    def __init__(self) -> None:
        self._state = object()
        self.order_id, self.amount = "W1", 10.0


def sqlite_row() -> sqlite3.Row:
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    row: sqlite3.Row = database.execute("SELECT 'W1' AS order_id, 10.0 AS amount").fetchone()
    return row


@pytest.mark.parametrize(
    "answer",
    [
        {"order_id": "W1", "amount": "10.00"},
        {"orderId": "w1", "AMOUNT": 10.0, "state": "paid"},
        Refund("W1", Decimal("10.00")),
        Row("W1", 10),
        SimpleNamespace(_mapping={"order_id": "W1", "amount": 10}),
        Mapped(),
        sqlite_row(),
        [sqlite_row()],
        '{"order_id": "W1", "amount": 10}',
        True,
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_a_record_of_any_library_confirms(answer: object) -> None:
    """Rows and objects are read by the names of their members; a bool is the reader's own verdict."""
    assert status(answer) == "confirmed"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (10, "10.00"), (10, 10.0), (1234.5, "1,234.50"), ("1.234,5", 1234.5), (33.339, 33.34), (-5, "-5.0"), (0.1, "0.10"),
        ("2026-12-01", "2026-12-01T00:00:00Z"), ("2026-12-01T10:00:00+01:00", "2026-12-01T09:00:00Z"),
        ("2026-12-01T10:00", "2026-12-01 10:00:00"), ("1 December 2026", "2026-12-01"),
        ("2026-12-01", "1 December 2026"), ("2026-12-01T10:00", "2026-12-01T09:00Z"),
        (True, 1), (False, "false"),
        (True, "sí"), ("Ann@X.org", "ann@x.org"), ("  two  words ", "Two words"), ("+49 (30) 123", "4930123"),
        ("", None), ("vip", ["new", "VIP"]), (["a", "b"], ["b", "x", "a"]), (["a", "b"], "a,b"), (["a"], '["a"]'),
        ({"city": "Ulm"}, {"city": "ULM", "country": "DE"}), ({"city": "Ulm"}, '{"city": "Ulm"}'),
        ([{"sku": "A", "n": 1}, {"sku": "B", "n": 2}], [{"sku": "B", "n": 2}, {"sku": "A", "n": "1", "price": 3}]),
    ],
)  # fmt: skip
def test_another_notation_is_the_same_value(asked: JsonValue, found: JsonValue) -> None:
    """A database stores times, numbers, flags and lists in its own way."""
    assert status({"order_id": "W1", "it": found}, {"order_id": "W1", "it": asked}) == "confirmed"


@pytest.mark.parametrize(
    ("asked", "found", "pointer"),
    [
        (10, 6, "/it"), (10, "6.00", "/it"), (10, None, "/it"), (10, -10, "/it"), (10, 0, "/it"), (0.004, 0, "/it"),
        (10, 1000, "/it"), ("2026-12-01", "2026-12-02", "/it"), ("2026-12-01T10:00", "2026-12-01T11:00", "/it"),
        (True, 0, "/it"), ("a long text", "a lon", "/it"), ("vip", ["new"], "/it"), (["a", "b"], ["a"], "/it/1"),
        (["a", "a"], ["a"], "/it/1"), ({"city": "Ulm"}, {"city": "Bonn"}, "/it/city"),
        ({"city": "Ulm"}, {"city": None}, "/it/city"),
        ([{"sku": "A", "n": 1}], [{"sku": "A", "n": 2}], "/it/0"), ("yes", "no", "/it"), ("100", "1e3", "/it"),
    ],
)  # fmt: skip
def test_another_value_is_a_difference(asked: JsonValue, found: JsonValue, pointer: str) -> None:
    """The pointer names the first value that the record does not have."""
    found_receipt = receipt({"order_id": "W1", "it": found}, {"order_id": "W1", "it": asked})
    assert (found_receipt.status, found_receipt.pointer, found_receipt.of) == ("different", pointer, "arguments")
    assert found_receipt.proves_fault


def test_nothing_found_is_missing() -> None:
    """No record, no item of a list, or the reader's own no."""
    nothing: list[object] = [None, False, [], {}, ()]
    assert [status(answer) for answer in nothing] == ["missing"] * 5


def test_a_list_holds_the_records_of_this_call() -> None:
    """One that fits is right, more are too many, unless the run made the same change as often; others do not count."""
    fits, other = {"order_id": "W1", "amount": 10}, {"order_id": "W1", "amount": 7}
    assert status([fits]) == status([other, fits, other]) == "confirmed"
    assert receipt([fits, fits]).records == 2
    assert status([fits, other, fits]) == "doubled"
    assert status([fits, fits], times=2) == "confirmed"
    assert status([fits, fits, fits], times=2) == "doubled"
    assert receipt([other]).pointer == "/amount"
    assert status([{**fits, "uid": 7}, {**fits, "uid": 8}], result={"uid": 8}) == "doubled"
    assert status([{**fits, "uid": 7}, {**fits, "uid": 8}], result={"uid": 8}, times=2) == "confirmed"
    assert receipt([{**fits, "uid": 7}], result={"uid": 8}).of == "result"
    assert status([other, other]) == "missing"


def test_a_record_that_shares_nothing_proves_nothing() -> None:
    """The order is there with and without the refund. A record that was found by all values, or by a new id, is a proof."""
    order = {"order_id": "W1", "state": "paid"}
    assert receipt(order).error == "nothing_to_compare"
    assert receipt([order, order]).error == "nothing_to_compare"
    assert status(order, keys={"order_id", "amount"}) == "confirmed"
    assert status({"state": "paid"}, by_handle=True) == "confirmed"
    assert status({"order_id": "W1"}, {"order_id": "W1", "note": None}) == "confirmed"


def test_the_result_may_say_what_was_done_instead() -> None:
    """A tool that caps a value and says so has done what it reported."""
    assert status({"order_id": "W1", "amount": 6}, result={"amount": "6.00"}) == "confirmed"
    assert status({"order_id": "W1", "amount": 6}, result={"amount": 10}) == "different"


def test_a_difference_from_the_result_alone_is_no_proof() -> None:
    """Its members may have another meaning in the record: words are not compared at all, and numbers and ids mark nothing."""
    record = {"order_id": "W1", "amount": 10}
    assert status({**record, "status": "refunded"}, result={"status": "ok"}) == "confirmed"
    assert status({**record, "id": "W1"}, result={"id": "R-20457"}) == "confirmed"  # the order's own id
    seat = receipt({**record, "seat_no": "A-1204"}, result={"seat_no": "A-1207"})
    assert (seat.status, seat.pointer, seat.of, seat.proves_fault) == ("different", "/seat_no", "result", False)


@pytest.mark.parametrize("answer", ["refunded", 1, 2.5, b"x", [("W1", 10)], ("W1", 10), object(), [None]])
def test_what_is_no_record_is_unknown(answer: object) -> None:
    """A tuple has no names, and a text is for a model."""
    assert receipt(answer).error == "not_a_record"


def test_an_error_result_of_a_reader_is_unknown() -> None:
    """A look-up that is itself a tool may report that it failed."""
    assert receipt({"error": "no connection"}).error == "error_result"


def test_a_reader_may_decide_itself() -> None:
    """Its receipt is used, with the members that are for it to say; a wrong one is an error of the reader."""
    own = receipt(Receipt("different", "/amount", note="6 of 10", looks=7, error="x", record=Refund("W1", Decimal(6))))
    assert own == Receipt("different", "/amount", note="6 of 10", record={"order_id": "W1", "amount": own.record["amount"]})
    for wrong in (Receipt("lost"), Receipt("different", "amount"), Receipt("different", of="table")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="JSON Pointer"):
            receipt(wrong)


scalars = (
    st.integers(-(10**12), 10**12)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2)
    | st.text(max_size=30)
    | st.booleans()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc))
    | st.uuids()
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
)


def stored(value: Any) -> Any:
    """A value as a database may give it back."""
    if isinstance(value, (list, tuple)):
        return [stored(item) for item in reversed(value)]
    if isinstance(value, dict):
        return {name.upper(): stored(member) for name, member in value.items()} | {"created_at": "2026-12-01"}
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    return value.isoformat() if isinstance(value, (date, datetime)) else value


@given(st.dictionaries(st.sampled_from(["amount", "note", "items", "day"]), values, min_size=1))
def test_what_was_stored_is_never_accused(arguments: dict[str, Any]) -> None:
    """A record with the very values of the call, in a database's notation and with members of its own, is no fault."""
    asked = to_json({"key": "W1", **arguments})
    found = {**{name: stored(value) for name, value in arguments.items()}, "key": "W1", "version": 3}
    for answer in (found, [found]):
        assert status(answer, asked, {"status": "ok", "id": 7}, keys={"key"}) in ("confirmed", "unknown")


@given(values, values, values)
def test_whatever_is_returned_gives_a_receipt(answer: Any, asked: Any, result: Any) -> None:
    """No value raises."""
    assert status(answer, {"it": to_json(asked)}, to_json(result))
    assert status({"it": answer}, {"it": to_json(asked)}, to_json({"it": result}))
