"""``llmtrace review``: a person in a terminal decides, and a run goes on."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace import log_once
from llmtrace.cli import review
from llmtrace.model.reviews import ReviewRequest
from llmtrace.store.claims import NAME
from llmtrace.store.reviews import Reviews
from tests.cli.conftest import Ran

DIGEST = "d" * 32
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reviews:
    (tmp_path / "journal").mkdir()
    monkeypatch.setenv("LLMTRACE_STORE", str(tmp_path))
    reviews = Reviews(tmp_path)
    now = time.time()
    reviews.propose(ReviewRequest("rev_first", "pay", DIGEST, {"n": 1, "to": "b"}, now, now + 60, tool="pay", schema=SCHEMA))
    return reviews


def test_list_show_and_every_decision(reviews: Reviews, llmtrace: Callable[..., Any]) -> None:
    assert "rev_first" in llmtrace("review", "ls").out
    shown = llmtrace("review", "show", "rev_f").out
    assert all(text in shown for text in ("n = 1", 'to = "b"', DIGEST))
    edited = json.loads(llmtrace("review", "edit", "rev_first", "--set", "n=2", "--by", "ann", "--json").out)
    assert (edited["state"], edited["decision"]["value"], edited["decision"]["by"]) == ("approved", {"n": 2, "to": "b"}, "ann")
    assert "Nothing waits" in llmtrace("review", "ls").out
    assert "+ n = 2" in llmtrace("review", "show", "rev_first").out
    for number, action in enumerate((["approve"], ["reject"], ["answer"])):
        now = time.time()
        review_id = f"rev_{number}000"
        reviews.propose(ReviewRequest(review_id, "pay", DIGEST, {"n": 1}, now, now + 60, tool="pay"))
        assert llmtrace("review", *action, review_id, *(["yes"] if action == ["answer"] else [])).code == 0
    assert [reviews.get(f"rev_{number}000").state for number in range(3)] == ["approved", "rejected", "answered"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["approve", "rev_none"], "unknown review"),
        (["approve"], "needs the id"),
        (["edit", "rev_first"], "needs what to change"),
        (["edit", "rev_first", "--set", "n=two"], "/n"),
        (["edit", "rev_first", "--set", "n"], "ARGUMENT=VALUE"),
        (["edit", "rev_first", "--set", "/x/0=1"], "no such place"),
        (["approve", "rev_first", "--digest", "0"], "not the one that was shown"),
        (["approve", "rev_first", "--always", "x"], "no such argument"),
        (["settle", "rev_first"], "--happened"),
        (["settle", "rev_first", "--happened", "no"], "not in doubt"),
        (["resume", "rev_first", "--", sys.executable], "no recorded run"),
    ],
)
def test_bad_input_says_what_is_wrong_and_decides_nothing(
    reviews: Reviews, llmtrace: Callable[..., Any], arguments: list[str], problem: str
) -> None:
    ended = llmtrace("review", *arguments)
    assert ended.code == 2
    assert problem in ended.err
    assert reviews.get("rev_first").state == "proposed"


def test_the_second_reviewer_is_told_who_was_first(reviews: Reviews, llmtrace: Callable[..., Any]) -> None:
    assert llmtrace("review", "reject", "rev_first", "--by", "ann").code == 0
    ended = llmtrace("review", "approve", "rev_first", "--by", "bob")
    assert ended.code == 2
    assert "rejected by ann" in ended.err


@pytest.mark.parametrize("word", ["r", "n", "e"])
def test_the_end_of_the_input_decides_nothing(reviews: Reviews, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{word}\n"))
    assert review._one_by_one(argparse.Namespace(by=None, reason="", watch=False), reviews) == 0
    assert reviews.get("rev_first").state == "proposed"


@pytest.mark.all
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_the_wrong_refund_of_the_demo_is_edited_in_a_terminal(tmp_path: Path) -> None:
    """The demo waits; a person edits the order number in ``llmtrace review``; the run ends right, in one trace."""
    pytest.importorskip("openai")
    command = [sys.executable, "-m", "llmtrace"]
    environment = {**os.environ, "LLMTRACE_STORE": str(tmp_path), "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120"}
    demo = subprocess.Popen([*command, "demo", "--review"], env=environment, stdout=subprocess.PIPE, text=True)
    reviews = Reviews(tmp_path)
    deadline = time.monotonic() + 90
    while not reviews.list() and time.monotonic() < deadline:
        time.sleep(0.1)
    terminal, program_side = os.openpty()
    person = subprocess.Popen([*command, "review"], env=environment, stdin=program_side, stdout=program_side)
    os.close(program_side)
    seen = ""
    for question, word in (
        (r"\[q\]uit\? ", "e"),
        (r"when done\): ", "order_id=KS-20457"),
        (r"when done\): ", ""),
        (r"run it so\? \[y/N\] ", "y"),
    ):
        while not re.search(question + "$", seen):
            seen += os.read(terminal, 4096).decode()
        os.write(terminal, f"{word}\n".encode())
        seen += "\n"
    out = demo.communicate(timeout=90)[0]
    assert person.wait(60) == 0
    os.close(terminal)
    assert "nobody" in out
    assert "for order KS-20457" in out
    assert all(
        text in seen for text in ("no message or result contains it", '- order_id = "KS-20431"', '+ order_id = "KS-20457"')
    )
    shown = subprocess.run([*command, "show", "last"], env=environment, check=True, capture_output=True, text=True).stdout
    assert "review refund" in shown
    assert "KS-20457" in shown


HELD = Path(__file__).parents[1] / "viewer" / "held_program.py"


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], ReviewRequest]]:
    """Kills a program of its own while its refund waits for a person, and returns the review."""
    folder = tmp_path / "held"
    monkeypatch.setenv("LLMTRACE_STORE", str(folder))
    program = subprocess.Popen([sys.executable, str(HELD), str(folder)], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not Reviews(folder).count():
            assert time.monotonic() < until, "the program asked for no review"
            time.sleep(0.05)

        def kill() -> ReviewRequest:
            program.kill()
            program.wait()
            (record,) = Reviews(folder).list()
            return record.request

        yield kill
    finally:
        program.kill()
        program.wait()


def word(text: str) -> str:
    """The health in the only row of a list."""
    return re.findall(r"^\w{8} +\w+ +(\w+)", text, re.MULTILINE)[0]


def test_a_program_that_was_killed_while_it_waited_says_what_it_waited_for(
    held: Callable[[], ReviewRequest], llmtrace: Callable[..., Any]
) -> None:
    """While it lives, it waits. Then it has failed, in each place, and the first suspect is the wait, with how to decide it."""
    assert word(llmtrace("ls").out) == "waits"
    request = held()
    listed, why = llmtrace("ls").out, json.loads(llmtrace("why", "--json").out)
    assert (word(listed), why["health"]) == ("failed", "failed")
    assert "? refund waits for a review (certain)" in listed
    first = why["suspects"][0]
    assert (first["title"], first["confidence"]) == ("refund waits for a review", "certain")
    assert first["evidence"] == (
        "The program ended while refund was held for a person's decision. Nobody has decided yet. refund has not run."
    )
    assert first["advice"] == (
        f"Decide it: llmtrace review show {request.review_id}, then approve or reject. "
        f"Then go on from there: llmtrace review resume {request.review_id} -- COMMAND. Or run the program again."
    )
    assert not any("crash" in suspect["advice"] for suspect in why["suspects"])
    assert "What to do: Decide it" in " ".join(llmtrace("why").out.split())


@pytest.mark.parametrize(("action", "decided"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_after_the_program_was_killed_is_told(
    held: Callable[[], ReviewRequest], llmtrace: Callable[..., Any], action: str, decided: str
) -> None:
    """By one trace and by many."""
    request = held()
    assert llmtrace("review", action, request.review_id, "--by", "ann", "--digest", request.digest).code == 0
    (first, *_) = json.loads(llmtrace("why", "--json").out)["suspects"]
    assert first["title"] == "refund waited for a review when the program ended"
    assert first["evidence"].endswith(f"It was {decided} later by ann.")
    assert first["advice"].startswith(f"Go on with that decision: llmtrace review resume {request.review_id} -- COMMAND.")
    (issue,) = json.loads(llmtrace("issues", "--json").out)["issues"]
    assert (issue["title"], issue["check"], first["label"]) == (first["title"], "end_state", "waited")


def test_a_review_that_expired_unseen_is_told(held: Callable[[], ReviewRequest], llmtrace: Callable[..., Any]) -> None:
    """It cannot be decided any more."""
    request = held()
    with sqlite3.connect(Path(os.environ["LLMTRACE_STORE"]) / NAME) as db:
        db.execute("UPDATE claims SET data = json_set(data, '$.request.deadline', 1.0)")
    db.close()
    (first, *_) = json.loads(llmtrace("why", "--json").out)["suspects"]
    assert (first["title"], "Nobody decided in time" in first["evidence"]) == (
        "refund waited for a review when the program ended",
        True,
    )
    assert request.review_id not in first["advice"]


def _stored(folder: Path, question: str = "pay") -> None:
    request = ReviewRequest("rev_00000001", question, "d", None, time.time(), time.time() + 900)
    Reviews(folder).propose(request)


def _sql(text: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        db = sqlite3.connect(file, isolation_level=None)
        db.execute(text)
        db.close()

    return change


def _as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_bytes(b"garbage" * 1000), "file is not a database"),
        (lambda file: file.write_bytes(file.read_bytes()[:8000]), "malformed"),
        (_as_folder, "unable to open database file"),
        (_sql("ALTER TABLE claims DROP COLUMN owner"), "no such column: owner"),
        (_sql("UPDATE claims SET state = 'escalated'"), "has the state 'escalated', which this llmtrace does not know"),
        (_sql("UPDATE claims SET data = '{'"), "cannot be read (JSONDecodeError)"),
    ],
)
def test_a_broken_store_is_a_sentence(
    tmp_path: Path,
    llmtrace: Callable[..., Ran],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    said: str,
) -> None:
    """Everywhere; and ``doctor`` sees it."""
    _stored(tmp_path / "store")
    spoil(tmp_path / "store" / NAME)
    for words in (("review", "ls"), ("review", "show", "rev_0"), ("review", "approve", "rev_0")):
        monkeypatch.setattr(log_once, "_logged", {})
        caplog.clear()
        ran = llmtrace(*words, "--store", str(tmp_path / "store"))
        assert "Traceback" not in ran.err
        assert said in " ".join(f"{ran.err} {caplog.text}".split())
    assert said in " ".join(llmtrace("doctor", "--store", str(tmp_path / "store")).out.split())


def test_a_question_controls_no_terminal(tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:
    _stored(tmp_path, "\x1b[31mpay\nrev_2  waits  pay(1)")
    for words in (("review", "ls"), ("review", "show", "rev_0")):
        out = llmtrace(*words, "--store", str(tmp_path)).out
        assert "\x1b" not in out
        assert "\\x1b[31mpay rev_2 waits pay(1)" in " ".join(out.split())


def test_the_oldest_come_first_and_the_others_are_counted(tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:
    now = time.time()
    for number in range(130):
        request = ReviewRequest(f"rev_{number:08}", "pay", "d", None, now - 200 + number, now + 900)
        Reviews(tmp_path).propose(request)
    lines = llmtrace("review", "ls", "--store", str(tmp_path)).out.splitlines()
    assert lines[1].startswith("rev_00000000 ")
    assert lines[-1] == "… and 30 newer ones"
    shown = llmtrace("review", "show", "rev_00000000", "--store", str(tmp_path)).out
    assert "llmtrace review approve rev_00000000" in shown
