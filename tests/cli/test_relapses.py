"""A relapse is said where people look: at the end of the run that shows it, in the list, by the gate of a build."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.issues import Decision, DecisionFile
from tests.cli.traces import SECOND, SILENT, Maker
from tests.stored import append

TITLE = "look_up was called with a made-up /order_id"
PROGRAM = """
import llmtrace

@llmtrace.tool
def look_up(order_id: str) -> dict:
    raise TimeoutError(f"no answer for {order_id}")

@llmtrace.agent
def support(task: str) -> str:
    look_up("KS-20457")
    return "Done."

support("Where is my order?")
"""


def decide(store: str | Path, issue: str, state: Any, *, ago: float = 0.5, **fields: Any) -> None:
    decision = Decision(issue, state, time.time_ns() - int(ago * SECOND), **fields)
    DecisionFile(Path(store) / "issues.jsonl", is_private=True).append(decision)


def made_up(store: str, digit: str) -> str:
    """Append a run that ends now and shows the issue of `silent`."""
    append(store, *Maker(digit * 32, time.time_ns()).with_two_made_up())
    return digit * 32


@pytest.fixture
def issue(llmtrace: Callable[..., Any], store: str) -> str:
    """The issue that `silent` shows."""
    return str(json.loads(llmtrace("issues", "--json", "--store", store).out)["issues"][0]["issue"])


def test_the_first_run_that_shows_it_says_so(tmp_path: Path, llmtrace: Callable[..., Any]) -> None:
    """As ``llmtrace run`` ends, in text and JSON; a run before the fix, and a dismissed issue, say nothing."""
    program, store = tmp_path / "agent.py", tmp_path / "store"
    program.write_text(PROGRAM)

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "llmtrace", "run", *options, "--store", str(store), str(program)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    assert "relapsed" not in run()
    (found,) = json.loads(llmtrace("issues", "--json", "--store", str(store)).out)["issues"]
    decide(store, found["issue"], "fixed", ago=0, version="v2", by="ann")
    said = run()
    assert f"relapsed: {found['title']} ({found['issue']}, fixed in v2 on " in " ".join(said.split())
    assert json.loads(run("--json").splitlines()[-1])["relapsed"] == [found["issue"]]
    decide(store, found["issue"], "dismissed", ago=-1)
    assert "relapsed" not in run()


def test_the_list_says_so_in_that_run_only(llmtrace: Callable[..., Any], store: str, issue: str) -> None:
    decide(store, issue, "fixed")
    again = made_up(store, "7")
    out = llmtrace("ls", "--store", store).out
    assert " ".join(out.split()).count(f"! relapsed: {TITLE} ({issue}, fixed on ") == 1
    told = {trace["trace_id"]: trace["issues"] for trace in json.loads(llmtrace("ls", "--json", "--store", store).out)}
    assert [one["state"] for one in told[SILENT]] == ["fixed"]
    assert "relapsed" in [one["state"] for one in told[again]]
