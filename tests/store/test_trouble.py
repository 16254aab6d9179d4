"""Disks that are full, gone, closed or forbidden: the program goes on, hears of it once, and loses nothing."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace import log_once
from llmtrace.cli import main
from llmtrace.errors import UnreadableStore
from llmtrace.guards import spend_file
from llmtrace.model import Evaluation, Span
from llmtrace.store import journal, journal_files, local, open_store, replay_key
from llmtrace.store.late_evaluations import attach
from llmtrace.store.local import LocalStore
from llmtrace.store.memory import MemoryStore
from tests.store.programs import run
from tests.store.spans import span, trace_id


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the file before each record, and try again at once."""
    monkeypatch.setattr(journal, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(log_once, "_logged", {})


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_folder_that_cannot_be_made_means_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Spans stay readable in this process, one line says what, where and what to do; they go out when there is a place."""
    (tmp_path / "file").touch()
    store = LocalStore(tmp_path / "file" / "store")
    for number in range(1, 4):
        store.append(span(1, number))
    assert len(store.trace("last")) == 3
    assert [one.spans for one in store.traces()] == [3]
    (line,) = _lines(caplog)
    assert f"cannot write to {tmp_path}/file/store/journal (Not a directory)" in line
    assert "LLMTRACE_STORE" in line
    (tmp_path / "file").unlink()
    store.append(span(1, 4))
    assert len(open_store(str(tmp_path / "file" / "store")).trace("last")) == 4
    assert _lines(caplog)[1:] == [f"llmtrace: {tmp_path}/file/store/journal can be written again"]


def test_memory_is_bounded_and_losses_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk takes nothing, the newest spans stay, up to a bound; how many went is said."""
    monkeypatch.setattr(journal, "BACKLOG_BYTES", 10_000)
    (tmp_path / "file").touch()
    store = LocalStore(tmp_path / "file" / "store")
    for number in range(1, 101):
        store.append(span(1, number, attributes={"text": "x" * 1000}))
    kept = [int(one.span_id, 16) for one in store.trace("last").spans]
    assert kept == list(range(101 - len(kept), 101))
    assert 5 < len(kept) <= 10
    store.close()
    assert (
        _lines(caplog)[-1] == f"llmtrace: 100 span records could not be written to {tmp_path}/file/store/journal and are lost"
    )


def test_a_damaged_file_of_limits_costs_no_span(tmp_path: Path) -> None:
    """It is no text: it is written anew, and the program's spans are kept."""
    (tmp_path / "store" / "journal").mkdir(parents=True)
    (tmp_path / "store" / "journal" / ".bounds").write_bytes(b"\xff\xfe")
    store = LocalStore(tmp_path / "store")
    store.append(span(1))
    assert len(store.trace("last")) == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 32, b"short"])
def test_a_key_that_a_power_cut_took_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """An empty or known secret would protect nothing."""
    (tmp_path / replay_key.NAME).write_bytes(content)
    key = replay_key.of(tmp_path)
    assert len(key) == 32
    assert any(key)
    assert replay_key.of(tmp_path) == key


def test_a_journal_that_cannot_be_opened_is_not_a_removed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traces stay in the index, and a line says what is left out."""
    writer = LocalStore(tmp_path / "store", background=False)
    writer.append(span(1))
    writer.close()
    LocalStore(tmp_path / "store", background=False).summary(trace_id(1))
    usual = Path.open

    def refuse(path: Path, *options: Any, **more: Any) -> Any:
        if path.suffix == journal_files.SUFFIX:
            raise OSError(24, "Too many open files")
        return usual(path, *options, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        assert list(LocalStore(tmp_path / "store", background=False).spans()) == []
    assert any("Too many open files" in line for line in _lines(caplog))
    assert len(list(LocalStore(tmp_path / "store", background=False).spans())) == 1


def test_a_folder_removed_under_the_program_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever removed it wanted it gone: what was in it stays gone, what comes is kept."""
    store = LocalStore(tmp_path / "store")
    store.append(span(1))
    shutil.rmtree(tmp_path / "store")
    store.append(span(2))
    assert [one.trace_id[-1] for one in store.traces()] == ["2"]
    assert _lines(caplog) == []


def test_a_removed_folder_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first span after it, not when the file is looked at next."""
    monkeypatch.setattr(journal, "LOOK_SECONDS", 60.0)
    store = LocalStore(tmp_path / "store")
    store.append(span(1))
    shutil.rmtree(tmp_path / "store")
    store.append(span(2))
    store.flush()
    assert not store.has_unwritten()
    assert [one.trace_id for one in store.traces()] == [trace_id(2)]


def test_a_closed_descriptor_is_noticed_and_not_written_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A program that closes our descriptor, and may put a file of its own in its place, loses neither file nor spans."""
    store = LocalStore(tmp_path / "store")
    store.append(span(1, 1))
    number = store._journal._file._descriptor  # type: ignore[union-attr]
    os.close(number)
    store.append(span(1, 2))
    number = store._journal._file._descriptor  # type: ignore[union-attr]
    theirs = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
    os.dup2(theirs, number)
    store.append(span(1, 3))
    assert os.fstat(number).st_size == 0
    assert len(store.trace("last")) == 3
    assert _lines(caplog) == []
    os.close(number)
    os.close(theirs)


def test_a_full_disk_costs_nothing_in_the_end(tmp_path: Path) -> None:
    """Writes that stop in the middle of a record and fail: records wait and are written again whole, none twice."""
    program = """
    import resource
    journal.RETRY_SECONDS = 0.0
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    for number in range(1, 101):
        store.append(span(1, number, attributes={"text": "x" * 1000}))
    assert len(store.trace("last")) == 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.close()
    """
    _, logged = run(program, tmp_path / "store")
    assert len(open_store(str(tmp_path / "store")).trace("last")) == 100
    assert 1 <= logged.count("cannot write to") <= 2  # "no space" for the half record, "too large" for the next
    assert "Traceback" not in logged


def test_a_full_file_system(tmp_path: Path) -> None:
    """A really full disk: one line, and everything is there once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        store = LocalStore(disk / "store")
        for number in range(1, 101):
            store.append(span(1, number, attributes={"text": "x" * 1000}))
        assert store._journal.waiting()
        assert len(store.trace("last")) == 100
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        store.flush()
        assert not store._journal.waiting()
        assert len(open_store(str(disk / "store")).trace("last")) == 100
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False)
    finally:
        store.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_read_only_disk_can_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no index can be written, the journals are read."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("may not mount a disk here")
    try:
        writer = LocalStore(disk / "store")
        writer.append(span(1))
        writer.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        store = LocalStore(disk / "store")
        assert [one.spans for one in store.traces()] == [1]
        store.append(span(1, 2))
        assert len(store.trace("last")) == 2
        assert [line for line in _lines(caplog) if "cannot write to" in line and "Read-only file system" in line]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_no_descriptor_left_means_memory(tmp_path: Path) -> None:
    """A program that has run out of descriptors goes on; its spans are written when it has some again."""
    program = """
    import resource
    journal.RETRY_SECONDS = 0.0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    store.append(span(1, 1))
    assert len(store._journal.waiting()) == 1
    for number in held:
        os.close(number)
    store.append(span(1, 2))
    """
    _, logged = run(program, tmp_path / "store")
    assert "Too many open files" in logged
    assert len(open_store(str(tmp_path / "store")).trace("last")) == 2


def test_without_a_home_spans_stay_in_memory(tmp_path: Path) -> None:
    """A user without a home folder, in no list of users: the program runs, one line says what to set."""
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("needs root to become a user that does not exist")
    program = """
    import os
    from llmtrace.store import open_store
    from tests.store.spans import span, trace_id
    import platformdirs, llmtrace.store.indexing, llmtrace.store.memory, llmtrace.store.local  # that user may not read them
    os.setuid(54321)
    store = open_store("auto")
    store.append(span(1, 1))
    store.append(span(1, 2))
    print(len(store.trace("last")), store.folder)
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_DATA_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line[4:] for line in program.splitlines())],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert (done.returncode, done.stdout) == (0, "2 None\n"), done.stderr
    assert done.stderr.count("cannot write to the user's data folder") == 1
    assert "LLMTRACE_STORE" in done.stderr
    assert not Path("~").exists()


def test_reading_without_a_place_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No home folder, nothing in memory: an UnreadableStore with advice, not an empty list."""
    monkeypatch.setattr(local, "default_folder", lambda: None)
    with pytest.raises(UnreadableStore, match="LLMTRACE_STORE"):
        open_store("auto").traces()


def test_a_relative_folder_stays_where_the_program_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes its working folder, or loses it, keeps its store."""
    monkeypatch.chdir(tmp_path)
    store = open_store("mine")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    (tmp_path / "other").rmdir()
    store.append(span(1))
    assert journal_files.listing(tmp_path / "mine" / "journal")
    relative = open_store("lost")
    relative.append(span(1))
    assert len(relative.trace("last")) == 1


def test_the_end_of_the_interpreter_is_survived(tmp_path: Path) -> None:
    """Spans that end in exit handlers, daemon threads and the last finalisers: no traceback, and what can be is kept."""
    program = """
    import atexit, threading
    class Last:
        def __del__(self, append=store.append, made=span(1, 3)):
            append(made)
    sys.modules["keeper"] = keeper = Last()
    keeper.me = keeper
    atexit.register(lambda: store.append(span(1, 2)))
    def forever():
        number = 100
        while True:
            store.append(span(2, number))
            number += 1
    threading.Thread(target=forever, daemon=True).start()
    store.append(span(1, 1))
    """
    _, logged = run(program, tmp_path / "store")
    assert logged == ""
    steps = [int(one.span_id, 16) for one in open_store(str(tmp_path / "store")).trace("0" * 31 + "1").spans]
    assert steps[:2] == [1, 2]


def test_a_log_handler_that_raises_does_no_harm(tmp_path: Path) -> None:
    """Telling of trouble is not worth an exception."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no")

    handler = Broken()
    logging.getLogger("llmtrace").addHandler(handler)
    try:
        (tmp_path / "file").touch()
        store = LocalStore(tmp_path / "file" / "store")
        store.append(span(1))
        assert len(store.trace("last")) == 1
    finally:
        logging.getLogger("llmtrace").removeHandler(handler)


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    for made in list(journal._journals):
        made.folder = None


def test_one_trace_in_memory_has_a_bound_too() -> None:
    """Of a trace that alone is more than memory may hold, the spans that ended first go; its open spans and the last stay."""
    store = MemoryStore(max_bytes=20_000)
    root = Span("1" * 32, f"{1:016x}", "root", 1)
    store.append(root)
    for number in range(2, 12):
        store.append(Span("1" * 32, f"{number:016x}", "s", number, number, attributes={"text": "x" * 6000}))
    kept = [span.span_id for span in store.trace("last").spans]
    assert kept[0] == root.span_id
    assert kept[-1] == f"{11:016x}"
    assert 2 < len(kept) < 6


def test_symbolic_links_in_a_shared_folder_are_not_followed(tmp_path: Path) -> None:
    """Somebody laid links under the names that a store uses, to files of the victim: none is written, or changed in any way."""
    folder, victim = tmp_path / "store", tmp_path / "victim"
    victim.write_text("precious")
    os.utime(victim, (1, 1))
    (folder / "journal").mkdir(parents=True)
    (folder / "budgets").mkdir()
    names = ("index.db", "index.lock", "index.db-wal", "index.db-shm", "attach.lock", "journal/.bounds", "budgets/.swept")
    for name in names:
        (folder / name).symlink_to(victim)
    store = LocalStore(folder, background=False)
    store.append(span(1))
    assert [one.trace_id for one in store.traces()] == [trace_id(1)]
    attach(store, trace_id(1), [Evaluation("late", "info", "said later")])
    assert len(store.trace("last").root.evaluations) == 1
    spend_file.sweep(folder / "budgets")
    assert (victim.read_text(), victim.stat().st_mtime) == ("precious", 1)
    for name in ("index.db", "index.lock"):
        (folder / name).unlink()
    assert [one.trace_id for one in store.traces()] == [trace_id(1)]
    assert (victim.read_text(), victim.stat().st_mtime) == ("precious", 1)
    assert not (folder / "index.db-wal").is_symlink()


def test_an_export_is_for_the_user_only(tmp_path: Path) -> None:
    """Mode 0600 under any umask; a link laid where the draft is written is not followed."""
    store = LocalStore(tmp_path / "store", background=False)
    store.append(span(1))
    store.close()
    before, target = os.umask(0), tmp_path / "spans.json"
    try:
        assert main(["export", "last", "-o", str(target), "--store", str(tmp_path / "store")]) == 0
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".spans.json.part").symlink_to(tmp_path / "victim")
    assert main(["export", "last", "-o", str(target), "--store", str(tmp_path / "store")]) == 2
    assert (tmp_path / "victim").read_text() == "precious"
