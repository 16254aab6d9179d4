"""Values that the schema accepts and the tool's own type refuses: a bad call never runs."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, field_validator, model_validator

import llmtrace
from llmtrace.errors import InvalidToolCall
from llmtrace.testing import Captured

ran: list[Any] = []
looked: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()
    looked.clear()


def at_most_100(amount: float) -> float:
    looked.append(amount)
    if amount > 100:
        raise ValueError(f"must be at most 100, not {amount}")
    return amount


Amount = Annotated[float, AfterValidator(at_most_100)]


def refund(order_id: str, amount: Amount = 1) -> str:
    ran.append(amount)
    return f"refunded {amount}"


class Payment(BaseModel):
    amount: Amount
    currency: str = "EUR"

    @field_validator("currency")
    @classmethod
    def _known(cls, currency: str) -> str:
        if currency not in ("EUR", "USD"):
            raise AssertionError("use EUR or USD")
        return currency


class Period(BaseModel):
    first: int
    last: int

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        if self.first > self.last:
            raise ValueError("first is after last")
        return self


def pay(payment: Payment, notes: list[Amount] | None = None) -> str:
    ran.append(payment)
    return "paid"


def report(period: Period) -> str:
    ran.append(period)
    return "reported"


def pay_all(*amounts: Amount, **named: Amount) -> str:
    ran.append((amounts, named))
    return "paid"


def by_fields(amount: float, currency: str = "EUR") -> str:
    ran.append(amount)
    return "paid"


def whole(payment: Payment) -> str:
    ran.append(payment)
    return "paid"


def asked(name: str, arguments: Any) -> list[Any]:
    return [{"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}]


CASES = [
    (refund, {}, {"order_id": "A", "amount": 5000}, {"/amount": "must be at most 100, not 5000.0"}),
    (pay, {}, {"payment": {"amount": 1, "currency": "YEN"}}, {"/payment/currency": "use EUR or USD"}),
    (pay, {}, {"payment": {"amount": 1}, "notes": [1, 200]}, {"/notes/1": "must be at most 100, not 200.0"}),
    (report, {}, {"period": {"first": 2, "last": 1}}, {"/period": "first is after last"}),
    (by_fields, {"schema": Payment}, {"amount": 101}, {"/amount": "must be at most 100, not 101.0"}),
    (whole, {"schema": Payment}, {"amount": 101}, {"/amount": "must be at most 100, not 101.0"}),
]


@pytest.mark.parametrize(("function", "options", "arguments", "refused"), CASES)
def test_what_a_validator_refuses_does_not_run(function: Any, options: Any, arguments: Any, refused: dict[str, str]) -> None:
    """Under reply the model reads the validator's own words; under raise the program gets them, each at its place."""
    tools = llmtrace.Tools(llmtrace.tool(on_invalid="reply", **options)(function))
    [answer] = tools.run(asked(function.__name__, arguments))
    for place, reason in refused.items():
        assert f"{place}: {reason}" in answer["content"]
    with pytest.raises(InvalidToolCall) as caught:
        llmtrace.Tools(llmtrace.tool(on_invalid="raise", **options)(function)).run(asked(function.__name__, arguments))
    assert {violation.pointer: violation.message for violation in caught.value.violations} == refused
    assert {violation.code for violation in caught.value.violations} == {"not_allowed"}
    assert ran == []


def test_each_item_of_a_variadic_tool_is_validated() -> None:
    tools = llmtrace.Tools(llmtrace.tool(on_invalid="reply")(pay_all))
    [answer] = tools.run(asked("pay_all", {"amounts": [1, 500], "tip": 600}))
    assert "/amounts/1: must be at most 100" in answer["content"]
    assert "/tip: must be at most 100" in answer["content"]
    assert ran == []


def test_the_refusal_has_its_span(captured: Captured) -> None:
    """The span of the refused call is an error by the validator's own exception, and says that nothing ran."""
    llmtrace.Tools(refund, on_invalid="reply").run(asked("refund", {"order_id": "A", "amount": 5000}))
    [span] = captured.spans
    assert span.failure is not None
    assert span.failure.type.endswith("ValidationError")
    assert span.failure.message == "/amount: must be at most 100, not 5000.0"
    assert not span.operation.executed  # type: ignore[union-attr]
    assert ran == []


def test_under_record_the_tool_runs_and_its_span_is_an_error(captured: Captured) -> None:
    [answer] = llmtrace.Tools(refund).run(asked("refund", {"order_id": "A", "amount": 5000}))
    assert answer["content"] == "refunded 5000"
    [span] = captured.spans
    assert span.failure is not None
    assert span.operation.result == "refunded 5000"  # type: ignore[union-attr]


def test_repair_is_validated_too() -> None:
    tools = llmtrace.Tools(refund, on_invalid="repair")
    [good, bad] = tools.run(
        [*asked("refund", {"order_id": "A", "amount": "50"}), *asked("refund", '{"order_id":"A","amount":"500"}')]
    )
    assert good["content"] == "refunded 50.0"
    assert "must be at most 100" in bad["content"]
    assert ran == [50]


def test_a_direct_call_is_validated_too() -> None:
    """With and without ``await``; the program's own objects, which are not JSON, are left to the program."""
    with pytest.raises(InvalidToolCall, match="must be at most 100"):
        llmtrace.tool(on_invalid="raise")(refund)("A", amount=5000)
    assert llmtrace.tool(on_invalid="raise")(refund)("A", amount=50) == "refunded 50"
    assert ran == [50]

    async def later(amount: Amount, holder: object = None) -> str:
        ran.append(amount)
        return "paid"

    replying = llmtrace.tool(on_invalid="reply")(later)
    assert "must be at most 100" in asyncio.run(replying(500, holder=object()))
    assert asyncio.run(replying(5, holder=object())) == "paid"
    payment = Payment.model_construct(amount=500)
    assert llmtrace.tool(on_invalid="raise", schema=Payment)(whole)(payment) == "paid"


def test_a_validator_that_fails_refuses() -> None:
    """One that raises something else has not accepted the value: the tool does not get it."""

    def lookup(name: str) -> str:
        return {"a": "b"}[name]

    def find(name: Annotated[str, AfterValidator(lookup)]) -> str:
        ran.append(name)
        return name

    tools = llmtrace.Tools(find, on_invalid="reply")
    answers = tools.run([*asked("find", {"name": "a"}), *asked("find", {"name": "z"})])
    assert answers[0]["content"] == "b"
    assert "its validator failed with KeyError" in answers[1]["content"]
    assert ran == ["b"]


def test_a_format_stays_a_warning() -> None:
    """What breaks an asserted format only is not an error, so the type does not make it one."""

    def remind(when: date, to: str = "") -> str:
        ran.append(when)
        return "ok"

    assert llmtrace.Tools(remind, on_invalid="reply").run(asked("remind", {"when": "tomorrow"}))[0]["content"] == "ok"
    assert ran == ["tomorrow"]


def test_a_validator_runs_once_for_each_call_of_a_model() -> None:
    llmtrace.Tools(refund, on_invalid="reply").run(asked("refund", {"order_id": "A", "amount": 5}))
    assert looked == [5]


def test_plain_types_need_no_second_look() -> None:
    """A tool of plain types, models included, is judged by its schema alone."""
    from llmtrace.validation.signature import Signature

    class Plain(BaseModel):
        type: str
        tags: list[str] = []
        inner: Plain | None = None

    def plain(a: int, b: str | None, c: dict[str, list[float]], d: Plain) -> None: ...

    assert not Signature(plain).has_validators
    assert Signature(refund).has_validators
