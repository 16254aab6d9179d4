"""`confirm_within=`: a change that may take effect later is looked at again, and the verdict on its run is completed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace import semconv
from llmtrace.diagnosis import diagnose
from llmtrace.guards.late_receipts import late_receipts
from llmtrace.model import Receipt, Span, ToolExecution
from llmtrace.testing import Captured, capture

Row = dict[str, Any]


def wait_until(is_true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.01)


def settled() -> None:
    wait_until(lambda: not late_receipts.count)
    time.sleep(0.05)  # the last one is being written


def execution(captured: Captured) -> tuple[Span, Receipt]:
    (span,) = [span for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert isinstance(span.operation, ToolExecution)
    assert span.operation.receipt is not None
    return span, span.operation.receipt


def test_a_late_change_is_confirmed() -> None:
    """The receipt is pending until then, and marks nothing before or after."""
    orders: dict[str, Row] = {}

    @llmtrace.tool(confirm=lambda order_id: orders.get(order_id), confirm_within="20s")
    def ship(order_id: str, carrier: str) -> str:
        return "will be shipped"

    @llmtrace.agent
    def support() -> str:
        return ship("W1", "DHL")

    with capture() as captured:
        support()
        _, receipt = execution(captured)
        assert (receipt.status, receipt.seen) == ("pending", "missing")
        assert captured.trace.health == "ok"
        assert "not there at the last look" in " ".join(diagnose(captured.trace).unchecked)
        orders["W1"] = {"carrier": "DHL"}
        settled()
        span, receipt = execution(captured)
    assert (receipt.status, receipt.seen, receipt.record) == ("confirmed", "", {"carrier": "DHL"})
    assert receipt.looks >= 2
    assert not span.evaluations
    assert captured.trace.health == "ok"


@pytest.mark.parametrize("content", ["local", "none"])
def test_the_verdict_is_completed_after_the_run(content: Any) -> None:
    """What never came marks the stored run: its tool's span with the fact, its outermost with the finding and the health."""

    @llmtrace.tool(confirm=lambda order_id: None, confirm_within=0.3)
    def ship(order_id: str) -> str:
        return "will be shipped"

    @llmtrace.agent
    def support() -> str:
        return ship("W1")

    with capture(content=content) as captured:
        support()
        assert captured.trace.root.attributes[semconv.HEALTH] == "ok"
        settled()
        span, receipt = execution(captured)
        root = captured.trace.root
    assert receipt.status == "missing"
    assert receipt.looks >= 3
    assert [fact.label for fact in span.evaluations] == ["missing"]
    assert [(mark.label, mark.confidence) for mark in root.evaluations] == [("missing", "certain")]
    attributes = root.attributes
    assert (attributes[semconv.HEALTH], attributes[semconv.FINDINGS_COUNT], attributes[semconv.SUSPECT]) == ("suspect", 1, True)
    assert attributes[semconv.WORST_FINDING] == "unconfirmed_change"
    assert captured.trace.health == diagnose(captured.trace).health == "suspect"
    assert [suspect.label for suspect in diagnose(captured.trace).marked] == ["missing"]


def test_a_run_that_goes_on_is_judged_at_its_end() -> None:
    """The live verdict knows what came in the meantime."""

    @llmtrace.tool(confirm=lambda order_id: {"carrier": "UPS"}, confirm_within=0.1)
    def ship(order_id: str, carrier: str) -> str:
        return "will be shipped"

    @llmtrace.agent
    def support() -> None:
        ship("W1", "DHL")
        settled()

    with capture() as captured:
        support()
        span, receipt = execution(captured)
        root = captured.trace.root
    assert (receipt.status, receipt.pointer) == ("different", "/carrier")
    assert [mark.label for mark in root.evaluations] == ["different"]
    assert semconv.EVALUATION_ROUND not in root.attributes
    assert span.attributes[semconv.EVALUATION_ROUND] == 2


def test_an_unfinished_look_ends_as_unknown() -> None:
    """The block or program ends first: the receipt says so, with the status of the last look."""

    @llmtrace.tool(confirm=lambda order_id: None, confirm_within="1h")
    def ship(order_id: str) -> str:
        return "will be shipped"

    with capture() as captured:
        ship("W1")
    _, receipt = execution(captured)
    assert (receipt.status, receipt.error, receipt.seen) == ("unknown", "ended", "missing")
    assert captured.trace.health == "ok"
    unchecked = " ".join(diagnose(captured.trace).unchecked)
    assert "the program ended before the time was up; it was not there at the last look" in unchecked
    assert not late_receipts.count


def test_a_reader_that_hangs_does_not_stop_the_others() -> None:
    """Each look has its time limit; a look that fails at the end says unknown, whatever was seen before."""
    go, calls = threading.Event(), [0]

    def reader(order_id: str) -> None:
        calls[0] += 1
        if order_id == "W1":
            go.wait(20)
        if calls[0] > 3:
            raise ConnectionError

    @llmtrace.tool(confirm=reader, confirm_within=0.3, confirm_timeout=0.05)
    def ship(order_id: str) -> str:
        return "will be shipped"

    @llmtrace.agent
    def support() -> None:
        ship("W1")
        ship("W2")

    with capture() as captured:
        support()
        settled()
        go.set()
    receipts = [span.operation.receipt for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert [receipt and receipt.status for receipt in receipts] == ["unknown", "unknown"]
    assert [receipt and receipt.error for receipt in receipts] == ["timeout", "ConnectionError"]
    assert captured.trace.health == "ok"


def test_a_pending_receipt_of_the_reader_is_looked_at_again() -> None:
    """A reader may say itself that it is too early; without `confirm_within` nobody looks again."""
    answers = iter([llmtrace.Receipt("pending"), llmtrace.Receipt("pending"), llmtrace.Receipt("confirmed")])

    @llmtrace.tool(confirm=lambda order_id: next(answers), confirm_within="20s")
    def ship(order_id: str) -> str:
        return "will be shipped"

    @llmtrace.tool(confirm=lambda order_id: llmtrace.Receipt("pending"))
    def ship_now(order_id: str) -> str:
        return "shipped"

    with capture() as captured:
        ship("W1")
        settled()
        assert execution(captured)[1].status == "confirmed"
    with capture() as captured:
        ship_now("W1")
    assert (execution(captured)[1].status, execution(captured)[1].seen) == ("unknown", "pending")


def test_an_async_reader_is_awaited_on_the_loop_of_its_program() -> None:
    """Its clients belong to that; when the loop has ended, on another one."""
    loops: list[Any] = []

    async def reader(order_id: str) -> bool:
        loops.append(asyncio.get_running_loop())
        return len(loops) > 2

    @llmtrace.tool(confirm=reader, confirm_within="20s")
    async def ship(order_id: str) -> str:
        return "will be shipped"

    async def program() -> Any:
        await ship("W1")
        await asyncio.to_thread(settled)
        return asyncio.get_running_loop()

    with capture() as captured:
        loop = asyncio.run(program())
        settled()
        assert execution(captured)[1].status == "confirmed"
    assert set(loops) == {loop}
    loops.clear()
    with capture() as captured:
        asyncio.run(ship("W1"))
        settled()
        assert execution(captured)[1].status == "confirmed"
    assert len(set(loops)) > 1


_PROGRAM = """
import llmtrace
llmtrace.configure()

@llmtrace.tool(confirm=lambda order_id: None, confirm_within="1h")
def ship(order_id: str) -> str:
    return "will be shipped"

ship("W1")
"""


def test_the_end_of_a_program_settles_what_is_pending(tmp_path: Path) -> None:
    """In its store, before it ends; the program does not wait for the time to be up."""
    environment = {"LLMTRACE_STORE": str(tmp_path / "store"), "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True, env=environment, timeout=60)
    from llmtrace.store import open_store

    with open_store(str(tmp_path / "store")) as store:
        (summary,) = store.traces()
        (span,) = store.trace(summary.trace_id).spans
    assert isinstance(span.operation, ToolExecution)
    assert span.operation.receipt is not None
    assert (span.operation.receipt.status, span.operation.receipt.error) == ("unknown", "ended")
