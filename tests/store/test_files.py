"""Journal files: read as far as they go, whatever happened to them; removed by age and size, but never a running one's."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.store import journal_files, journal_limits
from llmtrace.store.journal import Journal
from llmtrace.store.journal_files import CONTEXT, HEAD, MARK, SPAN, START, Gap, Record, frame, head, iterate

HEADER = head()


def _write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join((HEADER, *parts)))
    return path


def _read(path: Path, offset: int = 0) -> tuple[list[bytes], list[Gap]]:
    read = list(iterate(path, offset))
    return [one.payload for one in read if isinstance(one, Record)], [one for one in read if isinstance(one, Gap)]


@given(payloads=st.lists(st.binary(max_size=2000)))
def test_what_is_framed_is_read(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    """Any payload comes back, in order, with its kind and number; each record can be read by its place alone."""
    path = _write(tmp_path_factory.mktemp("j") / "a.journal", *(frame(SPAN, 7, one) for one in payloads))
    assert _read(path) == (payloads, [])
    with path.open("rb") as file:
        for record in iterate(path):
            assert isinstance(record, Record)
            assert journal_files.read(file, record.offset, record.length) == record
            assert journal_files.read(file, record.offset, record.length - 1) is None
            assert (record.kind, record.ref) == (SPAN, 7)


@settings(deadline=None)
@given(cut=st.integers(0, 400))
def test_a_torn_end_costs_the_torn_record_only(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever a file ends, the whole records before that point are read, and the rest is one gap at the end."""
    data = b"".join(frame(kind, 1, bytes([kind]) * 100) for kind in (CONTEXT, START, SPAN))
    path = _write(tmp_path_factory.mktemp("j") / "a.journal", data[:cut])
    payloads, gaps = _read(path)
    size = len(data) // 3
    assert len(payloads) == min(cut, len(data)) // size
    assert gaps == ([Gap(HEAD.size + cut // size * size, cut % size, tail=True)] if cut < len(data) and cut % size else [])


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1 << 30))
def test_damage_in_the_middle_costs_the_damaged_records_only(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Bytes overwritten anywhere: records that they do not touch are read, nothing is made up."""
    chance = random.Random(seed)
    records = [frame(SPAN, 0, chance.randbytes(chance.randrange(300))) for _ in range(20)]
    data = bytearray(b"".join(records))
    start = chance.randrange(len(data))
    length = chance.randrange(1, 200)
    data[start : start + length] = chance.randbytes(len(data[start : start + length]))
    path = _write(tmp_path_factory.mktemp("j") / "a.journal", bytes(data))
    whole, at = [], 0
    for record in records:
        if data[at : at + len(record)] == record:
            whole.append(record[journal_files.RECORD.size :])
        at += len(record)
    payloads, gaps = _read(path)
    assert payloads == whole
    assert sum(gap.length for gap in gaps) == len(data) - sum(journal_files.RECORD.size + len(one) for one in whole)


def test_damage_longer_than_a_block_is_overcome(tmp_path: Path) -> None:
    """The search for the next record goes on over block borders, also where the mark lies across one."""
    for shift in range(6):
        path = _write(tmp_path / f"{shift}.journal", b"\0" * (journal_files._BLOCK * 2 - shift), frame(SPAN, 0, b"after"))
        assert _read(path)[0] == [b"after"]


def test_a_mark_inside_a_payload_is_no_record(tmp_path: Path) -> None:
    """A payload that holds a mark, or a whole record, is read as one, and is not mistaken for records while resyncing."""
    inner = frame(SPAN, 0, b"inner")
    path = _write(tmp_path / "a.journal", MARK + b"\xff" * 12, frame(SPAN, 0, inner + MARK), frame(SPAN, 0, b"last"))
    assert _read(path)[0] == [inner + MARK, b"last"]


@pytest.mark.parametrize(("content", "newer"), [(b"", False), (b"llm", False), (b"x" * 100, False), (head(99), True)])
def test_a_file_that_is_no_journal_is_told_from_a_newer_one(tmp_path: Path, content: bytes, newer: bool) -> None:
    """Garbage may be set aside, what a newer llmtrace wrote must stay."""
    path = tmp_path / "a.journal"
    path.write_bytes(content)
    with pytest.raises(journal_files.Unusable) as raised:
        list(iterate(path))
    assert raised.value.newer == newer


def _old(folder: Path, name: str, *, days: float, size: int = 100) -> Path:
    folder.mkdir(exist_ok=True)
    path = _write(folder / name, frame(SPAN, 0, b"x" * size))
    os.utime(path, (time.time() - days * 86400,) * 2)
    return path


def test_sweep_removes_the_oldest_files_first(tmp_path: Path) -> None:
    """Whole files go, oldest first, and no more than needed."""
    for day in range(5):
        _old(tmp_path / "journal", f"2026112{day}T000000-1-a.00000.journal", days=5 - day, size=1000)
    removed = journal_limits.sweep(tmp_path / "journal", max_bytes=3 * 1032, max_days=30)
    assert removed == ["20261120T000000-1-a.00000.journal", "20261121T000000-1-a.00000.journal"]
    assert len(journal_files.listing(tmp_path / "journal")) == 3


def test_sweep_removes_what_is_too_old(tmp_path: Path) -> None:
    """A file nobody wrote to for longer than the bound goes, though there is room."""
    old, new = _old(tmp_path / "journal", "1.journal", days=8), _old(tmp_path / "journal", "2.journal", days=6)
    _old(tmp_path / "journal", "3.journal", days=3)
    journal_limits.sweep(tmp_path / "journal", max_bytes=1 << 30, max_days=7)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("days", [5, 30, 3650])
def test_a_clock_that_jumps_ahead_removes_nothing(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A program whose clock is wrong, others after it whose clock is right, and those that read: it is said once."""
    journal, right = tmp_path / "journal", time.time()
    kept = [_old(journal, f"{number}.journal", days=number / 2) for number in range(14)]
    monkeypatch.setattr(time, "time", lambda: right + days * 86400)
    wrong = _old(journal, "wrong.journal", days=0)
    journal_limits.keep_bounds(journal, 1 << 30, 7, now=True)
    journal_limits.keep_bounds(journal, 1 << 30, 7, now=True)
    monkeypatch.undo()
    journal_limits.keep_bounds(journal, 1 << 30, 7, now=True)
    assert [path for path in (*kept, wrong) if not path.exists()] == []
    assert [record.message for record in caplog.records if "days ahead" in record.message][1:] == []
    assert ("days ahead" in caplog.text) == (days > 7)


def test_a_pause_of_a_month_is_believed_after_a_day(tmp_path: Path) -> None:
    """Then what is too old goes, since somebody who keeps traces for a week does not expect them after a month."""
    before = _old(tmp_path / "journal", "1.journal", days=31)
    after = [_old(tmp_path / "journal", "2.journal", days=0.9), _old(tmp_path / "journal", "3.journal", days=0)]
    journal_limits.sweep(tmp_path / "journal", 1 << 30, 7)
    assert before.exists()
    os.utime(after[0], (time.time() - 1.1 * 86400,) * 2)
    journal_limits.sweep(tmp_path / "journal", 1 << 30, 7)
    assert [before.exists(), after[0].exists(), after[1].exists()] == [False, True, True]


def test_sweep_leaves_running_unreadable_and_foreign_files(tmp_path: Path) -> None:
    """The live file of a running process, what cannot be read, and what is not ours stay, at any size and age."""
    folder = tmp_path / "journal"
    journal = Journal(folder)
    journal.append(SPAN, b"x" * 1000)
    (live,) = folder.glob("*.journal")
    newer = folder / "newer.journal"
    newer.write_bytes(head(99) + b"x" * 1000)
    other = folder / "notes.txt"
    other.write_text("mine")
    aside = folder / "a.journal.corrupt"
    aside.write_text("?")
    for path in (live, newer, other, aside):
        os.utime(path, (0, 0))
    assert journal_limits.sweep(folder, max_bytes=1, max_days=0.001) == []
    assert all(path.exists() for path in (live, newer, other, aside))
    journal.close()
    assert journal_limits.sweep(folder, max_bytes=1, max_days=1e6) == [live.name]


def test_the_index_counts_but_leaves_the_journal_half(tmp_path: Path) -> None:
    """A large index takes room from the journal, at most half of it."""
    folder = tmp_path / "journal"
    folder.mkdir()
    for number in range(10):
        _old(folder, f"{number}.journal", days=1, size=1000)
    (tmp_path / "index.db").write_bytes(b"x" * 1_000_000)
    journal_limits.sweep(folder, max_bytes=10_000, max_days=7)
    assert len(journal_files.listing(folder)) == 4


def test_readers_sweep_by_the_bounds_of_the_last_writer(tmp_path: Path) -> None:
    """A reader with other bounds than the program removes nothing that the program meant to keep."""
    _old(tmp_path, "1.journal", days=10)
    _old(tmp_path, "2.journal", days=8.9)
    journal_limits.sweep_as_noted(tmp_path)
    assert len(journal_files.listing(tmp_path)) == 2
    journal_limits.keep_bounds(tmp_path, 1 << 40, 100.0, now=False)
    os.utime(tmp_path / journal_limits.BOUNDS, (0, 0))
    journal_limits.sweep_as_noted(tmp_path)
    assert len(journal_files.listing(tmp_path)) == 2
    journal_limits.keep_bounds(tmp_path, 1 << 40, 0.5, now=False)
    assert [file.name for file in journal_files.listing(tmp_path)] == ["2.journal"]


def test_strays_of_a_killed_start_go_after_an_hour(tmp_path: Path) -> None:
    """A file that never got its name holds no record; it is removed once nobody can be about to name it."""
    stray, fresh = tmp_path / ".1.journal.tmp", tmp_path / ".2.journal.tmp"
    stray.write_bytes(b"")
    fresh.write_bytes(b"")
    os.utime(stray, (0, 0))
    journal_limits.sweep(tmp_path, 1 << 30, 7)
    assert (stray.exists(), fresh.exists()) == (False, True)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_folders_are_the_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    """All folders that a store creates have mode 0700, its files 0600; a folder that was there is left as it is."""
    program = (
        "import os, sys; os.umask(0); import llmtrace; llmtrace.configure(store=sys.argv[1], exporters=())\n"
        "with llmtrace.agent('a'): pass\n"
        "from llmtrace.store import open_store; store = open_store(sys.argv[1]); store.traces()\n"
        "from llmtrace.store.claims import Claims, owner_of; owner_of(store.folder)\n"
        "with Claims(store.folder).write(): pass"
    )
    tmp_path.chmod(0o755)
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a" / "b" / "store")], check=True, env=environment)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("*")}
    assert {path.name for path in modes} >= {"a", "b", "store", "journal", "claims.db"}
    assert {str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
