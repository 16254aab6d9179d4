"""A call that waits for a person: what each decision makes of it, and everything that is a no."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from tests.servers import serving

import llmtrace
from llmtrace.codec import messages
from llmtrace.errors import ConfigurationError, ReplayDiverged, ReviewConflict, ReviewDenied, ReviewPending
from llmtrace.model import Review, ToolExecution, Trace, has_error, trusted_by_hints
from llmtrace.model.reviews import Decision, ReviewRecord, ReviewRequest
from llmtrace.store import open_store
from llmtrace.store.claims import NAME
from llmtrace.store.reviews import Reviews

ran: list[Any] = []


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Path]:
    ran.clear()
    on(tmp_path)
    yield tmp_path
    llmtrace.shutdown()


def on(store: Path, **options: Any) -> None:
    llmtrace.configure(store=store, instrument=(), exporters=(), **options)


def refund(order_id: str, amount: float) -> dict[str, Any]:
    """Pay back."""
    ran.append((order_id, amount))
    return {"order_id": order_id, "amount": amount}


def asks(name: str = "refund", call_id: str = "c1", **arguments: Any) -> list[dict[str, Any]]:
    """What a model asks for, in OpenAI's form."""
    function = {"name": name, "arguments": json.dumps(arguments or {"order_id": "KS-1", "amount": 10})}
    return [{"id": call_id, "type": "function", "function": function}]


class Reviewer:
    """A person who decides what waits, in a thread of their own."""

    def __init__(self, decide: Callable[[ReviewRecord], Any], *, times: int = 1) -> None:
        self.seen: list[ReviewRecord] = []
        self._decide, self._times = decide, times
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Reviewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        assert len(self.seen) == self._times

    def _watch(self) -> None:
        while len(self.seen) < self._times:
            for record in llmtrace.reviews.pending():
                if record.request.review_id not in [one.request.review_id for one in self.seen]:
                    self.seen.append(record)
                    self._decide(record)
            time.sleep(0.01)


def approve(record: ReviewRecord, **how: Any) -> None:
    llmtrace.reviews.approve(record.request.review_id, digest=record.request.digest, by="ann", **how)


def edit(**changes: Any) -> Callable[[ReviewRecord], Any]:
    return lambda record: llmtrace.reviews.edit(
        record.request.review_id, {**record.request.payload, **changes}, digest=record.request.digest, by="ann"
    )


def reject(record: ReviewRecord) -> None:
    llmtrace.reviews.reject(record.request.review_id, "too much", digest=record.request.digest, by="ann")


@pytest.fixture
def tools() -> llmtrace.Tools:
    """`refund`, whose every call is held."""
    return llmtrace.Tools(llmtrace.tool(review=True)(refund))


def held(program: Callable[[], Any]) -> ReviewRecord:
    """The review that a program has ended to wait for."""
    with pytest.raises(ReviewPending) as pending:
        program()
    return llmtrace.reviews.get(pending.value.review_id)


def die_running(store: Path, record: ReviewRecord) -> None:
    """Another process begins to run the call, and dies."""
    child = os.fork()
    if child == 0:
        Reviews(store).start(record.request.review_id, record.request.digest, record.request.digest)
        os._exit(9)
    os.waitpid(child, 0)


def newest(store: Path) -> Trace:
    llmtrace.flush()
    return open_store(str(store)).trace("last")


def answer_of(messages: list[Any]) -> str:
    return str(messages[0]["content"])


# -- the four decisions


def test_an_approved_call_runs_as_it_was_shown(store: Path, tools: llmtrace.Tools) -> None:
    with Reviewer(approve) as person, llmtrace.workflow("w"):
        assert json.loads(answer_of(tools.run(asks()))) == {"order_id": "KS-1", "amount": 10}
    request = person.seen[0].request
    assert (request.payload, request.tool, request.call_id) == ({"order_id": "KS-1", "amount": 10}, "refund", "c1")
    assert ran == [("KS-1", 10)]
    review, execution = (span.operation for span in newest(store).spans[1:])
    assert isinstance(review, Review)
    assert (review.decision, review.decided_by, review.payload) == ("approved", "ann", request.payload)
    assert isinstance(execution, ToolExecution)
    assert execution.executed
    assert Reviews(store).get(request.review_id).state == "done"


def test_an_edited_call_runs_as_it_was_edited_and_the_model_is_told(store: Path, tools: llmtrace.Tools) -> None:
    with Reviewer(edit(amount=2.5)), llmtrace.workflow("w"):
        told = answer_of(tools.run(asks()))
    assert ran == [("KS-1", 2.5)]
    note, result = told.split("\n")
    assert "A reviewer changed the arguments" in note
    assert json.loads(result)["amount"] == 2.5
    execution = newest(store).spans[-1].operation
    assert isinstance(execution, ToolExecution)
    assert execution.arguments == {"order_id": "KS-1", "amount": 10}
    assert execution.repaired == {"order_id": "KS-1", "amount": 2.5}


def test_a_rejected_call_does_not_run_and_is_no_error(store: Path, tools: llmtrace.Tools) -> None:
    with Reviewer(reject), llmtrace.workflow("w"):
        told = answer_of(tools.run(asks()))
    assert told == "ann rejected this call of refund, so it did not run: too much. Do not call it again with these arguments."
    assert not ran
    trace = newest(store)
    assert not any(has_error(span) for span in trace.spans)
    assert not any(span.violations for span in trace.spans)


def test_an_answer_takes_the_tool_s_place(store: Path, tools: llmtrace.Tools) -> None:

    def answer(record: ReviewRecord) -> None:
        llmtrace.reviews.answer(record.request.review_id, {"paid": "by hand"}, digest=record.request.digest)

    with Reviewer(answer), llmtrace.workflow("w"):
        assert json.loads(answer_of(tools.run(asks()))) == {"paid": "by hand"}
    assert not ran
    execution = newest(store).spans[-1].operation
    assert isinstance(execution, ToolExecution)
    assert (execution.executed, execution.result) == (False, {"paid": "by hand"})


# -- who is asked, and when


@pytest.mark.parametrize(
    ("condition", "arguments", "is_held"),
    [
        (True, {}, True),
        ("when changing", {}, True),
        (lambda arguments, _: arguments["amount"] > 5, {}, True),
        (lambda arguments, _: arguments["amount"] > 5, {"order_id": "KS-1", "amount": 3}, False),
        (lambda _, context: "odd" if context.tool == "refund" else "", {}, True),
        (lambda arguments, _: arguments["nothing"], {}, True),  # what cannot be told is held
        (["when changing", lambda *_: False], {}, True),
    ],
)
def test_which_calls_are_held(store: Path, condition: Any, arguments: dict[str, Any], is_held: bool) -> None:
    on(store, unattended="deny")
    tools = llmtrace.Tools(llmtrace.tool(review=condition)(refund))
    tools.run(asks(**arguments))
    assert bool(ran) is not is_held


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("record", '{"order_id": "KS-1", "amount": 1, "amount": 1000}'),  # the last of duplicate keys is what runs
        ("repair", '```json\n{"order_id": "KS-1", "amount": 1000}\n```'),
        ("repair", '{"order_id": "KS-1", "amount": "1000"}'),
    ],
)
def test_a_predicate_sees_the_arguments_that_would_run(store: Path, policy: Any, text: str) -> None:
    on(store, unattended="deny")

    def is_large(arguments: Any, _: Any) -> bool:
        amount = arguments.get("amount", 0)
        return isinstance(amount, int | float) and amount > 5

    call = asks()
    call[0]["function"]["arguments"] = text
    llmtrace.Tools(llmtrace.tool(on_invalid=policy, review=is_large)(refund)).run(call)
    assert not ran


def test_a_predicate_sees_what_the_tool_gets_for_arguments_that_are_left_out(store: Path) -> None:
    on(store, unattended="deny")

    @llmtrace.tool(review=lambda arguments, _: arguments["amount"] > 5)
    def pay(order_id: str, amount: int = 1000) -> None:
        ran.append(amount)

    llmtrace.Tools(pay).run(asks("pay", order_id="KS-1"))
    assert ran == []
    llmtrace.Tools(pay).run(asks("pay", order_id="KS-1", amount=1))
    assert ran == [1]


def test_a_reading_tool_is_not_held_as_a_change(store: Path) -> None:
    on(store, unattended="deny")

    @llmtrace.tool(review="when changing")
    def get_price(name: str) -> str:
        return name

    assert get_price("a") == "a"


@pytest.mark.parametrize("wrong", ["sometimes", 1, "when changing ", [True, "x"]])
def test_a_wrong_condition_is_refused_at_the_decorator(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="when ungrounded"):
        llmtrace.tool(review=wrong)(refund)


def test_an_async_predicate_is_refused() -> None:
    async def predicate(*_: Any) -> bool:
        return False

    with pytest.raises(ConfigurationError, match="plain function"):
        llmtrace.tool(review=predicate)(refund)  # type: ignore[arg-type]


def test_an_invalid_call_is_mended_by_a_person(store: Path) -> None:
    tools = llmtrace.Tools(llmtrace.tool(on_invalid="review")(refund))
    with Reviewer(edit(amount=3)) as person:
        tools.run(asks(order_id="KS-1", amount="three"))
    assert "/amount" in person.seen[0].request.reason
    assert ran == [("KS-1", 3)]


def test_text_that_is_no_object_cannot_be_approved(store: Path) -> None:
    tools = llmtrace.Tools(llmtrace.tool(on_invalid="review")(refund))
    call = asks()
    call[0]["function"]["arguments"] = '{"order_id": '
    with Reviewer(approve):
        assert "no JSON object" in answer_of(tools.run(call))
    assert not ran


# -- forms of tools


def test_async_tools_wait_without_stopping_the_loop_and_siblings_keep_their_own_decision(store: Path) -> None:
    """Of parallel calls each has its own decision, by its id; a call that is not held does not wait."""

    @llmtrace.tool(review=True)
    async def send(to: str) -> str:
        ran.append(to)
        return f"sent to {to}"

    @llmtrace.tool
    async def read() -> str:
        ticks.append(time.monotonic())
        return "read"

    ticks: list[float] = []
    calls = [*asks("send", "c1", to="a"), *asks("send", "c2", to="b"), *asks("read", "c3", x=1)]
    calls[2]["function"]["arguments"] = "{}"

    def decide(record: ReviewRecord) -> None:
        (approve if record.request.payload["to"] == "b" else reject)(record)

    with Reviewer(decide, times=2):
        answers = asyncio.run(llmtrace.Tools(send, read).arun(calls))
    assert ran == ["b"]
    assert [answer["tool_call_id"] for answer in answers] == ["c1", "c2", "c3"]
    assert ["rejected" in answers[0]["content"], answers[1]["content"], answers[2]["content"]] == [True, "sent to b", "read"]
    assert ticks


def test_direct_calls_generators_and_methods_wait(store: Path) -> None:
    class Shop:
        @llmtrace.tool(review=True)
        def pay(self, n: int) -> int:
            ran.append(n)
            return n

    @llmtrace.tool(review=True)
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    with Reviewer(edit(n=2), times=2):
        assert Shop().pay(1) == 2
        assert list(count(5)) == [0, 1]
    assert ran == [2]


def test_a_direct_call_that_is_denied_can_raise(store: Path) -> None:
    with Reviewer(reject), pytest.raises(ReviewDenied) as denied:
        llmtrace.tool(review=True, on_denied="raise")(refund)("KS-1", 1)
    assert denied.value.decision.reason == "too much"
    assert not ran


# -- everything that is a no


def test_a_time_limit_is_a_no(store: Path, tools: llmtrace.Tools) -> None:
    on(store, review_timeout=0.1)
    assert "Nobody reviewed" in answer_of(tools.run(asks()))
    record = Reviews(store).list(states=("timed_out",))[0]
    with pytest.raises(ReviewConflict, match="timed out"):
        approve(record)
    assert not ran


def test_a_question_that_was_not_asked_is_no_yes() -> None:
    """`if llmtrace.review(...)` must not go on: nobody has seen the question."""
    with pytest.raises(TypeError, match="has not been asked yet"):
        assert not llmtrace.review("Delete everything?")


def test_nobody_there_is_a_no(store: Path, tools: llmtrace.Tools) -> None:
    on(store, unattended="deny")
    assert "nobody is there" in answer_of(tools.run(asks()))
    on(store, unattended="raise")
    with pytest.raises(ReviewDenied):
        tools.run(asks())
    llmtrace.shutdown()
    assert "nobody is there" in answer_of(tools.run(asks()))
    assert not ran


def test_a_store_that_cannot_be_written_is_a_no(store: Path, monkeypatch: pytest.MonkeyPatch, tools: llmtrace.Tools) -> None:
    monkeypatch.setattr("llmtrace.store.claims.BUSY_SECONDS", 0.1)
    (store / NAME).mkdir()
    assert "could not be kept" in answer_of(tools.run(asks()))
    assert not ran


def test_a_locked_store_is_a_no(store: Path, monkeypatch: pytest.MonkeyPatch, tools: llmtrace.Tools) -> None:
    monkeypatch.setattr("llmtrace.store.claims.BUSY_SECONDS", 0.1)
    Reviews(store).propose(ReviewRequest("rev_0", "?", "d", None, 0, 1))
    other = sqlite3.connect(store / NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "could not be kept" in answer_of(tools.run(asks()))
    other.close()
    assert not ran


def test_arguments_that_change_while_it_waits_do_not_run(store: Path) -> None:
    items = [1]

    @llmtrace.tool(review=True)
    def order(items: list[int]) -> int:
        ran.append(list(items))
        return len(items)

    def change(record: ReviewRecord) -> None:
        items.append(2)
        approve(record)

    with Reviewer(change):
        assert "changed while it waited" in str(order(items))
    assert not ran


def test_another_digest_is_refused(store: Path) -> None:
    def decide(record: ReviewRecord) -> None:
        with pytest.raises(ReviewConflict) as refused:
            llmtrace.reviews.approve(record.request.review_id, digest="0" * 32)
        assert refused.value.kind == "changed"
        approve(record)

    with Reviewer(decide):
        llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks())
    assert len(ran) == 1


def test_a_clock_that_jumps_denies_and_never_allows(
    store: Path, monkeypatch: pytest.MonkeyPatch, tools: llmtrace.Tools
) -> None:
    """Forward: the decision comes too late by the clock of the store. Backward: the program's own clock still ends the wait."""

    def late(record: ReviewRecord) -> None:
        monkeypatch.setattr(time, "time", functools.partial(float, record.request.deadline + 1))
        with pytest.raises(ReviewConflict, match="expired"):
            approve(record)
        monkeypatch.undo()

    with Reviewer(late):
        assert "Nobody reviewed" in answer_of(tools.run(asks()))
    assert not ran


def test_a_predicate_sees_where_values_came_from_and_a_run_that_is_not_recorded_is_held(store: Path) -> None:
    on(store, unattended="deny")
    for condition in ("when ungrounded", "when untrusted"):
        llmtrace.Tools(llmtrace.tool(review=condition)(refund)).run(asks())
        llmtrace.flush()
        review = next(span.operation for span in open_store(str(store)).spans() if isinstance(span.operation, Review))
        assert "since the run is not recorded" in str(review.reason)
    assert not ran


def test_a_wait_that_was_withdrawn_elsewhere_ends_with_a_no(store: Path) -> None:
    """Two programs wait for the same review, and one of them stops."""
    with Reviewer(lambda record: Reviews(store).finish(record.request.review_id, "withdrawn")):
        assert "withdrawn" in answer_of(llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks()))
    assert not ran


def test_a_record_that_cannot_be_read_is_a_no(store: Path) -> None:
    def spoil(_: Any) -> None:
        db = sqlite3.connect(store / NAME, isolation_level=None)
        db.execute("UPDATE claims SET data = json_set(data, '$.request', json('{}'))")
        db.close()

    on(store, notify=spoil)
    assert "cannot be read" in answer_of(llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks()))
    assert not ran
    assert Reviews(store).list() == []  # the others are listed


def test_a_wait_without_end_can_be_decided(store: Path) -> None:
    on(store, review_timeout=float("inf"))
    with Reviewer(approve):
        llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks())
    assert len(ran) == 1


@pytest.mark.parametrize("is_asked_first", [True, False])
def test_an_event_loop_goes_on_while_the_store_is_locked(store: Path, is_asked_first: bool) -> None:
    """Also where the program leaves while the store cannot be asked yet: nothing goes on waiting for a person."""

    @llmtrace.tool(review=True)
    async def send(to: str) -> str:
        return to

    async def longest_step() -> float:
        waiting = asyncio.create_task(send("a"))
        while is_asked_first and not Reviews(store).list():  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(0.02)
        other = sqlite3.connect(store / NAME, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        steps = [time.monotonic()]
        while steps[-1] - steps[0] < 1.2:
            await asyncio.sleep(0.01)
            steps.append(time.monotonic())
        waiting.cancel()
        await asyncio.wait([waiting])
        other.close()
        return max(after - before for before, after in itertools.pairwise(steps))

    assert asyncio.run(longest_step()) < 1
    assert Reviews(store).list() == []


def test_an_async_call_without_a_required_argument_is_mended_as_a_plain_one_is(store: Path) -> None:
    @llmtrace.tool(on_invalid="review")
    async def add(a: int, b: int) -> int:
        return a + b

    with Reviewer(edit(b=2)):
        assert asyncio.run(add(1)) == 3  # type: ignore[call-arg]


@pytest.mark.parametrize("change", [{"n": 2}, {"n": 2, "connection": "<unserialisable x>"}, {"n": 2, "more": "[REDACTED:key]"}])
def test_an_edit_keeps_the_programs_own_objects_and_nothing_runs_with_what_stands_for_a_value(store: Path, change: Any) -> None:
    connection = object()

    @llmtrace.tool(review=True)
    def query(connection: Any, n: int, **more: Any) -> int:
        ran.append((connection, n))
        return n

    with Reviewer(edit(**change)) as person:
        query(connection, 1)
    assert person.seen[0].request.hidden == ("/connection",)
    assert ran == ([(connection, 2)] if len(change) == 1 else [])


# -- redaction


def test_nothing_gets_out_where_recording_is_suppressed_and_no_later_call_is_approved(store: Path) -> None:
    @llmtrace.tool(review=lambda arguments, _: f"the key is sk-proj-{'a1B2c3D4' * 5}")
    def pay(password: str) -> str:
        return password

    def decide(record: ReviewRecord) -> None:
        with pytest.raises(ReviewConflict, match="not recorded"):
            approve(record, always={"password": "x"})
        approve(record)

    with Reviewer(decide), llmtrace.suppress():
        assert pay("hunter2-secret") == "hunter2-secret"
    kept = (store / NAME).read_bytes()
    assert b"hunter2" not in kept
    assert b"a1B2c3D4" not in kept


def test_a_list_that_a_person_shortened_does_not_run_with_what_stands_for_a_secret(store: Path) -> None:
    @llmtrace.tool(review=True)
    def pay(cards: list[dict[str, str]]) -> None:
        ran.append(cards)

    secrets = [{"password": "hunter2-secret"}, {"password": "hunter3-secret"}]
    with Reviewer(edit(cards=[{"password": "[REDACTED:key]"}])):
        assert "not be moved" in answer_of(llmtrace.Tools(pay).run(asks("pay", cards=secrets)))
    assert not ran


def test_a_redacted_call_is_said_to_be_redacted_and_runs_as_it_is(store: Path) -> None:
    """Law 7: the digest is that of the raw call; what the reviewer did not see is told."""

    @llmtrace.tool(review=True)
    def pay(password: str, amount: float) -> str:
        ran.append((password, amount))
        return "paid"

    with Reviewer(edit(amount=1)) as person:
        llmtrace.Tools(pay).run(asks("pay", password="hunter2-secret", amount=9))
    request = person.seen[0].request
    assert request.hidden == ("/password",)
    assert ran == [("hunter2-secret", 1)]
    kept = (store / NAME).read_bytes() + b"".join(file.read_bytes() for file in (store / "journal").iterdir())
    assert b"hunter2" not in kept


def test_without_content_everything_is_hidden(store: Path) -> None:
    on(store, content="none")
    with Reviewer(approve) as person:
        llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks())
    assert (person.seen[0].request.payload, person.seen[0].request.hidden) == (None, ("",))
    assert b"KS-1" not in (store / NAME).read_bytes()
    assert len(ran) == 1


def test_an_approval_for_later_calls_does_not_cover_an_invalid_one(store: Path) -> None:
    tools = llmtrace.Tools(llmtrace.tool(review=True, on_invalid="review")(refund))

    def decide(record: ReviewRecord) -> None:
        reject(record) if record.request.payload["amount"] == "all" else approve(record, always={"order_id": "KS-1"})

    with llmtrace.workflow("w"), Reviewer(decide, times=2):
        tools.run(asks())
        tools.run(asks(order_id="KS-1", amount=2))
        assert "rejected" in answer_of(tools.run(asks(order_id="KS-1", amount="all")))
    assert ran == [("KS-1", 10), ("KS-1", 2)]


# -- who decides


def test_a_function_of_the_program_decides_or_leaves_it(store: Path, tools: llmtrace.Tools) -> None:
    on(store, notify=lambda request: Decision("rejected", by="rule") if request.payload["amount"] > 5 else None)
    assert "rule rejected" in answer_of(tools.run(asks()))
    with Reviewer(approve):
        tools.run(asks(order_id="KS-1", amount=1))
    assert ran == [("KS-1", 1)]


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (lambda request: {}[request.payload["order_id"]], "KeyError"),
        (lambda _: "yes", "got str"),
        (lambda _: Decision("approve"), "no kind of decision"),  # type: ignore[arg-type]
        ("http://127.0.0.1:1/hook of KS-1", "InvalidURL"),
    ],
)
def test_a_function_that_fails_decides_nothing(store: Path, broken: Any, text: str, caplog: pytest.LogCaptureFixture) -> None:
    on(store, notify=broken)
    with Reviewer(lambda record: (wait_for(lambda: "notify=" in caplog.text), reject(record))):
        llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks())
    assert not ran
    assert text in caplog.text
    assert "KS-1" not in caplog.text


def test_a_url_is_told(store: Path) -> None:
    told: list[Any] = []

    def hear(_: str, __: object, body: bytes) -> tuple[int, dict[str, str], bytes]:
        told.append(json.loads(body))
        return 204, {}, b""

    with serving(hear) as url:
        on(store, notify=f"{url}/hook")
        with Reviewer(lambda record: (wait_for(lambda: told), approve(record))):
            llmtrace.Tools(llmtrace.tool(review=True)(refund)).run(asks())
    assert told[0]["payload"] == {"order_id": "KS-1", "amount": 10}


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


# -- a question of the program


class Price(BaseModel):
    eur: float


class Even(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        assert n % 2 == 0
        return n


def test_the_program_asks(store: Path) -> None:
    def answer(record: ReviewRecord) -> None:
        with pytest.raises(ReviewConflict, match="eur"):
            llmtrace.reviews.answer(record.request.review_id, {"eur": "much"}, digest=record.request.digest)
        llmtrace.reviews.answer(record.request.review_id, {"eur": 3}, digest=record.request.digest)

    with Reviewer(answer, times=2):
        assert llmtrace.review("What is it?", {"name": "pan"}, schema=Price).wait().value == Price(eur=3)
        assert asyncio.run(_asked()).value == Price(eur=3)
    odd = llmtrace.review("What is it?", schema=Even)
    with Reviewer(lambda record: llmtrace.reviews.answer(record.request.review_id, {"n": 1}, digest=record.request.digest)):
        assert (odd.wait().kind, ran) == ("rejected", [])
    decision = llmtrace.review("Now?", timeout=0.05).wait()
    assert (decision.kind, decision.is_allowed) == ("timed_out", False)
    with pytest.raises(ReviewDenied):
        llmtrace.review("Now?", timeout=0.05, on_timeout="raise").wait()


async def _asked() -> Decision:
    return await llmtrace.review("What is it?", schema=Price, timeout="10m")


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": "soon"}, {"timeout": -1}, {"on_timeout": "allow"}, {"schema": {"type": 7}}, {"schema": "text"}],
)
def test_a_wrong_option_of_a_question_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        llmtrace.review("Now?", **wrong)


# -- ending, and going on


def test_a_run_ends_to_wait_and_goes_on_with_the_decision(store: Path, tools: llmtrace.Tools) -> None:
    """The message is run again by a program that kept it: the decision is used once."""
    on(store, review_wait=0.05)
    with pytest.raises(ReviewPending) as pending, llmtrace.workflow("w"):
        tools.run(asks())
    assert not any(has_error(span) for span in newest(store).spans)
    record = llmtrace.reviews.get(pending.value.review_id)
    approve(record)
    for _ in range(2):
        with llmtrace.resume_review(pending.value.review_id, from_recording=False):
            assert json.loads(answer_of(tools.run(asks()))) == {"order_id": "KS-1", "amount": 10}
    assert len(ran) == 1


def test_a_run_goes_on_from_its_record_and_runs_nothing_twice(store: Path) -> None:
    on(store, review_wait=0.05)

    @llmtrace.tool
    def look_up(order_id: str) -> str:
        ran.append("look_up")
        return "10"

    tools = llmtrace.Tools(look_up, llmtrace.tool(review=True)(refund))

    @llmtrace.agent
    def agent() -> str:
        tools.run(asks("look_up", "c0", order_id="KS-1"))
        return answer_of(tools.run(asks()))

    record = held(agent)
    edit(amount=4)(record)
    with llmtrace.resume_review(record.request.review_id):
        assert "4" in agent()
    assert ran == ["look_up", ("KS-1", 4)]


def test_what_was_running_when_its_process_died_is_in_doubt_until_somebody_knows(store: Path) -> None:
    on(store, review_wait=0.05)
    probed: list[Any] = []
    answers: list[bool | None] = [None, True]

    def probe(arguments: Any) -> bool | None:
        probed.append(arguments)
        return answers.pop(0)

    tools = llmtrace.Tools(llmtrace.tool(review=True, probe=probe)(refund))
    record = held(lambda: tools.run(asks()))
    review_id = record.request.review_id
    approve(record)
    die_running(store, record)
    with pytest.raises(ReviewPending), llmtrace.resume_review(review_id, from_recording=False):
        tools.run(asks())
    assert Reviews(store).get(review_id).state == "in_doubt"
    with llmtrace.resume_review(review_id, from_recording=False):
        assert "ran before" in answer_of(tools.run(asks()))
    assert probed == [{"order_id": "KS-1", "amount": 10}] * 2
    assert not ran
    with pytest.raises(ReviewConflict, match="not in doubt"):
        llmtrace.reviews.settle(review_id, happened=False)


def test_a_call_that_runs_elsewhere_is_not_said_to_wait_for_a_review(store: Path, tools: llmtrace.Tools) -> None:
    """A second program that is resumed with the same review is told that the first is at it, and what to do then."""
    on(store, review_wait=0.05)
    record = held(lambda: tools.run(asks()))
    review_id, digest = record.request.review_id, record.request.digest
    approve(record)
    assert Reviews(store).start(review_id, digest, digest)
    with (
        pytest.raises(
            ReviewPending, match=r"refund runs now in another program .* When that program has ended: llmtrace review"
        ),
        llmtrace.resume_review(review_id, from_recording=False),
    ):
        tools.run(asks())
    with pytest.raises(ReviewConflict, match=r"was decided before: approved .*UTC. The call is running$"):
        approve(record)
    assert not ran


def test_a_call_in_doubt_does_not_run_again_when_its_run_is_resumed_from_the_record(store: Path) -> None:
    """Its approval is in the record, and its result is not: then the store says whether it may run."""

    @llmtrace.tool(review=True)
    def pay(n: int) -> str:
        with (store / "paid").open("a") as file:
            file.write("x")
        if os.getpid() != parent:
            llmtrace.flush()
            os._exit(9)
        return "paid"

    parent = os.getpid()
    tools = llmtrace.Tools(pay)
    agent = llmtrace.agent(lambda: answer_of(tools.run(asks("pay", n=1))))
    llmtrace.shutdown()
    child = os.fork()
    if child == 0:
        on(store, notify=lambda _: Decision("approved", by="ann"))
        agent()
        os._exit(1)
    os.waitpid(child, 0)
    on(store)
    review_id = Reviews(store).list(states=("in_doubt",))[0].request.review_id
    assert Reviews(store).count("in_doubt") == 1
    assert Reviews(store).get(review_id).state == "in_doubt"
    with pytest.raises(ReviewPending), llmtrace.resume_review(review_id):
        agent()
    assert (store / "paid").read_text() == "x"
    llmtrace.reviews.settle(review_id, happened=False)
    with llmtrace.resume_review(review_id):
        assert agent() == "paid"
    assert ((store / "paid").read_text(), Reviews(store).get(review_id).state) == ("xx", "done")


def test_a_resumed_run_does_nothing_twice_whose_result_was_redacted(store: Path) -> None:
    on(store, review_wait=0.05)

    @llmtrace.tool
    def pay(n: int) -> dict[str, str]:
        ran.append(n)
        return {"password": "hunter2-secret"}

    tools = llmtrace.Tools(pay, llmtrace.tool(review=True)(refund))
    agent = llmtrace.agent(lambda: [tools.run(asks("pay", "c0", n=1)), tools.run(asks())])
    record = held(agent)
    approve(record)
    with pytest.raises(ReplayDiverged, match="redacted"), llmtrace.resume_review(record.request.review_id):
        agent()
    assert ran == [1]


def test_two_runs_that_made_the_same_call_resume_at_the_same_time_with_their_own_decision(store: Path) -> None:
    on(store, review_wait=0.05)
    direct = llmtrace.tool(review=True)(refund)
    ids: list[str] = []
    for decide in (reject, approve):
        record = held(lambda: direct("KS-1", 10))
        ids.append(record.request.review_id)
        decide(record)
    for order in (ids, ids[::-1]):
        contexts = [contextvars.copy_context() for _ in ids]
        blocks = [llmtrace.resume_review(one, from_recording=False) for one in order]
        for context, block in zip(contexts, blocks, strict=True):
            context.run(block.__enter__)
        answers = [str(context.run(direct, "KS-1", 10)) for context in contexts]
        assert "rejected" in answers[order.index(ids[0])]
        assert "rejected" not in answers[order.index(ids[1])]
        for context, block in zip(contexts, blocks, strict=True):
            context.run(block.__exit__, None, None, None)
    assert len(ran) == 1


def test_a_probe_is_asked_with_what_would_run_not_with_what_was_shown(store: Path) -> None:
    on(store, review_wait=0.05)
    probed: list[Any] = []

    @llmtrace.tool(review=True, probe=lambda arguments: not probed.append(arguments))
    def pay(password: str, amount: float) -> None:
        ran.append(amount)

    call = asks("pay", password="hunter2-secret", amount=9)
    tools = llmtrace.Tools(pay)
    record = held(lambda: tools.run(call))
    assert record.request.hidden == ("/password",)
    approve(record)
    die_running(store, record)
    with llmtrace.resume_review(record.request.review_id, from_recording=False):
        tools.run(call)
    assert probed == [{"password": "hunter2-secret", "amount": 9}]
    assert not ran


def test_a_replay_gives_the_recorded_decision_and_asks_nobody(store: Path, tools: llmtrace.Tools) -> None:

    @llmtrace.agent
    def agent() -> list[str]:
        return [answer_of(tools.run(asks(call_id=call_id))) for call_id in ("c1", "c2", "c3")]

    decide = {"c1": approve, "c2": reject, "c3": edit(amount=7)}
    with Reviewer(lambda record: decide[str(record.request.call_id)](record), times=3):
        first = agent()
    recorded = newest(store)
    with llmtrace.replay(recorded.trace_id):
        assert agent() == first
    assert "changed the arguments" in first[2]
    assert len(ran) == 2
    assert len(Reviews(store).list(states=("done", "rejected"))) == 3


def test_a_call_with_which_a_replay_goes_live_is_held(store: Path, tools: llmtrace.Tools) -> None:
    on(store, notify=lambda _: Decision("approved", by="ann"))
    orders = ["KS-1", "KS-2"]
    agent = llmtrace.agent(lambda: answer_of(tools.run(asks(order_id=orders.pop(0), amount=1))))
    agent()
    recorded = newest(store)
    on(store, unattended="deny")
    with llmtrace.replay(recorded.trace_id, live_after="change", tools={"refund": "after"}):
        assert "nobody is there" in agent()
    assert ran == [("KS-1", 1)]
    assert all(span.end is not None for span in newest(store).spans)


IBAN = "DE44500105175407324931"


def page_of_text() -> str:
    return json.dumps({"invoice": {"iban": IBAN, "total": 9}})


def page_of_lines() -> str:
    return f"Payee: Ann\nIBAN: {IBAN}\nTotal: 9"


def page_unannotated():  # type: ignore[no-untyped-def]
    return page_of_text()


def invoice() -> dict[str, Any]:
    return {"iban": IBAN, "total": 9}


@pytest.mark.parametrize(
    ("reader", "is_held"), [(page_of_text, True), (page_of_lines, True), (page_unannotated, True), (invoice, False)]
)
def test_a_text_has_no_fields_whatever_it_looks_like(store: Path, reader: Callable[[], Any], is_held: bool) -> None:
    """Whether a value is a field of a result comes from the tool that returned it, never from the form of a text."""
    on(store, unattended="deny")

    @llmtrace.tool(review="when untrusted")
    def pay(iban: str) -> str:
        ran.append(iban)
        return "paid"

    with llmtrace.agent("clerk"):
        llmtrace.tool(reader)()
        answer = answer_of(llmtrace.Tools(pay).run(asks("pay", iban=f"{IBAN[:4]} {IBAN[4:].lower()}")))
    assert ("needs a person's review" in answer, len(ran)) == ((True, 0) if is_held else (False, 1)), answer


@pytest.mark.parametrize(
    ("reader", "trusted", "is_held"),
    [(page_of_text, True, False), (page_of_text, False, True), (invoice, False, True), (invoice, True, False)],
)
def test_the_tool_says_whether_its_results_are_trusted(
    store: Path, reader: Callable[[], Any], trusted: bool, is_held: bool
) -> None:
    """``trusted=`` wins over the form: an own system's text is trusted, and a search's fields are not. The reason names it."""
    on(store, unattended="deny")

    @llmtrace.tool(review="when untrusted")
    def pay(iban: str) -> str:
        ran.append(iban)
        return "paid"

    with llmtrace.agent("clerk"):
        llmtrace.tool(reader, trusted=trusted)()
        llmtrace.Tools(pay).run(asks("pay", iban=IBAN))
    assert len(ran) == (not is_held)
    if is_held:
        reasons = [span.operation.reason for span in newest(store).spans if isinstance(span.operation, Review)]
        assert reasons == [f"/iban: a value that only the result of {reader.__name__} contains"]


def test_an_mcp_server_can_lower_the_trust_only() -> None:
    assert trusted_by_hints({"openWorldHint": True}) is False
    assert trusted_by_hints({"openWorldHint": False}) is None
    assert trusted_by_hints({"readOnlyHint": True}) is None
    (read,) = messages.read_definitions([{"name": "f", "inputSchema": {}, "annotations": {"openWorldHint": True}}]) or ()
    assert read.trusted is False
    (again,) = messages.read_definitions(messages.write_definitions((read,))) or ()
    assert again.trusted is False
