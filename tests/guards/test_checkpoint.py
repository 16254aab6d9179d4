"""Checkpoints: what they record and check, which policies stop a program, and that a run can begin at one again."""

from __future__ import annotations

import asyncio
import datetime
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.errors import CheckpointFailed, ConfigurationError, ReplayDiverged, StateUnavailable
from llmtrace.model import Custom, Span, Trace
from llmtrace.model.reviews import Decision
from llmtrace.store import open_store
from llmtrace.store.dead_letters import letters_of
from llmtrace.testing import capture

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


class Order(pydantic.BaseModel):
    order_id: str
    bought: datetime.date
    total: float = 0.0


ORDER = Order(order_id="A-1", bought=datetime.date(2026, 1, 31))


def broken(_state: object) -> bool:
    raise RuntimeError("the check has a bug")


def recorded(program: Callable[[], Any], **options: Any) -> tuple[Any, Trace]:
    with capture(signals=[], **options) as captured:
        result = llmtrace.agent(program, name="shop")()  # type: ignore[call-overload]
    return result, captured.trace


def checkpoints(trace: Trace) -> list[Span]:
    return [span for span in trace.spans if "llmtrace.checkpoint.name" in span.attributes]


def test_the_state_its_verdict_and_what_changed_are_recorded() -> None:
    state: dict[str, Any] = {"task": "refund", "items": [1, 2], "open": True}

    def program() -> Any:
        assert llmtrace.checkpoint("task read", state) is state
        state.update(items=[1, 3, 4], total="42")
        del state["open"]
        return llmtrace.checkpoint("order found", state, check=SCHEMA)

    result, trace = recorded(program)
    assert result is state
    first, second = checkpoints(trace)
    assert first.operation == Custom({"task": "refund", "items": [1, 2], "open": True})
    assert "llmtrace.checkpoint.passed" not in first.attributes
    assert isinstance(second.operation, Custom)
    changes = {"removed": ["/open"], "added": ["/total", "/items/2"], "changed": ["/items/1"]}
    assert second.operation.result == {"since": "task read", **changes}
    assert second.attributes["llmtrace.checkpoint.passed"] is False
    (failed,) = second.evaluations
    assert (failed.name, failed.severity, failed.pointer) == ("failed_check", "error", "/total")
    assert trace.health == "recovered"


@pytest.mark.parametrize("check", [SCHEMA, Order, list[Order], broken, lambda state: "too small", lambda state: False])
@pytest.mark.parametrize("configured", [True, False])
def test_only_the_policy_stops_the_program(check: Any, configured: bool) -> None:
    def program() -> None:
        assert llmtrace.checkpoint("found", {"order_id": 1}, check=check) == {"order_id": 1}
        with pytest.raises(CheckpointFailed, match="checkpoint 'found': ") as raised:
            llmtrace.checkpoint("found", {"order_id": 1}, check=check, on_fail="raise")
        assert raised.value.name == "found"

    if configured:
        _, trace = recorded(program)
        assert [span.failure is None for span in checkpoints(trace)] == [True, False]
        assert all(span.evaluations[0].name == "failed_check" for span in checkpoints(trace))
    else:
        program()


@pytest.mark.parametrize("is_async", [False, True])
def test_retry_makes_the_state_again(is_async: bool) -> None:
    totals = iter([None, "42", 42])

    def make() -> Any:
        return {"total": next(totals)}

    async def make_async() -> Any:
        return make()

    def program() -> Any:
        if is_async:
            return asyncio.run(llmtrace.checkpoint("found", make_async, check=SCHEMA, on_fail="retry"))  # type: ignore[arg-type]
        return llmtrace.checkpoint("found", make, check=SCHEMA, on_fail="retry")

    result, trace = recorded(program)
    assert result == {"total": 42}
    assert [span.attributes["llmtrace.checkpoint.passed"] for span in checkpoints(trace)] == [False, False, True]
    assert trace.health == "ok"
    assert not diagnose(trace).marked
    with pytest.raises(CheckpointFailed, match="/total: "):
        llmtrace.checkpoint("found", lambda: {"total": ""}, check=SCHEMA, on_fail="retry", retries=1)
    with pytest.raises(CheckpointFailed, match=": more than 100 EUR"):
        llmtrace.checkpoint("found", {"total": 101}, check=lambda _: "more than 100 EUR", on_fail="raise")


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"on_fail": "ask"},
        {"check": 3},
        {"check": {"type": "nothing"}},
        {"check": SCHEMA, "on_fail": "retry"},
        {"state": dict, "on_fail": "retry"},
        {"state": dict, "check": SCHEMA, "on_fail": "retry", "retries": -1},
    ],
)
def test_wrong_values_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"checkpoint\("):
        llmtrace.checkpoint(**{"name": "found", "state": {}, **arguments})


def test_a_state_that_json_cannot_hold() -> None:
    """It is recorded as far as possible, with one line that says so; the run cannot be resumed from it."""
    state: dict[str, Any] = {"lock": threading.Lock()}
    state["self"] = state
    result, trace = recorded(lambda: llmtrace.checkpoint("found", state))
    assert result is state
    (evaluation,) = checkpoints(trace)[0].evaluations
    assert evaluation.name == "incomplete_state"
    assert not diagnose(trace).marked
    with pytest.raises(StateUnavailable, match="it held an object that JSON cannot hold"):
        llmtrace.resume(trace)


def test_resume_gives_the_last_good_state() -> None:
    def program() -> None:
        llmtrace.checkpoint("order found", ORDER, check=Order)
        llmtrace.checkpoint("refund done", {"total": "?"}, check=SCHEMA)

    _, trace = recorded(program)
    assert Order.model_validate(llmtrace.resume(trace)) == ORDER
    assert llmtrace.resume(trace, "refund done") == {"total": "?"}
    with pytest.raises(StateUnavailable, match=r"has no checkpoint 'nowhere'\. Its checkpoints: 'order found', 'refund done'"):
        llmtrace.resume(trace, "nowhere")
    _, empty = recorded(lambda: None)
    with pytest.raises(StateUnavailable, match="no good checkpoint"):
        llmtrace.resume(empty)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"redact_patterns": [r"A-\d"]}, "redacted"),
        ({"content": "none"}, "content was not recorded"),
        ({"max_content_bytes": 1024}, "cut"),
    ],
)
def test_a_state_that_was_not_kept_whole_is_not_given_back(options: dict[str, Any], reason: str) -> None:
    state = {"order_id": "A-1", "text": "x" * 5000}
    _, trace = recorded(lambda: llmtrace.checkpoint("found", state), **options)
    with pytest.raises(StateUnavailable, match=reason):
        llmtrace.resume(trace)
    if reason != "cut":
        assert "A-1" not in repr(trace.spans)


def test_why_names_the_last_good_checkpoint() -> None:
    def program() -> None:
        llmtrace.checkpoint("task read", {"total": 1}, check=SCHEMA)
        llmtrace.checkpoint("order found", {"total": 2}, check=SCHEMA)
        llmtrace.checkpoint("refund done", {}, check=SCHEMA, on_fail="raise")

    with pytest.raises(CheckpointFailed), capture(signals=[]) as captured:
        llmtrace.agent(program, name="shop")()  # type: ignore[call-overload]
    diagnosis = diagnose(captured.trace)
    assert diagnosis.prime is not None
    assert diagnosis.prime.title.startswith("checkpoint refund done ended with ")
    assert "/total: `total` is required" in diagnosis.prime.evidence
    assert diagnosis.prime.confidence == "certain"
    assert diagnosis.last_good_checkpoint is not None
    assert diagnosis.last_good_checkpoint.title == "order found"
    _, good = recorded(lambda: llmtrace.checkpoint("order found", {"total": 2}, check=SCHEMA))
    assert diagnose(good).last_good_checkpoint is None


def test_a_replay_begins_at_a_checkpoint() -> None:
    """Calls before it are answered from the record, the program gets the recorded state, and what comes later runs."""
    ran: list[str] = []

    @llmtrace.tool
    def look_up(order_id: str) -> dict[str, Any]:
        ran.append("look_up")
        return {"order_id": order_id, "bought": datetime.date(2026, 1, 31), "total": len(ran)}

    @llmtrace.tool
    def refund(total: float) -> float:
        ran.append("refund")
        return total

    def program() -> Any:
        order = Order(order_id=look_up("A-1")["order_id"], bought=datetime.date(2026, 1, 31), total=len(ran) * 10)
        order = llmtrace.checkpoint("order found", order)
        return refund(order.total)

    look_up.__wrapped__.__annotations__["return"] = dict[str, Any]
    result, trace = recorded(program)
    assert (result, ran) == (10.0, ["look_up", "refund"])
    with capture(signals=[]) as captured, llmtrace.replay(trace, live_after="order found", tools={"refund": "after"}):
        assert llmtrace.agent(program, name="shop")() == 10.0  # type: ignore[call-overload]
    assert ran == ["look_up", "refund", "refund"]
    assert captured.trace.root.failure is None


def test_a_state_that_cannot_be_given_back_stops_the_replay() -> None:
    states: list[Any] = [{"lock": threading.Lock()}, {"lock": threading.Lock(), "more": 1}]
    _, trace = recorded(lambda: llmtrace.checkpoint("found", states[0]))
    span_id = checkpoints(trace)[0].span_id
    with pytest.raises(ReplayDiverged, match="JSON cannot hold"), capture(), llmtrace.replay(trace, live_after=span_id):
        llmtrace.agent(lambda: llmtrace.checkpoint("found", states[1]), name="shop")()  # type: ignore[call-overload]
    with pytest.raises(StateUnavailable), capture(), llmtrace.replay(trace, live_after="found"):
        pass


def test_without_a_store_and_in_threads(tmp_path: Path) -> None:
    """Several threads of a run share its last checkpoint; each state is recorded, and none of them waits."""

    def program() -> None:
        with llmtrace.span("all"):
            threads = [
                threading.Thread(target=llmtrace.wrap(llmtrace.checkpoint), args=("found", {"number": number}))
                for number in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    _, trace = recorded(program)
    numbers = {span.operation.arguments["number"] for span in checkpoints(trace) if isinstance(span.operation, Custom)}
    assert numbers == set(range(8))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_worker() -> None:
    """The state is checked there as here, and the parent's run goes on."""

    def program() -> int:
        child = os.fork()
        if child == 0:
            try:
                llmtrace.checkpoint("found", {"total": 1}, check=SCHEMA, on_fail="raise")
                llmtrace.checkpoint("found", {}, check=SCHEMA, on_fail="raise")
            except CheckpointFailed:
                os._exit(7)
            finally:
                os._exit(1)
        llmtrace.checkpoint("found", {"total": 2}, check=SCHEMA)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    result, trace = recorded(program)
    assert result == 7
    assert len(checkpoints(trace)) == 1


@pytest.mark.parametrize(
    ("decision", "result"),
    [
        (Decision("approved"), {"total": "?"}),
        (Decision("answered", value={"total": 42}), {"total": 42}),
        (Decision("rejected", reason="no"), None),
        (None, None),
    ],
)
def test_a_person_is_asked(tmp_path: Path, decision: Decision | None, result: Any) -> None:
    """An approval lets the state pass, an answer takes its place, anything else stops the program: one dead letter."""
    store, seconds = str(tmp_path / "store"), 0.2 if decision is None else 30.0
    llmtrace.configure(store=store, instrument=(), notify=lambda _: decision, review_timeout=seconds, exporters=())
    try:
        agent = llmtrace.agent(name="shop")(
            lambda: llmtrace.checkpoint("found", {"total": "?"}, check=SCHEMA, on_fail="review")
        )
        if result is None:
            with pytest.raises(CheckpointFailed, match="found"):
                agent()
        else:
            assert agent() == result
    finally:
        llmtrace.shutdown()
    letters = letters_of(open_store(store).trace("last"))
    reason = "expired_review" if decision is None else "rejected_review"
    assert [letter.reason for letter in letters] == ([] if result else [reason])
