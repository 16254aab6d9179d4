"""`@tool(confirm=)`: what reading a change back leaves on its span, and that the program notices nothing of it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import llmtrace
from llmtrace import semconv
from llmtrace.diagnosis import diagnose
from llmtrace.errors import ConfigurationError
from llmtrace.guards.reader_threads import reader_threads
from llmtrace.model import Receipt, ToolExecution, Trace
from llmtrace.store.memory import MemoryStore
from llmtrace.testing import Captured, capture

Row = dict[str, Any]


@pytest.fixture
def orders() -> dict[str, Row]:
    return {}


def in_a_loop(test: Any) -> Any:
    """A test that runs in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def receipts(captured: Captured) -> list[Receipt | None]:
    return [span.operation.receipt for span in captured.spans if isinstance(span.operation, ToolExecution)]


def only(captured: Captured) -> Receipt:
    (receipt,) = receipts(captured)
    assert receipt is not None
    return receipt


def statuses(captured: Captured) -> list[str | None]:
    return [None if receipt is None else receipt.status for receipt in receipts(captured)]


# -- the receipt


@pytest.mark.parametrize(
    ("written", "status"),
    [({"amount": 10.0}, "confirmed"), (None, "missing"), ({"amount": 6}, "different"), ([{"amount": 10}] * 2, "doubled")],
)
def test_a_change_is_read_back(orders: dict[str, Any], written: Any, status: str) -> None:
    """The reader gets the arguments that it names. The receipt and its fact are on the span, the finding on the run's."""

    @llmtrace.tool(confirm=lambda order_id: orders.get(order_id))
    def refund(order_id: str, amount: float) -> str:
        orders[order_id] = written
        return "refunded"

    @llmtrace.agent
    def support() -> str:
        return refund("W1", 10)

    with capture() as captured:
        assert support() == "refunded"
    execution, outermost = captured.spans
    receipt = only(captured)
    assert (receipt.status, receipt.pointer) == (status, "/amount" if status == "different" else "")
    assert receipt.record == written
    assert receipt.looks == 1
    assert receipt.seconds is not None
    marks = [(mark.name, mark.label, mark.confidence) for mark in outermost.evaluations]
    facts = [(fact.name, fact.label, fact.severity) for fact in execution.evaluations]
    if status == "confirmed":
        assert not marks + facts
        assert outermost.attributes[semconv.HEALTH] == "ok"
    else:
        assert marks == [("unconfirmed_change", status, "certain")]
        assert facts == [("unconfirmed_change", status, "warning")]
        assert outermost.attributes[semconv.HEALTH] == "suspect"
    suspects = diagnose(captured.trace).marked
    assert [suspect.label for suspect in suspects] == ([] if status == "confirmed" else [status])


def test_a_final_answer_after_a_missing_receipt_is_the_first_suspect(orders: dict[str, Row]) -> None:
    """The answer says that it is done. What else went wrong, also earlier, comes second."""

    @llmtrace.tool
    def look_up(order_id: str) -> str:
        raise ConnectionError("down")

    @llmtrace.tool(confirm=lambda order_id: orders.get(order_id))
    def refund(order_id: str, amount: float) -> str:
        return "refunded"

    @llmtrace.agent
    def support(task: str) -> str:
        with llmtrace.inference("acme", model="m", messages=task) as call:
            call.output = "I look."
        with pytest.raises(ConnectionError):
            look_up("W1")
        refund("W1", 10)
        with llmtrace.inference("acme", model="m", messages=task) as call:
            call.output = "Your 10 EUR are on their way."
        return "Your 10 EUR are on their way."

    with capture() as captured:
        support("Refund W1.")
    diagnosis = diagnose(captured.trace)
    assert diagnosis.prime is not None
    assert (diagnosis.prime.check, diagnosis.prime.label, diagnosis.prime.confidence) == (
        "unconfirmed_change", "missing", "certain",
    )  # fmt: skip
    assert "unconfirmed_change" in diagnosis.checked
    assert diagnosis.health == "suspect"


def test_all_forms_of_readers(orders: dict[str, Row]) -> None:
    """By names, also of the result and of defaults; of arguments and result; a method; a tool; one with any names."""
    seen: list[Any] = []

    def by_name(order_id: str, currency: str, result: dict[str, str]) -> bool:
        seen.append((order_id, currency, result["state"]))
        return True

    def both(args: dict[str, Any], answer: dict[str, str]) -> bool:
        seen.append((args["order_id"], args["currency"], answer["state"]))
        return True

    @llmtrace.tool
    def look_up(order_id: str, region: str = "EU") -> dict[str, str]:
        seen.append((order_id, region, ""))
        return {"currency": "EUR"}

    def anything(**named: Any) -> bool:
        seen.append((named["order_id"], named["currency"], ""))
        return True

    with capture() as captured:
        for reader in (by_name, both, look_up, anything):

            @llmtrace.tool(confirm=reader)
            def refund(order_id: str, currency: str = "EUR") -> dict[str, str]:
                return {"state": "done"}

            refund("W1", currency="EUR")
    assert seen == [("W1", "EUR", "done"), ("W1", "EUR", "done"), ("W1", "EU", ""), ("W1", "EUR", "")]
    assert statuses(captured) == ["confirmed"] * 4
    assert len(captured.spans) == 4


def test_methods() -> None:
    """A reader of the same class gets the object, also through `Tools`."""

    class Shop:
        def __init__(self) -> None:
            self.orders: dict[str, Row] = {}

        def look_up(self, order_id: str) -> Row | None:
            return self.orders.get(order_id)

        @llmtrace.tool(confirm=look_up)
        def refund(self, order_id: str, amount: float) -> str:
            if order_id != "W2":
                self.orders[order_id] = {"amount": amount}
            return "refunded"

    shop = Shop()
    call = {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": '{"order_id": "W3", "amount": 3}'}}
    with capture() as captured:
        shop.refund("W1", 1)
        Shop.refund(shop, "W2", 2)
        llmtrace.Tools(shop.refund).run([call])
    assert statuses(captured) == ["confirmed", "missing", "confirmed"]


def test_the_repaired_arguments_count(orders: dict[str, Row]) -> None:
    """The record is compared with what the tool got."""

    @llmtrace.tool(on_invalid="repair", confirm=lambda order_id: orders[order_id])
    def refund(order_id: str, amount: int) -> str:
        orders[order_id] = {"amount": amount}
        return "refunded"

    call = {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": '{"order_id": "W1", "amount": "7"}'}}
    with capture() as captured:
        llmtrace.Tools(refund).run([call])
    assert statuses(captured) == ["confirmed"]


def test_only_a_change_that_answered_is_read_back() -> None:
    """Not one that raised, that returned an error, that was refused, or that was left early."""

    def reader(kind: str) -> None:
        raise AssertionError("it was called")

    @llmtrace.tool(confirm=reader, on_invalid="reply")
    def change(kind: str) -> Any:
        if kind == "raise":
            raise ValueError("no")
        return {"error": "not possible"}

    @llmtrace.tool(confirm=reader)
    def stream(kind: str) -> Iterator[int]:
        yield 1
        yield 2

    with capture() as captured:
        with pytest.raises(ValueError, match="no"):
            change("raise")
        change("error")
        change(3)  # type: ignore[arg-type]
        items = stream("x")
        next(items)
        del items
    assert set(receipts(captured)) == {None}


def test_doubled_counts_the_changes_of_this_run(orders: dict[str, Row]) -> None:
    """Two equal calls leave two records, and neither is doubled; the tool that writes two at once is."""
    rows: list[Row] = []

    @llmtrace.tool(confirm=lambda order_id: [row for row in rows if row["order_id"] == order_id])
    def refund(order_id: str, amount: float) -> str:
        rows.extend([{"order_id": order_id, "amount": amount}] * (2 if order_id == "W2" else 1))
        return "refunded"

    @llmtrace.agent
    def support() -> None:
        refund("W1", 10)
        refund("W1", 10)
        refund("W2", 10)

    with capture() as captured:
        support()
    assert statuses(captured) == ["confirmed", "confirmed", "doubled"]


# -- what a reader may do


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LookupError("there is no such order"), "missing"),
        (KeyError("W1"), "missing"),
        (KeyError("no order W1"), "missing"),
        (KeyError("DATABASE_URL"), "unknown"),
        (IndexError("list index out of range"), "unknown"),
        (ConnectionError("down"), "unknown"),
        (PermissionError("no"), "unknown"),
        (SystemExit(1), "unknown"),
    ],
)
def test_a_failing_reader_marks_nothing(error: BaseException, status: str) -> None:
    """A LookupError about the record says that it is not there; a slip of the reader says nothing."""

    def reader(order_id: str) -> None:
        raise error

    @llmtrace.tool(confirm=reader)
    def refund(order_id: str) -> str:
        return "refunded"

    @llmtrace.agent
    def support() -> str:
        return refund("W1")

    with capture() as captured:
        assert support() == "refunded"
    receipt = only(captured)
    assert receipt.status == status
    if status == "unknown":
        assert receipt.error == type(error).__name__
        assert not captured.spans[-1].evaluations
        assert captured.trace.health == "ok"
        unchecked = [text for text in diagnose(captured.trace).unchecked if "took effect" in text]
        assert unchecked == [text for text in unchecked if type(error).__name__ in text] != []


def test_a_slow_reader_is_given_up() -> None:
    """The program waits as long as the limit says. While the reader hangs, no other one runs for the same key."""
    go, running, most = threading.Event(), [0], [0]

    def reader(order_id: str) -> bool:
        running[0] += 1
        most[0] = max(most[0], running[0])
        go.wait(20)
        running[0] -= 1
        return True

    @llmtrace.tool(confirm=reader, confirm_timeout=0.1)
    def refund(order_id: str) -> str:
        return "refunded"

    with capture() as captured:
        began = time.monotonic()
        assert [refund("W1"), refund("W1")] == ["refunded"] * 2
        assert time.monotonic() - began < 10
        go.set()
    assert [receipt.error for receipt in receipts(captured) if receipt is not None] == ["timeout", "timeout"]
    assert most == [1]


def test_the_span_ends_when_the_tool_answered() -> None:
    """Its duration is the tool's own, not the reader's."""

    @llmtrace.tool(confirm=lambda order_id: time.sleep(0.2))
    def refund(order_id: str) -> str:
        return "refunded"

    with capture(identity=llmtrace.testing.counting_identity()) as captured:
        refund("W1")
    (span,) = captured.spans
    assert span.end == span.start + 1_000_000  # one tick of the clock
    assert (only(captured).seconds or 0) >= 0.19


def test_a_reader_is_not_recorded(orders: dict[str, Row]) -> None:
    """Its tools, spans and model calls are no steps of the agent, and no budget counts them."""

    @llmtrace.tool
    def look_up(order_id: str) -> Row:
        with llmtrace.span("query"), llmtrace.inference("acme", model="m"):
            return {"amount": 10}

    def reader(order_id: str) -> Row:
        return look_up(order_id)

    @llmtrace.tool(confirm=reader)
    def refund(order_id: str, amount: float) -> str:
        return "refunded"

    @llmtrace.agent(budget=llmtrace.Budget(calls=1))
    def support() -> str:
        return refund("W1", 10)

    with capture() as captured:
        support()
    assert [span.name for span in captured.spans] == ["execute_tool refund", "invoke_agent support"]
    assert statuses(captured) == ["confirmed"]


def test_a_reader_sees_the_context_variables_of_its_call() -> None:
    """Such as the tenant or the session of a request."""
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
    tenant.set("acme")

    @llmtrace.tool(
        confirm=lambda order_id: tenant.get() == "acme" and threading.current_thread() is not threading.main_thread()
    )
    def refund(order_id: str) -> str:
        return "refunded"

    with capture() as captured:
        refund("W1")
    assert statuses(captured) == ["confirmed"]


def test_the_program_interrupted_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C reaches the program; the span has ended with the tool's result."""
    from llmtrace.guards.receipt_reader import Change

    def interrupted(self: Change) -> Receipt:
        raise KeyboardInterrupt

    monkeypatch.setattr(Change, "look", interrupted)

    @llmtrace.tool(confirm=lambda order_id: True)
    def refund(order_id: str) -> str:
        return "refunded"

    with capture() as captured, pytest.raises(KeyboardInterrupt):
        refund("W1")
    (span,) = captured.spans
    assert isinstance(span.operation, ToolExecution)
    assert span.operation.result == "refunded"
    assert only(captured).error == "interrupted"


def test_reads_are_limited() -> None:
    """A run reads back `receipt_reads` changes, and with 0 none."""

    @llmtrace.tool(confirm=lambda order_id: True)
    def refund(order_id: str) -> str:
        return "refunded"

    @llmtrace.agent
    def support() -> None:
        for number in range(3):
            refund(f"W{number}")

    with capture(receipt_reads=2) as captured:
        support()
    assert [receipt and (receipt.status, receipt.error) for receipt in receipts(captured)] == [
        ("confirmed", ""), ("confirmed", ""), ("unknown", "not_allowed"),
    ]  # fmt: skip
    with capture(receipt_reads=0) as captured:
        support()
    assert {receipt and receipt.error for receipt in receipts(captured)} == {"not_allowed"}


def test_without_recording_nothing_is_read() -> None:
    """There is no span to keep a receipt on."""
    read: list[str] = []

    @llmtrace.tool(confirm=lambda order_id: read.append(order_id))
    def refund(order_id: str) -> str:
        return "refunded"

    assert refund("W1") == "refunded"
    with capture(), llmtrace.suppress():
        assert refund("W1") == "refunded"
    assert not read


# -- kinds of tools


@in_a_loop
async def test_async_tools(orders: dict[str, Row]) -> None:
    """An async reader is awaited on the program's loop, a plain one on another thread; the loop goes on meanwhile."""
    loops: list[Any] = []
    beats = [0]

    async def on_loop(order_id: str) -> Row | None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0.05)
        return orders.get(order_id)

    def on_thread(order_id: str) -> Row | None:
        time.sleep(0.05)
        return orders.get(order_id)

    async def heart() -> None:
        while True:
            await asyncio.sleep(0.005)
            beats[0] += 1

    async def change(order_id: str, amount: float) -> str:
        orders[order_id] = {"amount": amount}
        return "done"

    async def stream(order_id: str, amount: float) -> AsyncIterator[str]:
        yield "done"
        orders[order_id] = {"amount": 0}

    beating = asyncio.ensure_future(heart())
    with capture() as captured:
        assert await llmtrace.tool(confirm=on_loop)(change)("W1", 1) == "done"
        before = beats[0]
        assert await llmtrace.tool(confirm=on_thread)(change)("W2", 2) == "done"
        assert beats[0] - before >= 2
        assert [item async for item in llmtrace.tool(confirm=on_loop)(stream)("W3", 3)] == ["done"]
    beating.cancel()
    assert statuses(captured) == ["confirmed", "confirmed", "different"]
    assert set(loops) == {asyncio.get_running_loop()}


@in_a_loop
async def test_an_async_reader_has_a_time_limit() -> None:
    """It is cancelled; the next one for its key waits until it has ended."""
    ended: list[str] = []

    async def reader(order_id: str) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(order_id)

    @llmtrace.tool(confirm=reader, confirm_timeout=0.05)
    async def refund(order_id: str) -> str:
        return "refunded"

    with capture() as captured:
        assert [*await asyncio.gather(refund("W1"), refund("W1"), refund("W2"))] == ["refunded"] * 3
        await asyncio.sleep(0.01)
    assert {receipt and receipt.error for receipt in receipts(captured)} == {"timeout"}
    assert sorted(set(ended)) == ["W1", "W2"]
    assert not reader_threads._waiting


@in_a_loop
async def test_a_cancelled_task_ends_its_span() -> None:
    """The cancellation reaches the program, and the result of the tool is recorded."""
    started = asyncio.Event()

    async def reader(order_id: str) -> None:
        started.set()
        await asyncio.sleep(30)

    @llmtrace.tool(confirm=reader)
    async def refund(order_id: str) -> str:
        return "refunded"

    with capture() as captured:
        task = asyncio.ensure_future(refund("W1"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
    assert only(captured).error == "interrupted"
    assert captured.spans[0].failure is None


def test_plain_tools_with_async_readers(orders: dict[str, Row]) -> None:
    """It is awaited on a thread. Also of `Tools`, generators, and a plain function that returns a coroutine."""

    async def reader(order_id: str) -> Row | None:
        await asyncio.sleep(0)
        return orders.get(order_id)

    @llmtrace.tool(confirm=reader)
    def refund(order_id: str, amount: float) -> str:
        orders[order_id] = {"amount": amount}
        return "refunded"

    @llmtrace.tool(confirm=reader)
    def stream(order_id: str, amount: float) -> Iterator[str]:
        orders[order_id] = {"amount": amount}
        yield "refunded"

    def calls(name: str) -> list[Any]:
        return [{"id": "c", "type": "function", "function": {"name": name, "arguments": '{"order_id": "W3", "amount": 3}'}}]

    tools = llmtrace.Tools(refund, stream)
    with capture() as captured:
        refund("W1", 1)
        assert list(stream("W2", 2)) == ["refunded"]
        assert tools.run(calls("refund"))[0]["content"] == "refunded"
        assert asyncio.run(tools.arun(calls("stream")))[0]["content"] == '["refunded"]'
    assert statuses(captured) == ["confirmed"] * 4


def test_the_model_is_not_told(orders: dict[str, Row]) -> None:
    """The definition and the answer are those of a tool without a reader."""

    def refund(order_id: str, amount: float) -> str:
        "Refund an order."
        return "refunded"

    plain, confirmed = (
        llmtrace.Tools(llmtrace.tool(refund)),
        llmtrace.Tools(llmtrace.tool(confirm=lambda order_id: None)(refund)),
    )
    assert plain.openai() == confirmed.openai()
    calls: Any = [
        {"id": "c", "type": "function", "function": {"name": "refund", "arguments": '{"order_id": "W", "amount": 1}'}}
    ]
    with capture():
        assert plain.run(calls) == confirmed.run(calls)


# -- content


def test_content_is_nowhere_without_it(orders: dict[str, Row]) -> None:
    """The status and the name of the member stay; what was read back, and the reader's words, go."""

    @llmtrace.tool(confirm=lambda order_id: {"amount": "xk7canary"})
    def refund(order_id: str, amount: str) -> str:
        return "refunded"

    @llmtrace.tool(confirm=lambda order_id: llmtrace.Receipt("missing", note="xk7canary"))
    def cancel(order_id: str) -> str:
        return "cancelled"

    @llmtrace.agent
    def support() -> None:
        refund("W1", "10")
        cancel("W1")

    with capture(content="none") as captured:
        support()
    assert "xk7canary" not in repr(captured.trace.spans)
    different, missing = receipts(captured)
    assert different is not None
    assert missing is not None
    assert (different.status, different.pointer, different.record) == ("different", "/amount", None)
    assert (missing.status, missing.note) == ("missing", "")
    kinds = [suspect.label for suspect in diagnose(captured.trace).marked]
    assert sorted(kinds) == ["different", "missing"]


def test_secrets_of_a_record_are_redacted() -> None:
    """What is read back goes through the same door as arguments and results; it is compared before."""

    @llmtrace.tool(confirm=lambda user: {"user": user, "password": "hunter2secret", "plan": "pro"})
    def set_plan(user: str, plan: str, password: str) -> str:
        return "done"

    with capture() as captured:
        set_plan("ann", "pro", "hunter2secret")
    assert only(captured).status == "confirmed"
    assert "hunter2secret" not in repr(captured.spans)


# -- replays


def test_a_replay_answers_from_the_record(orders: dict[str, Row]) -> None:
    """The reader is not called, and the verdict is the recorded one."""
    read: list[str] = []

    def reader(order_id: str) -> None:
        read.append(order_id)

    @llmtrace.tool(confirm=reader)
    def refund(order_id: str) -> str:
        return "refunded"

    @llmtrace.agent
    def support() -> str:
        return refund("W1")

    def recorded(trace: Trace | None, **how: Any) -> Captured:
        with capture() as captured:
            if trace is None:
                support()
            else:
                with llmtrace.replay(trace, **how):
                    support()
        return captured

    first = recorded(None)
    again = recorded(first.trace)
    assert read == ["W1"]
    assert only(again) == only(first)
    assert [mark.label for mark in again.spans[-1].evaluations] == ["missing"]
    live = recorded(first.trace, tools={"refund": "live"})
    assert read == ["W1"]
    assert (only(live).status, only(live).error) == ("unknown", "not_allowed")


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confirm": 3}, "expected a function of some of the tool's arguments"),
        ({"confirm": lambda identifier: None}, "its parameter 'identifier' is no argument of refund"),
        ({"confirm": lambda: None}, "it takes no arguments"),
        ({"confirm": lambda order_id, region: None}, "its parameter 'region' is no argument of refund"),
        ({"confirm": lambda order_id: None, "changes": False}, "only a change can be confirmed"),
        ({"confirm_within": "30s"}, "they need confirm="),
        ({"confirm_timeout": 3}, "they need confirm="),
        ({"confirm": lambda order_id: None, "confirm_timeout": 0}, "confirm_timeout=0"),
        ({"confirm": lambda order_id: None, "confirm_within": "soon"}, "confirm_within='soon'"),
    ],
)
def test_wrong_options_are_errors_at_once(options: dict[str, Any], message: str) -> None:
    """Where the tool is declared, and with the names that it has."""
    with pytest.raises(ConfigurationError, match=message):

        @llmtrace.tool(**options)
        def refund(order_id: str, amount: float) -> str:
            return "refunded"


def test_a_confirmed_tool_declares_its_change() -> None:
    """So that the same call twice is a finding."""

    @llmtrace.tool(confirm=lambda order_id: None)
    def refund(order_id: str) -> str:
        return "refunded"

    (definition,) = llmtrace.Tools(refund).definitions
    assert definition.changes is True


def test_a_memory_store_reads_back_what_was_kept() -> None:
    """A receipt is stored and read like every other field of an execution."""
    store = MemoryStore()

    @llmtrace.tool(confirm=lambda order_id: llmtrace.Receipt("different", "/amount", note="6", of="result"))
    def refund(order_id: str) -> str:
        return "refunded"

    with capture() as captured:
        refund("W1")
    store.append(captured.spans[0])
    assert store.trace(captured.trace.trace_id).spans[0].operation == captured.spans[0].operation
