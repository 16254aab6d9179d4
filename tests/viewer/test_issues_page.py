"""The page of issues: what ``llmtrace issues`` lists, as HTML without a script, and nothing of a run as markup."""

from __future__ import annotations

from pathlib import Path

from llmtrace.issues import Decision, DecisionFile, Decisions, Runs, issues_of
from llmtrace.list_verdicts import JudgedRun, Verdict
from llmtrace.model.issues import Occurrence
from llmtrace.viewer import issues_page
from tests.cli.traces import SILENT
from tests.viewer.conftest import Served

TITLE = "look_up was called with a made-up /order_id"


def test_it_lists_issues_with_links_to_their_runs(viewer: Served) -> None:
    """The decisions are read again with each request."""
    answer = viewer.ask("/issues")
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert TITLE in page
    assert f"/#/trace/{SILENT}?span=" in page
    assert "<h2>Open</h2>" in page
    assert "1 of 2 runs" in page
    assert "<script" not in page
    issue = page.partition("llmtrace issues show ")[2].partition("<")[0]
    folder = viewer.store.folder or Path()
    DecisionFile(folder / "issues.jsonl", is_private=True).append(Decision(issue, "dismissed", 1, "ann", "test data"))
    page = viewer.ask("/issues").body.decode()
    assert "<h2>Dismissed</h2>" in page
    assert "dismissed because test data" in page


def test_no_text_becomes_markup() -> None:
    evil = "<img src=x onerror=alert(1)>&\"'"
    occurrence = Occurrence("i00000001", evil, "certain", evil, evil, evil, evil, evil)
    run = JudgedRun(evil, 1, Verdict(issues=(occurrence,), version={"model": (evil,), "commit": (evil,)}))
    decisions = Decisions(
        [Decision("i00000001", "fixed", 2, evil, evil, evil, evil), Decision("i00000002", "open", 1, evil, evil, evil)]
    )
    page = issues_page.write(Runs((run,)), issues_of([run], decisions))
    assert "<img" not in page
    assert page.count("&lt;img") >= 8


def test_a_store_without_a_run() -> None:
    assert "No run shows a failure." in issues_page.write(Runs(()), [])
