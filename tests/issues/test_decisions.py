"""The file of decisions: merged by git in any order, read in spite of broken lines, appended to by several people."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path

import pytest

from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.issues import Decision, DecisionFile, decision_file
from llmtrace.store import open_store

FIXED = Decision(
    "i00000001", "fixed", 2_000_000_000_000_000_000, "ann", "a longer timeout", "look_up never succeeded", "4c2d9e1",
    {"commit": ("aaaa",), "model": ("gpt-4o",)}, test="tests/test_it.py",
)  # fmt: skip
OPEN = Decision("i00000001", "open", 1_900_000_000_000_000_000, "bob", title="look_up never succeeded")
DISMISSED = Decision("i00000002", "dismissed", 1_950_000_000_000_000_000, "bob", "wanted – so it is")


def file(folder: Path) -> DecisionFile:
    return DecisionFile(folder / "issues.jsonl", is_private=True)


def test_decisions_are_read_as_they_were_written(tmp_path: Path) -> None:
    file(tmp_path).append(FIXED, DISMISSED)
    file(tmp_path).append(OPEN)
    read = file(tmp_path).read()
    assert read.history("i00000001") == (OPEN, FIXED)
    assert read.history("i00000002") == (DISMISSED,)
    assert (read.last("i00000001"), read.last("i00000003")) == (FIXED, None)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_the_file_of_a_store_is_for_its_user_only(tmp_path: Path) -> None:
    file(tmp_path / "new" / "store").append(OPEN)
    assert stat.S_IMODE((tmp_path / "new" / "store" / "issues.jsonl").stat().st_mode) == 0o600


def test_the_order_and_number_of_lines_change_nothing(tmp_path: Path) -> None:
    """So git may merge them with ``merge=union``."""
    file(tmp_path).append(FIXED, DISMISSED, OPEN)
    before, path = file(tmp_path).read(), tmp_path / "issues.jsonl"
    lines = path.read_text("utf-8").splitlines() * 2
    random.Random(1).shuffle(lines)
    path.write_text("\n".join(lines), "utf-8")
    assert file(tmp_path).read().by_issue == before.by_issue


def test_a_file_with_conflict_marks_has_the_decisions_of_both_sides(tmp_path: Path) -> None:
    file(tmp_path).append(FIXED, DISMISSED)
    path = tmp_path / "issues.jsonl"
    ours, theirs = path.read_text("utf-8").splitlines()
    path.write_text(f"<<<<<<< HEAD\n{ours}\n=======\n{theirs}\n>>>>>>> other\n", "utf-8")
    read = file(tmp_path).read()
    assert (read.last("i00000001"), read.last("i00000002")) == (FIXED, DISMISSED)
    assert (read.conflicts, read.skipped) == (3, 0)


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        "[]",
        "{}",
        "[" * 5000,
        '{"issue": "i1", "state": "unheard of", "at": "2026-01-01T00:00:00Z"}',
        '{"issue": "i1", "state": "open", "at": "yesterday"}',
        '{"issue": "i1", "state": "open"}',
        '{"issue": 7, "state": "open", "at": "2026-01-01T00:00:00Z"}',
        '{"issue": "i1", "state": "open", "at": "2026-01-01T00:00:00Z", "by": ["ann"]}',
    ],
)
def test_a_line_that_is_not_a_decision_is_counted_and_costs_no_other(tmp_path: Path, line: str) -> None:
    (tmp_path / "issues.jsonl").write_text(line, "utf-8")
    file(tmp_path).append(OPEN)  # begins a line of its own
    read = file(tmp_path).read()
    assert (read.by_issue, read.skipped) == ({"i00000001": [OPEN]}, 1)


def test_members_that_a_later_version_adds_are_left_out(tmp_path: Path) -> None:
    line = {"issue": "i1", "state": "open", "at": "2026-01-01T00:00:00+01:00", "priority": 1, "before": {"commit": "text"}}
    (tmp_path / "issues.jsonl").write_text(json.dumps(line), "utf-8")
    (decision,) = file(tmp_path).read().history("i1")
    assert decision.at == 1_767_222_000_000_000_000
    assert decision.before == {}


def test_a_folder_in_its_place_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "issues.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"cannot read .*issues\.jsonl"):
        file(tmp_path).read()
    with pytest.raises(StoreError, match=r"cannot write .*issues\.jsonl"):
        file(tmp_path).append(OPEN)


def test_where_the_file_is(tmp_path: Path) -> None:
    """In the store's folder; else where LLMTRACE_ISSUES says; else nowhere."""
    found = decision_file(tmp_path, Config())
    assert found is not None
    assert found.path == tmp_path / "issues.jsonl"
    assert decision_file(None, Config()) is None
    for folder in (tmp_path, None):
        named = decision_file(folder, Config(issues="shared/issues.jsonl"))
        assert named is not None
        assert named.path == Path("shared/issues.jsonl")


def test_a_folder_with_decisions_only_is_an_empty_store(tmp_path: Path) -> None:
    file(tmp_path).append(OPEN)
    with open_store(str(tmp_path)) as store:
        assert store.traces() == []
