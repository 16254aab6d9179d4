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

from llmtrace.cli import metrics
from llmtrace.config import Config
from llmtrace.issues import Decision, DecisionFile
from llmtrace.metrics import observe_issues
from llmtrace.store import open_store
from tests.cli.traces import SECOND, SILENT, Maker
from tests.stored import append
from tests.test_metrics import Reading

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


# -- the gate of a build


def check(llmtrace: Callable[..., Any], store: str, *words: str) -> tuple[int, list[tuple[str, str]]]:
    """Exit code, and id and state of each issue."""
    ran = llmtrace("check", "--new", "--json", *words, "--store", store)
    return ran.code, [(issue["issue"], issue["state"]) for issue in json.loads(ran.out)["issues"]]


def test_only_new_and_relapsed_issues_fail(llmtrace: Callable[..., Any], store: str, issue: str) -> None:
    assert llmtrace("check", SILENT, "--store", store).code == 1
    assert check(llmtrace, store, SILENT) == (1, [(issue, "new")])
    assert f"new: {TITLE} ({issue}), in trace 4bf92f35" in " ".join(
        llmtrace("check", "--new", SILENT, "--store", store).out.split()
    )
    for state, code, word in (("open", 0, "open"), ("dismissed", 0, "dismissed"), ("fixed", 0, "fixed")):
        decide(store, issue, state, ago=1)
        assert check(llmtrace, store, SILENT) == (code, [(issue, word)])
    out = llmtrace("check", "--new", SILENT, "--store", store).out
    assert f"1 known issue: {issue}" in out
    assert "No issue is new or has relapsed." in out
    again = made_up(store, "7")
    code, issues = check(llmtrace, store, again, SILENT)
    assert (code, issues[0]) == (1, (issue, "relapsed"))
    assert f"relapsed: {TITLE} ({issue}, fixed on " in " ".join(llmtrace("check", "--new", again, "--store", store).out.split())


def test_an_issue_of_an_earlier_run_is_not_new(llmtrace: Callable[..., Any], store: str, issue: str) -> None:
    """Unless that run is checked as well: then a decision says that the issue is known."""
    again = made_up(store, "7")
    assert (issue, "open") in check(llmtrace, store, again)[1]
    assert (issue, "new") in check(llmtrace, store, again, SILENT)[1]
    code, issues = check(llmtrace, store, "--all")
    assert (code, {state for _, state in issues}) == (1, {"new"})
    assert llmtrace("issues", "open", "all", "--store", store).code == 0
    assert check(llmtrace, store, "--all")[0] == 0


def test_runs_of_a_file_are_compared_with_decisions(
    llmtrace: Callable[..., Any], store: str, issue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = str(tmp_path / "runs.jsonl")
    llmtrace("export", "--all", "-o", export, "--store", store)
    monkeypatch.setenv("LLMTRACE_ISSUES", str(tmp_path / "issues.jsonl"))
    empty = str(tmp_path / "absent")
    assert check(llmtrace, empty, export) == (1, [(issue, "new")])
    DecisionFile(tmp_path / "issues.jsonl", is_private=False).append(Decision(issue, "open", 1))
    assert check(llmtrace, empty, export) == (0, [(issue, "open")])


def test_new_and_strict_cannot_be_combined(llmtrace: Callable[..., Any], store: str) -> None:
    assert llmtrace("check", "--new", "--strict", "--store", store).code == 2


def test_issues_by_state_as_a_metric(store: str, issue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ISSUES_EVERY", 0.0)
    reading = Reading()
    with open_store(store) as opened:
        counted = metrics.CountedIssues(opened, Config())
        counted.numbers()  # judges the runs
        observe_issues(reading.provider, counted.numbers)

        def numbers() -> dict[str, float]:
            points = reading.points("llmtrace.issues")
            return {labels["llmtrace.issue.state"]: number for labels, number in points if number}

        assert numbers() == {"open": 1}
        decide(store, issue, "fixed")
        assert numbers() == {"fixed": 1}
        made_up(store, "7")
        assert numbers()["relapsed"] == 1
