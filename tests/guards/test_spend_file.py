"""Accounts that outlive their runs: shared by processes, bounded, and about nobody by name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import BudgetExceeded
from llmtrace.guards import budget_tracker
from llmtrace.guards import spend_file as spend_files
from llmtrace.guards.spend_file import Amounts, SpendFile, period, sweep
from llmtrace.model import Inference, Usage
from llmtrace.recorder import active

ONE = Amounts(0.5, 1, 10, 3, 0.25)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    llmtrace.configure(store=tmp_path / "store", instrument=[], signals=[])
    yield tmp_path / "store"
    llmtrace.shutdown()


def call(tokens: int = 1) -> None:
    recorder = active()
    assert recorder is not None
    operation = Inference("openai", request_model="m", usage=Usage(tokens, 0))
    recorder.start(operation).end(operation)


def test_a_user_spends_over_runs(store: Path) -> None:
    """Each user has a sum of their own, over runs; budgets of the same scope share it, one with a name does not."""
    daily = llmtrace.Budget(calls=3, scope="user", per="day")

    @llmtrace.agent(budget=daily)
    def support() -> None:
        call()

    with llmtrace.context(user="ada"):
        for _ in range(3):
            support()
        with pytest.raises(BudgetExceeded) as caught:
            support()
        with llmtrace.Budget(calls=3, scope="user", per="day", name="other"):
            call()
    with llmtrace.context(user="bob"):
        support()
    assert str(caught.value) == "budget of 3 calls a day for each user is spent (3 calls used): support with m 100 %"
    files = list((store / "budgets").glob("*.spent"))
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o077 == 0 and "ada" not in path.name for path in files)


def test_nested_budgets_of_one_scope_count_once(store: Path) -> None:
    """An agent under a user's budget that calls one under the same budget does not spend twice."""
    with llmtrace.context(tenant="acme"), llmtrace.Budget(calls=9, scope="tenant") as outer:
        with llmtrace.Budget(calls=9, scope="tenant") as inner:
            call()
        call()
    assert (outer.calls, inner.calls) == (2, 2)


def test_without_a_user_all_share_one(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A budget for each user where none is known holds all the same, and says so once."""
    for _ in range(2):
        with pytest.raises(BudgetExceeded), llmtrace.Budget(calls=1, scope="user", name="nobody"):
            call()
            call()
    assert caplog.text.count("where none is known") <= 1
    assert "all such runs share one" in caplog.text


def test_a_new_day_begins_anew(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was spent yesterday does not count today, also within one block."""
    now = [1_000_000.0]
    monkeypatch.setattr(budget_tracker, "period", lambda per: period(per, now[0]))
    with llmtrace.Budget(calls=1, per="day") as spent:
        call()
        with pytest.raises(BudgetExceeded):
            call()
        now[0] += 86400
        call()
        assert spent.calls == 1


def test_periods() -> None:
    """In UTC; none is for ever."""
    assert [period(per, 0.0) for per in ("hour", "day", "month", None)] == ["1970-01-01T00", "1970-01-01", "1970-01", "ever"]


PROGRAM = """
import sys
from pathlib import Path
from llmtrace.guards.spend_file import Amounts
from llmtrace.guards.spend_file import SpendFile
account = SpendFile(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    account.refresh()
    account.add(f"agent {number % 3}", Amounts(0.5, 1, 10, 3, 0.25))
while account._waiting:
    account.add("last", Amounts())
"""


def test_processes_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes write at once, while the file is summed up again and again; nothing is lost or counted twice."""
    path = tmp_path / "budgets" / "x.spent"
    program = f"import llmtrace.guards.spend_file as spend_file; spend_file.MAX_BYTES = 4096\n{PROGRAM}"
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), "700"]) for _ in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    account = SpendFile(path)
    account.refresh()
    assert (account.spent.calls, account.spent.tokens, account.spent.usd) == (2100, 21000, 1050.0)
    assert {name for name in account.spenders if name != "last"} == {"agent 0", "agent 1", "agent 2"}
    assert path.stat().st_size < 3 * 4096
    assert [each.name for each in path.parent.iterdir() if each.name.endswith(".tmp")] == []


def test_a_torn_line_costs_itself(tmp_path: Path) -> None:
    """What a killed process left half written is passed over; what others write behind it counts."""
    path = tmp_path / "x.spent"
    writer = SpendFile(path)
    writer.add("a", ONE)
    with path.open("ab") as file:
        file.write(b'\n["torn", 0.5, 1')
    writer.add("a", ONE)
    reader = SpendFile(path)
    reader.refresh()
    assert (reader.spent.calls, writer.spent.calls) == (2, 2)


def test_it_reads_only_what_is_new(tmp_path: Path) -> None:
    """Another process's lines are taken in once, also behind a file that was summed up meanwhile."""
    path = tmp_path / "x.spent"
    one, other = SpendFile(path), SpendFile(path)
    for _ in range(3):
        one.add("a", ONE)
        other.refresh()
    other.add("b", ONE)
    one.refresh()
    assert one.spent == other.spent
    assert one.spent.calls == 4


def test_where_it_cannot_be_written_it_counts_this_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that is in the way costs the sharing, not the count, and is said."""
    (tmp_path / "budgets").write_text("in the way")
    account = SpendFile(tmp_path / "budgets" / "x.spent")
    account.add("a", ONE)
    account.add("a", ONE)
    account.refresh()
    assert account.spent.calls == 2
    assert "cannot be shared with other processes" in caplog.text


def test_old_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Periods that are over go after a while; one of no period stays, unless there are too many."""
    monkeypatch.setattr(spend_files, "MAX_FILES", 2)
    long_ago = time.time() - 100 * 86400
    for name, age in (
        ("2020-01-01-a.spent", long_ago),
        ("ever-b.spent", long_ago),
        ("ever-c.spent", None),
        ("ever-d.spent", None),
    ):
        (tmp_path / name).write_text("")
        if age is not None:
            os.utime(tmp_path / name, (age, age))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.spent")) == ["ever-c.spent", "ever-d.spent"]


@pytest.mark.parametrize("damage", [b"\n\x00\xff garbage", b'\n["agent", 1.0, 1, '])
def test_a_damaged_line_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    """What was spent there is unknown, so the budget may allow too much: nobody must find that out from a bill."""
    file = SpendFile(tmp_path / "day.spent")
    file.add("a", Amounts(usd=1.0, calls=1))
    with (tmp_path / "day.spent").open("ab") as damaged:
        damaged.write(damage)
    file.add("a", Amounts(usd=2.0, calls=1))
    again = SpendFile(tmp_path / "day.spent")
    again.refresh()
    assert again.spent.usd == 3.0
    assert "has a line that cannot be read: what was spent there is not counted" in caplog.text
