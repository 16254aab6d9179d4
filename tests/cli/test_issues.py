"""``llmtrace issues``: the failures of all runs, with ids that stay, and what people decided about them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace import semconv
from llmtrace.issues import DecisionFile
from llmtrace.model import AgentInvocation, Evaluation
from tests import failing_runs
from tests.cli.traces import SECOND, SILENT, Maker, answers, chat, user
from tests.stored import append


def made_up(store: str, digit: str, *, ago: float = 1.0, **resource: str) -> str:
    """Append a run with the fault of `silent`. Returns its id."""
    maker = Maker(digit * 32, time.time_ns() - int(ago * SECOND))
    spans = maker.with_two_made_up()
    append(store, *spans)
    return digit * 32


@pytest.fixture
def ran(llmtrace: Callable[..., Any], store: str) -> Callable[..., Any]:
    """The command on the store with one issue, which `silent` shows."""
    return lambda *words: llmtrace("issues", *words, "--store", store)


@pytest.fixture
def issue(ran: Callable[..., Any]) -> str:
    return str(json.loads(ran("--json").out)["issues"][0]["issue"])


def test_runs_with_one_failure_are_one_issue(ran: Callable[..., Any], store: str, issue: str) -> None:
    """Its id stays; a run without a mark is in none."""
    made_up(store, "3")
    made_up(store, "4")
    append(store, Maker("d" * 32, time.time_ns() - SECOND).span(1, None, "chat m", chat([user("hi")], answers("hello"))))
    told = json.loads(ran("--json").out)
    assert told["runs"] == 5
    (first, *_) = told["issues"]
    assert (first["issue"], first["runs"], first["of_runs"], first["state"]) == (issue, 3, 5, "open")
    assert {"3" * 32, "4" * 32, SILENT} == set(first["traces"])
    assert "d" * 32 not in json.dumps(told["issues"])
    out = ran().out
    assert out.startswith("3 of 5 runs show an issue: ")
    assert f"open  {issue}" in out
    assert "3 of 5 runs (60 %, 23 to 88 %). First " in out
    assert f"llmtrace issues show {issue}" in out


def test_filters_and_their_limit(ran: Callable[..., Any], store: str) -> None:
    maker = Maker("e" * 32, time.time_ns() - SECOND)
    append(
        store,
        maker.span(2, 1, "chat m", chat([user("hi")], answers("hello")), attributes={semconv.TAGS: ("beta",)}),
        maker.span(1, None, "invoke_agent support", AgentInvocation("support")),
    )
    for words, runs in ((("--tag", "beta"), 1), (("--tag", "absent"), 0), (("--since", "30m"), 2), (("--agent", "support"), 3)):
        assert json.loads(ran("--json", *words).out)["runs"] == runs
    limited = ran("--limit", "2")
    assert "stopped after the newest 2 runs. Use --limit N for more." in " ".join(limited.err.split())
    assert ran("--limit", "3").err == ""


def test_an_empty_store_and_a_store_without_an_issue(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    append(store, Maker("d" * 32, time.time_ns() - SECOND).span(1, None, "chat m", chat([user("hi")], answers("hello"))))
    assert llmtrace("issues", "--store", store).out.strip() == "No issue in 1 run"
    assert llmtrace("issues", "--tag", "x", "--store", store).out == "No trace matches these filters.\n"


def test_a_failed_run_without_a_mark_is_an_issue(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    maker, task, answer = Maker("c" * 32, time.time_ns() - SECOND), user("Has it arrived?"), answers("It has.")
    outcome = Evaluation("outcome", "error", "the program reported failure", "failure")
    agent = AgentInvocation("a", input=(task,), output=(answer,))
    append(
        str(tmp_path / "store"),
        maker.span(1, None, "invoke_agent a", agent, took=0.9, evaluations=(outcome,)),
        maker.span(2, 1, "chat m", chat([task], answer)),
    )
    store = ("--store", str(tmp_path / "store"))
    assert "the program reported failure" in llmtrace("issues", *store).out
    (issue,) = json.loads(llmtrace("issues", "--json", *store).out)["issues"]
    assert (issue["confidence"], issue["subject"], issue["traces"]) == ("reported", "a", ["c" * 32])
    page = llmtrace("issues", "show", issue["issue"], "--markdown", *store).out
    assert "Where to look first:" in page
    assert "--prove" not in page


def test_one_that_cannot_be_diagnosed_costs_only_itself(ran: Callable[..., Any], store: str, broken_diagnosis: None) -> None:
    """stderr says so, once for each fault; the other runs are grouped as ever."""
    made_up(store, "3")
    told = ran()
    assert told.code == 0
    assert told.out.startswith("1 of 2 runs shows an issue")
    said = " ".join(told.err.split())
    assert "1 run could not be diagnosed: KeyError ('order_id') at conftest.py:" in said
    assert said.endswith("See llmtrace why 4bf92f35 for how to report it.")
    assert [one["trace_id"] for one in json.loads(ran("--json").out)["undiagnosed"]] == [SILENT]


def test_each_kind_of_failure_is_an_issue_of_its_own(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Also in a store without an index: the same issues as from the index."""
    store = str(tmp_path / "store")
    failing_runs.write(store)
    told = json.loads(llmtrace("issues", "--json", "--store", store).out)
    assert (told["runs"], len(told["issues"])) == (len(failing_runs.FILTERS) + failing_runs.GOOD, len(failing_runs.FILTERS))
    export = str(tmp_path / "runs.jsonl")
    assert llmtrace("export", "--all", "-o", export, "--store", store).code == 0
    exported = json.loads(llmtrace("issues", "--json", "--store", export).out)
    assert {issue["issue"] for issue in exported["issues"]} == {issue["issue"] for issue in told["issues"]}


# -- one issue


def test_show_has_evidence_chain_and_commands(ran: Callable[..., Any], issue: str) -> None:
    shown = ran("show", issue[:4]).out
    for text in ("made-up", "1 of 2 runs", "In trace 4bf92f35", "What would have prevented it", f"issues fixed {issue}"):
        assert text in shown
    page = ran("show", issue, "--markdown").out
    for text in (
        f"Issue `{issue}`: open.",
        f"Evidence from trace `{SILENT}`",
        "From the outcome back to it:",
        "## Next",
        "to-test 4bf92f35",
    ):
        assert text in page
    told = json.loads(ran("show", issue, "--json").out)
    assert told["diagnosis"]["trace_id"] == SILENT
    assert told["commands"][0] == "llmtrace show 4bf92f35"


def test_ids_that_name_none_or_several(ran: Callable[..., Any], issue: str) -> None:
    assert "no run shows an issue zzz" in ran("show", "zzz").err
    assert "show needs the id of an issue" in ran("show").err
    assert f"Try: llmtrace issues show {issue}" in ran("ls", issue).err
    wrong = f"{issue[:-1]}{'1' if issue[-1] == '0' else '0'}"
    assert f"Did you mean {issue}" in ran("show", wrong).err


# -- decisions


def test_fixed_and_relapsed(ran: Callable[..., Any], store: str, issue: str) -> None:
    assert "fixed on " in ran("fixed", issue, "--because", "orders are looked up", "--by", "ann").out
    out = ran().out
    assert out.startswith("1 of 2 runs shows an issue: 1 fixed")
    assert "Fixed\n" in out
    made_up(store, "5", ago=-5)
    (first, *_) = json.loads(ran("--json").out)["issues"]
    assert (first["issue"], first["state"], first["relapse"]["trace_id"]) == (issue, "relapsed", "5" * 32)
    assert "relapsed in trace 55555555" in " ".join(ran().out.split())
    page = ran("show", issue, "--markdown").out
    assert "What was tried and decided" in page
    assert "fixed by ann: orders are looked up" in page


def test_dismissed_needs_a_reason_and_is_listed(ran: Callable[..., Any], issue: str) -> None:
    refused = ran("dismiss", issue)
    assert (refused.code, "dismiss needs a reason" in refused.err) == (2, True)
    assert ran("dismiss", issue, "--because", "test data").code == 0
    out = ran().out
    assert "Dismissed\n" in out
    assert "dismissed because test data" in out
    assert "llmtrace issues show" not in out


def test_open_all_takes_the_new_ones_only(ran: Callable[..., Any], store: str, issue: str) -> None:
    ran("dismiss", issue, "--because", "test data")
    assert ran("open", "all").out == "There is no new issue.\n"
    assert ran("open", issue).code == 0
    (told,) = json.loads(ran("--json").out)["issues"]
    assert (told["state"], told["is_new"], [decision["state"] for decision in told["history"]]) == (
        "open", False, ["dismissed", "open"],
    )  # fmt: skip


def test_fixed_by_a_test_that_passes(
    ran: Callable[..., Any], issue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that fails fixes nothing."""
    monkeypatch.chdir(tmp_path)
    test = tmp_path / "test_it.py"
    test.write_text("def test_it() -> None:\n    assert False\n")
    failed = ran("fixed", issue, "--test", str(test))
    assert (failed.code, "does not pass" in " ".join(failed.err.split())) == (1, True)
    assert json.loads(ran("--json").out)["issues"][0]["state"] == "open"
    test.write_text("def test_it() -> None:\n    assert True\n")
    assert ran("fixed", issue, "--test", str(test), "--in", "v2").code == 0
    told = json.loads(ran("show", issue, "--json").out)
    assert (told["state"], told["history"][0]["version"], told["history"][0]["test"]) == ("fixed", "v2", str(test))
    assert f"pytest {test}" in told["commands"]
    assert "there is no such file" in ran("fixed", issue, "--test", "absent.py").err


def test_the_commit_that_is_checked_out(
    ran: Callable[..., Any], issue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "not in a git repository" in ran("fixed", issue, "--in", "HEAD").err
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("4c2d9e1f00" * 4 + "\n")
    assert "fixed in 4c2d9e1f00 on " in " ".join(ran("fixed", issue, "--in", "HEAD").out.split())


def test_a_run_with_the_version_of_the_fix_that_shows_it_is_named(ran: Callable[..., Any], issue: str) -> None:
    assert "was made with local, and shows it" in " ".join(ran("fixed", issue, "--in", "local").out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ls", "--in", "v2"), "ls takes no --in"),
        (("show", "i1", "--because", "x"), "show takes no --because"),
        (("dismiss", "i1", "--test", "x"), "dismiss takes no --test"),
        (("fixed", "i1", "--markdown"), "fixed takes no --markdown"),
    ],
)
def test_an_option_that_an_action_does_not_take(ran: Callable[..., Any], words: tuple[str, ...], message: str) -> None:
    told = ran(*words)
    assert (told.code, message in told.err) == (2, True)


def test_a_store_without_a_folder_is_read_and_keeps_decisions_where_the_variable_says(
    llmtrace: Callable[..., Any], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, file = str(tmp_path / "runs.jsonl"), tmp_path / "shared.jsonl"
    llmtrace("export", "--all", "-o", export, "--store", store)
    (told,) = json.loads(llmtrace("issues", "--json", "--store", export).out)["issues"]
    refused = llmtrace("issues", "fixed", told["issue"], "--store", export)
    assert (refused.code, "LLMTRACE_ISSUES" in refused.err) == (2, True)
    monkeypatch.setenv("LLMTRACE_ISSUES", str(file))
    assert llmtrace("issues", "fixed", told["issue"], "--store", export).code == 0
    for url in (export, store):
        assert json.loads(llmtrace("issues", "--json", "--store", url).out)["issues"][0]["state"] == "fixed"
    assert len(DecisionFile(file, is_private=False).read().by_issue) == 1


def test_broken_lines_are_said(ran: Callable[..., Any], store: str, issue: str) -> None:
    ran("open", issue)
    with (Path(store) / "issues.jsonl").open("a") as file:
        file.write("{broken\n")
    assert "1 line of " in " ".join(ran().err.split())
    assert json.loads(ran("--json").out)["issues"][0]["is_new"] is False
