"""A call that waits is asked about at the program's own terminal: a real one, with the program in the foreground."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmtrace.model.reviews import Decision
from llmtrace.store.reviews import Reviews

pty = pytest.importorskip("pty")

PROGRAM = """
import sys
import llmtrace

llmtrace.configure()

@llmtrace.tool(review=True)
def refund(order_id: str, amount: float) -> dict:
    print("ran", order_id, amount)
    return {"status": "refunded"}

call = {"id": "c1", "function": {"name": "refund", "arguments": '{"order_id": "KS-1", "amount": 5}'}}
print(llmtrace.Tools(refund).run({"tool_calls": [call]})[0]["content"])
print("end:", input() if "more" in sys.argv else "")
"""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, folder: Path, *words: str, **variables: str) -> None:
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        environment = {**os.environ, "LLMTRACE_STORE": str(folder / "store"), "COLUMNS": "200", "NO_COLOR": "1", **variables}
        self.process_id, self.descriptor = pty.fork()
        if not self.process_id:
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "program.py", *words], environment)
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 60) -> str:
        """Return what is printed up to a pattern, or up to the end."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text) and time.monotonic() < deadline:
            if select.select([self.descriptor], [], [], 0.2)[0]:
                try:
                    data = os.read(self.descriptor, 65536)
                except OSError:  # the program has ended
                    break
                if not data:
                    break
                self.text += data.decode(errors="replace")
        assert re.search(pattern, self.text), self.text
        return self.text

    def type(self, line: str) -> None:
        os.write(self.descriptor, f"{line}\n".encode())

    def close(self) -> None:
        os.close(self.descriptor)
        os.waitpid(self.process_id, 0)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def begin(*words: str, **variables: str) -> Terminal:
        started.append(Terminal(tmp_path, *words, **variables))
        return started[-1]

    yield begin
    for terminal in started:
        terminal.close()


def test_the_person_at_the_terminal_decides(start: Callable[..., Terminal]) -> None:
    terminal = start("more")
    text = terminal.read_until(r"\[q\]uit\?")
    assert 'order_id = "KS-1"' in text.replace("  ", " ")
    assert "expires" in text
    terminal.type("e")
    terminal.read_until("empty when done")
    terminal.type("amount=4")
    terminal.type("")
    terminal.read_until("run it so")
    terminal.type("y")
    terminal.read_until(r"ran KS-1 4")
    terminal.type("to the program")  # which has its stdin again
    assert "end: to the program" in terminal.read_until("end: to")


def test_a_rejection_does_not_run(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.read_until(r"\[q\]uit\?")
    terminal.type("r")
    terminal.read_until("why")
    terminal.type("no such customer")
    assert "ran KS-1" not in terminal.read_until("rejected this call of refund, so it did not run: no such customer")


def test_a_decision_made_elsewhere_takes_the_question_away(start: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = start("more")
    terminal.read_until(r"\[q\]uit\?")
    reviews = Reviews(tmp_path / "store")
    (record,) = reviews.list()
    approval = Decision("approved", by="ann", at=time.time())
    reviews.decide(record.request.review_id, approval, digest=record.request.digest)
    terminal.read_until("ran KS-1")
    terminal.read_until("decided, or waits no more")
    terminal.type("hello")
    terminal.read_until("end: hello")


def test_it_is_asked_about_only_where_that_is_wanted(start: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = start(LLMTRACE_REVIEW_TERMINAL="0")
    terminal.read_until("waits for a review")
    time.sleep(1.5)
    assert "[a]pprove" not in terminal.text
    reviews = Reviews(tmp_path / "store")
    (record,) = reviews.list()
    reviews.decide(record.request.review_id, Decision("rejected", by="ann", at=time.time()), digest=record.request.digest)
    terminal.read_until("rejected this call")


def test_skipped_it_waits_on(start: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = start()
    terminal.read_until(r"\[q\]uit\?")
    terminal.type("s")
    terminal.read_until("To decide later: llmtrace review show rev_")
    reviews = Reviews(tmp_path / "store")
    (record,) = reviews.list()
    assert (record.state, record.is_waiting) == ("proposed", True)
    reviews.decide(record.request.review_id, Decision("rejected", by="ann", at=time.time()), digest=record.request.digest)
    terminal.read_until("rejected this call")
