"""``llmtrace dead-letters``: what runs gave up, read from their traces; retried once at a time by the program itself."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

import llmtrace as tracing
from llmtrace.cli.metrics import OpenLetters
from llmtrace.errors import BudgetExceeded, CheckpointFailed, LetterConflict, OutputInvalid, StoreError
from llmtrace.metrics import observe_dead_letters
from llmtrace.model import Review, Span, Trace, Usage, replace
from llmtrace.store.claims import NAME
from llmtrace.store.dead_letters import DeadLetter, letters_of
from llmtrace.store.letter_states import LetterStates
from llmtrace.store.local import LocalStore
from llmtrace.testing import capture
from tests.cli.conftest import Ran
from tests.store.spans import span
from tests.test_metrics import Reading


class Order(pydantic.BaseModel):
    total: float


@tracing.tool(on_invalid="reply")
def refund(amount: float) -> float:
    return amount


TOOLS = tracing.Tools(refund)


def ask(text: str = "Done.") -> str:
    with tracing.inference("local", model="m") as call:
        call.output, call.usage = text, {"input_tokens": 3, "output_tokens": 2}
    return text


def call(name: str, amount: Any) -> None:
    function = {"name": name, "arguments": json.dumps({"amount": amount})}
    TOOLS.run({"tool_calls": [{"id": f"{name}{amount}", "type": "function", "function": function}]})


def refused() -> None:
    ask()
    call("refund", "a lot")
    call("refund", "more")


def corrected() -> None:
    call("refund", "a lot")
    call("no_such_tool", 1)
    call("refund", 2)


def invalid() -> None:
    tracing.validated(Order, lambda _: {"message": {"content": ask('{"total": "?"}')}, "usage": {"input_tokens": 3}}, retries=1)


def checked() -> None:
    tracing.checkpoint("order found", dict, check=Order, on_fail="retry", retries=1)


def stopped() -> None:
    with tracing.Budget(calls=1):
        ask()
        ask()


def traced(program: Callable[[], None]) -> Trace:
    with capture() as captured:
        try:
            tracing.agent(program, name="shop")()  # type: ignore[call-overload]
        except (OutputInvalid, CheckpointFailed, BudgetExceeded):
            pass
    return captured.trace


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Three runs with a dead letter each, and one without."""
    store = LocalStore(tmp_path / "store")
    for number, program in enumerate((refused, corrected, invalid, checked)):
        for each in traced(program).spans:
            store.append(renumbered(each, number))
    store.flush()
    monkeypatch.setenv("LLMTRACE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    return store


def renumbered(each: Span, number: int) -> Span:
    def renamed(span_id: str) -> str:
        return f"{number}abc{span_id[4:]}"

    parent = None if each.parent_id is None else renamed(each.parent_id)
    return replace(each, trace_id=f"{number}" + "e" * 31, span_id=renamed(each.span_id), parent_id=parent)


HANDLERS = """
import os, signal, sys

async def good(letter):
    print("retried", letter.letter_id, letter.reason, file=sys.stderr)

def bad(letter):
    raise ValueError("still no order, with password=hunter2-secret")

def dies(letter):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def letter_of(program: Callable[[], None]) -> DeadLetter:
    (letter,) = letters_of(traced(program))
    return letter


def test_letters_hold_all_attempts_their_usage_and_the_last_completion() -> None:
    letter = letter_of(refused)
    assert (letter.reason, letter.name, letter.arguments) == ("invalid_call", "refund", {"amount": "more"})
    assert [attempt["arguments"]["amount"] for attempt in letter.attempts] == ["a lot", "more"]
    assert letter.attempts[0]["faults"][0]["pointer"] == "/amount"
    assert (letter.usage, letter.completion) == (Usage(3, 2), "Done.")
    assert letters_of(traced(corrected)) == []
    letter = letter_of(invalid)
    assert (letter.reason, letter.name, len(letter.attempts)) == ("invalid_output", "Order", 2)
    assert (letter.usage, letter.completion) == (Usage(6), '{"total": "?"}')
    letter = letter_of(checked)
    assert (letter.reason, letter.name, letter.arguments) == ("failed_checkpoint", "order found", {})
    letter = letter_of(stopped)
    assert (letter.reason, letter.name, letter.usage) == ("spent_budget", "budget", Usage(3, 2))


@pytest.mark.parametrize(
    ("decision", "reason"),
    [("rejected", "rejected_review"), ("timed_out", "expired_review"), ("approved", None), ("pending", None), (None, None)],
)
def test_a_review_that_was_rejected_or_expired(decision: str | None, reason: str | None) -> None:
    review = span(1, operation=Review("refund", tool="refund", payload={"amount": 3}, decision=decision))
    letters = letters_of(Trace([review]))
    assert [(letter.reason, letter.name, letter.arguments) for letter in letters] == (
        [(reason, "refund", {"amount": 3})] if reason else []
    )


def test_list_show_retry_and_drop(store: LocalStore, llmtrace: Callable[..., Ran]) -> None:
    ran = llmtrace("dead-letters")
    assert ran.code == 0
    assert "invalid call: refund" in ran.out
    assert "invalid output: Order" in ran.out
    assert "failed checkpoint: order found" in ran.out
    letters = json.loads(llmtrace("dead-letters", "--json").out)["letters"]
    ids = {letter["reason"]: letter["letter_id"] for letter in letters}
    shown = llmtrace("dead-letters", "show", ids["invalid_call"][:8]).out
    assert "attempt 2" in shown
    assert "3 in, 2 out" in shown

    ran = llmtrace("dead-letters", "retry", ids["invalid_output"], "--with", "handlers:bad", "--by", "ada")
    assert ran.code == 1
    assert "failed: ValueError: still no order" in ran.out
    assert store.folder is not None
    assert b"hunter2" not in (store.folder / NAME).read_bytes()
    ran = llmtrace("dead-letters", "retry", ids["invalid_output"], "--with", "handlers:good")
    assert (ran.code, ran.err) == (0, f"retried {ids['invalid_output']} invalid_output\n")
    again = llmtrace("dead-letters", "retry", ids["invalid_output"], "--with", "handlers:good")
    assert again.code == 1
    assert "was retried before" in " ".join(again.out.split())
    assert "retried" not in again.err
    assert llmtrace("dead-letters", "drop", ids["invalid_call"], "--note", "a test").code == 0
    assert "order found" in llmtrace("dead-letters").out
    assert "refund" not in llmtrace("dead-letters").out
    states = {
        letter["reason"]: letter["state"] for letter in json.loads(llmtrace("dead-letters", "--all", "--json").out)["letters"]
    }
    assert states["invalid_output"]["state"] == "retried"
    assert states["invalid_output"]["retries"] == 2
    assert (states["invalid_call"]["state"], states["invalid_call"]["note"]) == ("dropped", "a test")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show",), "at least one letter"),
        (("ls", "1abc"), "no letter"),
        (("show", "ffff0000"), "0 dead letters have an id that begins with ffff0000"),
        (("show", "2"), "first 4 or more characters"),
        (("retry", "0abc"), "--with MODULE:FUNCTION"),
        (("retry", "0abc", "--with", "handlers"), "expected MODULE:FUNCTION"),
        (("retry", "0abc", "--with", "handlers:missing"), "handlers has no function missing"),
        (("retry", "0abc", "--with", "no_such_module:f"), "cannot import no_such_module"),
    ],
)
def test_wrong_words_are_named(store: LocalStore, llmtrace: Callable[..., Ran], words: tuple[str, ...], message: str) -> None:
    ran = llmtrace("dead-letters", *words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_a_handler_that_dies_leaves_its_letter_in_doubt(store: LocalStore, llmtrace: Callable[..., Ran]) -> None:
    """What it did is not known, so nothing is done again by itself."""
    (letter,) = letters_of(store.trace("2" + "e" * 31))
    words = ["dead-letters", "retry", letter.letter_id, "--with", "handlers:dies"]
    ran = subprocess.run([sys.executable, "-m", "llmtrace", *words], check=False, env=os.environ)
    assert ran.returncode == -signal.SIGKILL
    assert "in_doubt" in llmtrace("dead-letters").out
    refused_again = llmtrace("dead-letters", "retry", letter.letter_id, "--with", "handlers:good")
    assert "Find out, then drop it or retry it with --again" in " ".join(refused_again.out.split())
    assert llmtrace("dead-letters", "retry", letter.letter_id, "--with", "handlers:good", "--again").code == 0


def test_one_retry_at_a_time(tmp_path: Path) -> None:
    states = LetterStates(tmp_path)
    assert states.all() == {}
    assert states.begin(touched("a"), "ada") == 1
    with pytest.raises(LetterConflict, match="is being retried by ada now"):
        states.begin(touched("a"), "bob", again=True)
    with pytest.raises(LetterConflict, match="is being retried by ada now"):
        states.drop(touched("a"), "bob")
    states.finish(touched("a"), "ValueError: no")
    assert (states.all()["a" * 16].state, states.all()["a" * 16].note) == ("failed", "ValueError: no")
    assert states.begin(touched("a"), "bob") == 2


@pytest.mark.parametrize("trouble", ["locked", "damaged", "a folder"])
def test_a_table_that_cannot_be_used_is_one_line(tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    states = LetterStates(tmp_path)
    monkeypatch.setattr("llmtrace.store.claims.BUSY_SECONDS", 0.05)
    path = tmp_path / NAME
    other = None
    if trouble == "locked":
        states.drop(touched("a"), "ada")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
    elif trouble == "damaged":
        path.write_bytes(b"no database" * 100)
    else:
        path.mkdir()
    with pytest.raises(StoreError, match=r"the states of dead letters in .* cannot be read or written: "):
        states.begin(touched("b"), "ada")
    if other is not None:
        other.close()


def touched(digit: str) -> DeadLetter:
    return DeadLetter(digit * 16, "e" * 32, "invalid_call", "refund", 0)


def test_count_and_age_as_metrics(store: LocalStore) -> None:
    reading = Reading()
    letters = OpenLetters(store, LetterStates(store.folder or Path()))
    observe_dead_letters(reading.provider, letters.ages)
    points = {labels["llmtrace.dead_letter.reason"]: number for labels, number in reading.points("llmtrace.dead_letters")}
    assert points == {"invalid_call": 1, "invalid_output": 1, "failed_checkpoint": 1}
    ages = [seconds for _, seconds in reading.points("llmtrace.dead_letters.oldest")]
    assert len(ages) == 3
    assert min(ages) > 0


def test_no_trace_is_read_to_list_letters(
    store: LocalStore, llmtrace: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: what a list shows is in the index, and what it does not show is counted."""
    assert llmtrace("dead-letters").code == 0
    monkeypatch.setattr(LocalStore, "trace", None)
    ran = llmtrace("dead-letters", "--limit", "1")
    assert "2 more, older: --limit 3 lists all" in ran.out
    told = json.loads(llmtrace("dead-letters", "--limit", "2", "--json").out)
    assert (len(told["letters"]), told["more"]) == (2, 1)
    assert {"letter_id", "trace_id", "reason", "name", "at", "what", "state"} == told["letters"][0].keys()
