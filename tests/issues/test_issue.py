"""Issues over many runs: counted from the runs, decided by people, and relapsed if seen after the fix with a later version."""

from __future__ import annotations

from typing import Any

import pytest

from llmtrace.issues import Decision, Decisions, Issue, issues_of, relapses_in
from llmtrace.issues.issue import has_version, is_relapse, versions_before
from llmtrace.list_verdicts import JudgedRun, Verdict
from llmtrace.model.issues import Occurrence, Version
from llmtrace.statistics.two_samples import wilson

A, B = "i0000000a", "i0000000b"
OLD: Version = {"commit": ("1111111aaa",), "model": ("gpt-4o",)}
NEW: Version = {"commit": ("2222222bbb",), "model": ("gpt-4o",)}
LATER: Version = {"commit": ("3333333ccc",), "model": ("gpt-4o",)}


def run(start: int, *issues: str, version: Version = OLD, confidence: Any = "certain") -> JudgedRun:
    law = ("failed_tool", "timeout", "look_up", "", "1" * 16)
    occurrences = tuple(Occurrence(issue, f"{issue} at {start}", confidence, *law) for issue in issues)
    return JudgedRun(f"{start:032x}", start, Verdict(issues=occurrences, version=version))


def decided(state: Any, at: int, issue: str = A, **fields: Any) -> Decisions:
    return Decisions([Decision(issue, state, at, **fields)])


def newest_first(*runs: JudgedRun) -> list[JudgedRun]:
    return sorted(runs, key=lambda run: -run.start)


def only(runs: list[JudgedRun], decisions: Decisions) -> Issue:
    (issue,) = issues_of(runs, decisions)
    return issue


def test_what_is_counted_comes_from_the_runs() -> None:
    runs = newest_first(run(1, A), run(2), run(3, A, B, version=NEW), run(4, A, confidence="likely"), run(5), run(6, A))
    first, second = issues_of(runs, Decisions())
    assert (first.issue, first.runs, first.of_runs, first.interval) == (A, 4, 6, wilson(4, 6))
    assert (first.first_seen, first.last_seen, first.confidence) == (1, 6, "certain")
    assert [example.start for example in first.examples] == [6, 4, 3]
    assert len(first.traces) == 4
    assert first.versions == {"commit": ("1111111aaa", "2222222bbb"), "model": ("gpt-4o",)}
    assert first.title == f"{A} at 6"
    assert (second.issue, second.runs, second.state, second.is_new) == (B, 1, "open", True)


def test_an_issue_without_a_run_has_the_title_of_its_last_decision() -> None:
    issue = only([run(1)], decided("dismissed", 5, because="wanted", title="look_up never succeeded"))
    assert (issue.runs, issue.of_runs, issue.state, issue.title) == (0, 1, "dismissed", "look_up never succeeded")
    assert (issue.first_seen, issue.confidence, issue.examples, issue.relapse) == (None, None, (), None)


def test_the_last_decision_counts() -> None:
    history = [Decision(A, "open", 1), Decision(A, "proven", 2), Decision(A, "dismissed", 3)]
    assert [only([run(1, A)], Decisions(history[:number])).state for number in range(4)] == [
        "open",
        "open",
        "proven",
        "dismissed",
    ]


def test_dismissed_is_quiet_for_that_identity_only() -> None:
    issues = issues_of(newest_first(run(9, A, B)), decided("dismissed", 1))
    assert [(issue.issue, issue.state) for issue in issues] == [(B, "open"), (A, "dismissed")]


def test_relapsed_issues_come_first_and_then_the_frequent_ones() -> None:
    c = "i0000000c"
    decisions = Decisions([Decision(A, "fixed", 2), Decision(c, "fixed", 20)])
    issues = issues_of(newest_first(run(1, A, c), run(3, A, B), run(4, B)), decisions)
    assert [(issue.issue, issue.state) for issue in issues] == [(A, "relapsed"), (B, "open"), (c, "fixed")]


@pytest.mark.parametrize(
    ("start", "version", "relapsed"),
    [
        (4, NEW, False),  # before the decision
        (6, OLD, False),  # an earlier version that still runs
        (6, NEW, True),  # the version with the fix
        (6, LATER, True),  # a version that had not run before the fix
        (6, {"commit": ("2222222bbb+99",), "model": ("gpt-4o",)}, True),  # the fix, with changes
        (6, {**OLD, "model": ("gpt-5",)}, True),  # another model
        (6, {"model": ("gpt-4o",)}, True),  # a program that records no version
        (6, {**OLD, "system prompt": ("ffff",), "tools": ("eeee",)}, False),  # texts that differ from run to run
    ],
)
def test_relapsed_is_what_a_later_version_shows(start: int, version: Version, relapsed: bool) -> None:
    fixed = Decision(A, "fixed", 5, version="2222222", before=OLD)
    assert is_relapse(fixed, start, version) is relapsed
    issue = only(newest_first(run(1, A), run(start, A, version=version)), Decisions([fixed]))
    assert issue.state == ("relapsed" if relapsed else "fixed")
    assert (issue.relapse is not None) is relapsed


def test_without_a_named_version_every_later_run_is_a_relapse() -> None:
    fixed = Decision(A, "fixed", 5)
    assert [is_relapse(fixed, start, version) for start, version in ((4, NEW), (6, OLD), (6, {}))] == [False, True, True]


def test_the_first_relapse_is_named() -> None:
    issue = only(newest_first(run(1, A), run(7, A, version=NEW), run(8, A, version=NEW)), decided("fixed", 5))
    assert issue.relapse is not None
    assert issue.relapse.start == 7


def test_a_run_names_its_own_relapses() -> None:
    decisions = Decisions([Decision(A, "fixed", 5), Decision(B, "dismissed", 5)])
    assert [(found.issue, decision.state) for found, decision in relapses_in(run(6, A, B), decisions)] == [(A, "fixed")]
    assert relapses_in(run(4, A, B), decisions) == []


@pytest.mark.parametrize(
    ("name", "version", "has"),
    [
        ("2222222", NEW, True),
        ("2222222bbb", NEW, True),
        ("2222222bbbccc", NEW, True),  # the run recorded a short commit
        ("22222", NEW, False),  # too short
        ("1111111", NEW, False),
        ("v1.2", {"service version": ("1.2",)}, True),
        ("1.2", {"service version": ("1.2.1",)}, False),
        ("refund 00aa11bb22cc33dd", {"prompt template": ("refund 00aa11bb22cc33dd",)}, True),
        ("00aa11b", {"prompt template": ("refund 00aa11bb22cc33dd",)}, True),
        ("gpt-5", {"model": ("gpt-5",)}, True),
        ("abcdef1", {"model": ("abcdef123",)}, False),
        ("ffff000", {"system prompt": ("ffff000011112222",)}, True),
    ],
)
def test_a_version_is_named_by_its_first_digits_or_in_full(name: str, version: Version, has: bool) -> None:
    assert has_version(name, version) is has


def test_what_ran_before_a_fix_is_what_ran_before_its_version() -> None:
    """A version that followed the fix before somebody said so is none of them."""
    runs = newest_first(run(1, A), run(2, version=NEW), run(3, version=LATER), run(4, A))
    assert versions_before(runs, "2222222") == OLD
    assert versions_before(runs, "4444444")["commit"] == ("1111111aaa", "2222222bbb", "3333333ccc")
