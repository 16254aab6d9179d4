"""``llmtrace review``: a person in a terminal decides, and a run goes on."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.cli import review
from llmtrace.model.reviews import ReviewRequest
from llmtrace.store.reviews import Reviews

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
