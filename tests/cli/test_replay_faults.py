"""Recordings that were damaged, edited or made by something else, and programs of several processes: one clear line each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.demo.shop import BAD_TASK
from tests.cli.conftest import Ran
from tests.cli.test_replay import record, store  # noqa: F401 - a fixture

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]
EXCHANGES = b'"llmtrace.replay.exchanges","value":{"stringValue":"['
TWO = """
import subprocess, sys
subprocess.run([sys.executable, "agent.py", sys.argv[1]], check=True)
subprocess.run([sys.executable, "agent.py", sys.argv[1]], check=True)
"""
MANY = """
import llmtrace
llmtrace.configure()

@llmtrace.tool
def add(number: int) -> int:
    return number + 1

with llmtrace.agent("counter"):
    for number in range(10_000):
        add(number)
"""


def one_line(ran: Ran) -> str:
    assert "Traceback" not in ran.err
    return " ".join(ran.err.split())


def test_a_recording_that_is_no_longer_what_was_recorded(store: str, tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:  # noqa: F811
    assert record(BAD_TASK) == 0
    assert llmtrace("export", "last", "-o", "whole.jsonl").code == 0
    whole = (tmp_path / "whole.jsonl").read_bytes()
    for name, content, code, said in (
        ("whole", whole, 0, "same: 6 calls answered"),
        ("cut", whole[: len(whole) // 2], 2, "contains no OTLP JSON"),
        ("edited", whole.replace(b"blue kettle I", b"red lamp I"), 3, "{+blue kettle+}"),
        (
            "without answers",
            whole.replace(b"llmtrace.replay.exchanges", b"llmtrace.replay.exchangeX"),
            4,
            "its answer cannot be",
        ),
        ("answers that are no JSON", whole.replace(EXCHANGES, EXCHANGES[:-1] + b"%"), 4, "was damaged"),
    ):
        file = tmp_path / "recording.jsonl"
        file.write_bytes(content)
        ran = llmtrace("replay", "last", "--store", str(file), "--", "agent.py", BAD_TASK)
        assert (name, ran.code) == (name, code), ran.err
        assert said in one_line(ran)


def test_a_journal_that_was_cut(store: str, tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:  # noqa: F811
    """What is left of the run is replayed, and the call that was lost is named."""
    assert record(BAD_TASK) == 0
    (journal,) = [file for file in (tmp_path / "store" / "journal").iterdir() if file.suffix and file.stat().st_size]
    os.truncate(journal, journal.stat().st_size * 2 // 3)
    ran = llmtrace("replay", "last", "--", "agent.py", BAD_TASK)
    assert ran.code == 5  # the root's end is lost, too: the run counts as killed
    assert "killed: the recording ends in" in one_line(ran), ran.err


def test_a_program_of_several_processes(store: str, tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:  # noqa: F811
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    with ModelServer(pace=0) as server:
        os.environ["URL"] = server.url
        try:
            subprocess.run([sys.executable, "two.py", BAD_TASK], check=True, capture_output=True)
        finally:
            del os.environ["URL"]
    ran = llmtrace("replay", "last", "--", "two.py", BAD_TASK)
    assert ran.code == 0, ran.err
    assert "12 calls answered" in one_line(ran)


def test_a_run_of_ten_thousand_spans(store: str, tmp_path: Path, llmtrace: Callable[..., Ran]) -> None:  # noqa: F811
    (tmp_path / "many.py").write_text(MANY, encoding="utf-8")
    subprocess.run([sys.executable, "many.py"], check=True)
    ran = llmtrace("replay", "--", "many.py")
    assert ran.code == 0, ran.err
    assert "same: 10,000 calls answered" in one_line(ran)
