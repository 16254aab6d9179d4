"""The journal's writer: one write a record, in a file of its own process, with the right rights; rotated, and bounded."""

from __future__ import annotations

import gc
import os
import signal
import stat
import struct
import threading
from pathlib import Path

import pytest

from llmtrace.store import journal, journal_files
from llmtrace.store.journal import Journal
from llmtrace.store.journal_files import CONTEXT, SPAN, START, Record


def _records(folder: Path) -> list[Record]:
    return [record for file in journal_files.listing(folder) for record in _records_of(folder / file.name)]


def _records_of(path: Path) -> list[Record]:
    read = list(journal_files.iterate(path))
    assert all(isinstance(record, Record) for record in read)
    return [record for record in read if isinstance(record, Record)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "journal"


def test_nothing_is_made_before_the_first_record(folder: Path) -> None:
    """A program that is configured but never traces leaves no trace on the disk."""
    made = Journal(folder)
    made.flush()
    made.close()
    assert not folder.parent.exists()


def test_only_the_user_may_read(folder: Path) -> None:
    """Folders are 0700, files 0600, under any umask."""
    before = os.umask(0)
    try:
        Journal(folder).append(SPAN, b"x")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)] == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_record_is_on_disk_when_append_returns(folder: Path) -> None:
    """No buffer stands between append and the system: what was appended can be read at once."""
    made = Journal(folder)
    for number in range(3):
        made.append(SPAN, str(number).encode())
        assert _records(folder)[-1].payload == str(number).encode()


@pytest.mark.parametrize("at_once", [False, True])
def test_a_context_is_written_once_per_file_and_referred_to(folder: Path, at_once: bool) -> None:
    """Each distinct context is one record before its first use; the empty one is none. So it is of records written at once."""
    made = Journal(folder)
    entries = [(SPAN, b"x", context) for context in (b"A", b"B", b"A", b"", b"B")]
    for group in [entries] if at_once else [[entry] for entry in entries]:
        made.append_all(group)
    found = _records(folder)
    contexts = {record.ref: record.payload for record in found if record.kind == CONTEXT}
    assert sorted(contexts.values()) == [b"A", b"B"]
    assert [contexts.get(record.ref) for record in found if record.kind == SPAN] == [b"A", b"B", b"A", None, b"B"]


def test_of_records_at_once_only_the_one_that_cannot_be_written_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frame = journal_files.frame

    def refuses(kind: int, ref: int, payload: bytes) -> bytes:
        if payload == b"huge":
            raise struct.error("more than 4 GiB")
        return frame(kind, ref, payload)

    monkeypatch.setattr(journal_files, "frame", refuses)
    Journal(folder).append_all([(SPAN, payload, b"") for payload in (b"1", b"huge", b"2")])
    assert [record.payload for record in _records(folder)] == [b"1", b"2"]
    assert "is lost" in caplog.text


def test_files_rotate_and_each_has_its_contexts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file is followed by another, which can be read alone; the process runs as long as its newest is held."""
    monkeypatch.setattr(journal, "ROTATE_BYTES", 1000)
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    made = Journal(folder)
    for _ in range(10):
        made.append(SPAN, b"x" * 400, b"context")
    names = [file.name for file in journal_files.listing(folder)]
    assert len(names) > 2
    assert len({journal_files.process_of(name) for name in names}) == 1
    for name in names:
        assert _records_of(folder / name)[0].kind == CONTEXT
    assert [journal_files.is_being_written(folder / name) for name in names] == [False] * (len(names) - 1) + [True]
    assert journal_files.RunningWriters(folder).is_running(names[0])
    made.close()
    assert not journal_files.RunningWriters(folder).is_running(names[0])


def test_rotation_keeps_the_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long-running program that nobody reads from stays within its bound, give or take the file it writes."""
    monkeypatch.setattr(journal, "ROTATE_BYTES", 1000)
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    made = Journal(folder, max_bytes=5000)
    for number in range(100):
        made.append(SPAN, f"{number:03}".encode() + b"x" * 400)
    assert sum(file.size for file in journal_files.listing(folder)) <= 5000 + 1000
    assert _records(folder)[-1].payload.startswith(b"099")


def test_an_old_file_rotates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since only whole files are removed, a slow writer begins another after a seventh of the time that spans are kept."""
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    made = Journal(folder, max_days=1e-9)
    made.append(SPAN, b"1")
    made.append(SPAN, b"2")
    assert len(journal_files.listing(folder)) == 2
    made.close()


def test_two_journals_of_a_process_have_files_of_their_own(folder: Path) -> None:
    """Names never clash, also within one second and one process."""
    for _ in range(20):
        Journal(folder).append(SPAN, b"x")
    assert len(journal_files.listing(folder)) == 20


def test_threads_append_without_losing_or_mixing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of many threads are whole, and there once, over many rotations."""
    monkeypatch.setattr(journal, "ROTATE_BYTES", 20_000)
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    made = Journal(folder)

    def write(thread: int) -> None:
        for number in range(200):
            made.append(SPAN, f"{thread}:{number}".encode() * 20, str(thread % 3).encode())

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans = [record.payload for record in _records(folder) if record.kind == SPAN]
    assert sorted(spans) == sorted(f"{thread}:{number}".encode() * 20 for thread in range(8) for number in range(200))


def test_append_from_a_signal_handler_and_a_finaliser(folder: Path) -> None:
    """Appending may be interrupted by appending, in the same thread: no deadlock, nothing lost."""
    made = Journal(folder)

    class Dying:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            made.append(START, b"finaliser")

    before = signal.signal(signal.SIGALRM, lambda *_: made.append(START, b"signal"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(2000):
            Dying()
            if number % 100 == 0:
                made.close()
            made.append(SPAN, b"x" * 500)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.collect()
    kinds = [record.payload for record in _records(folder)]
    assert kinds.count(b"x" * 500) == 2000
    assert kinds.count(b"finaliser") == 2000
    assert kinds.count(b"signal") > 0


def test_descriptors_are_high_closed_on_exec_and_not_leaked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our descriptor stays out of the way of programs that close low ones, ends at exec, and is closed with its file."""
    monkeypatch.setattr(journal, "ROTATE_BYTES", 100)
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    before = set(os.listdir("/proc/self/fd"))
    made = Journal(folder)
    for _ in range(10):
        made.append(SPAN, b"x" * 100)
    (number,) = set(os.listdir("/proc/self/fd")) - before
    assert int(number) >= 512
    assert not os.get_inheritable(int(number))
    made.close()
    assert set(os.listdir("/proc/self/fd")) == before
