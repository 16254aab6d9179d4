"""Forks, children and crowds: each process has its file, and nobody's lock outlives him."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from llmtrace.store import journal_files, journal_limits, open_store
from llmtrace.store.local import LocalStore
from tests.store.programs import run, start
from tests.store.spans import span, trace_id

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def test_parent_and_child_write_files_of_their_own(tmp_path: Path) -> None:
    """Forked before, between and after first spans: each process's spans are in its own files, none lost, none twice."""
    program = """
    def child(first):
        pid = os.fork()
        if pid == 0:
            for number in range(first, first + 10):
                store.append(span(1, number))
            os._exit(0)
        return pid
    children = [child(100)]
    for number in range(1, 11):
        store.append(span(1, number))
    children += [child(200), child(300)]
    for number in range(11, 21):
        store.append(span(1, number))
    for pid in children:
        os.waitpid(pid, 0)
    """
    run(program, tmp_path / "store")
    steps = [int(one.span_id, 16) for one in open_store(str(tmp_path / "store")).trace("last").spans]
    assert steps == [*range(1, 21), *range(100, 110), *range(200, 210), *range(300, 310)]
    journal = tmp_path / "store" / "journal"
    per_file = [
        sum(1 for one in journal_files.iterate(journal / file.name) if one.kind == journal_files.SPAN)
        for file in journal_files.listing(journal)
    ]  # type: ignore[union-attr]
    assert sorted(per_file) == [10, 10, 10, 20]


@pytest.mark.parametrize(
    "child",
    [
        "os.fork() or time.sleep(60)",
        "os.fork() or (store.append(span(2, 1)), time.sleep(60))",
        "__import__('subprocess').Popen(['sleep', '60'], close_fds=False)",
        "__import__('multiprocessing').get_context('fork').Process(target=time.sleep, args=(60,)).start()",
    ],
)
def test_a_child_does_not_keep_its_dead_parent_alive(tmp_path: Path, child: str) -> None:
    """A parent's unfinished span is interrupted when the parent is killed, though a child of its lives on."""
    program = f"""
    os.setsid()
    store.append(span(1, 1, ended=False))
    {child}
    print('on', flush=True)
    time.sleep(60)
    """
    process = start(program, tmp_path / "store")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        time.sleep(0.1)
        store = open_store(str(tmp_path / "store"))
        assert store.trace(trace_id(1)).health == "running"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert store.trace(trace_id(1)).health == "failed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_fork_does_not_double_what_waits_in_memory(tmp_path: Path) -> None:
    """Spans that could not be written yet belong to the process that appended them."""
    program = """
    store._journal.folder.parent.touch()
    store.append(span(1, 1))
    child = os.fork()
    if child == 0:
        assert store._journal.waiting() == []
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store._journal.folder.parent.unlink()
    store.flush()
    """
    run(program, tmp_path / "store")
    assert len(open_store(str(tmp_path / "store")).trace("last")) == 1


def test_eight_processes_write_while_others_read(tmp_path: Path) -> None:
    """8 processes of 500 spans each into one store, read at the same time: none is lost, none is there twice."""
    program = """
    for worker in range(1, 9):
        if os.fork() == 0:
            for number in range(1, 501):
                store.append(span(worker, number, attributes={"text": "x" * (number * 7)}))
            os._exit(0)
    for _ in range(8):
        os.wait()
    """
    folder = tmp_path / "store"
    writers = start(program, folder)
    readers = [start("[store.traces() for _ in range(3)]", folder) for _ in range(2)]
    store = LocalStore(folder, may_be_missing=True)
    while writers.poll() is None:
        store.traces()
    for process in (writers, *readers):
        _, logged = process.communicate(timeout=60)
        assert "Traceback" not in logged or "no store" in logged, logged
    assert [one.spans for one in store.traces()] == [500] * 8
    with sqlite3.connect(folder / "index.db") as db:
        assert db.execute("SELECT count(*) FROM spans").fetchone() == (4000,)
    for worker in range(1, 9):
        assert [int(one.span_id, 16) for one in store.trace(trace_id(worker)).spans] == list(range(1, 501))


def test_a_fork_while_a_thread_reads_leaves_the_child_able_to_read(tmp_path: Path) -> None:
    """SQLite's own locks are not left taken in a child: a fork waits for the reading thread to let go."""
    program = """
    import threading
    for number in range(1, 300):
        store.append(span(number % 7 + 1, number))
    done = False
    def read():
        while not done:
            store.traces()
            store.append(span(1, time.time_ns() % 10**9 + 1000))
    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            store.append(span(9, os.getpid()))
            assert len(store.traces()) == 8
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    done = True
    thread.join()
    """
    run(program, tmp_path / "store")
    assert len(open_store(str(tmp_path / "store")).trace(trace_id(9))) == 20


def test_a_program_that_forks_from_a_thread_goes_on(tmp_path: Path) -> None:
    """Threads appending at the moment of the fork do not hold anything that the child needs."""
    store = LocalStore(tmp_path / "store")
    done = threading.Event()

    def write() -> None:
        number = 1
        while not done.is_set():
            store.append(span(1, number))
            number += 1

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 21):
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                store.append(span(2, number))
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert len(store.trace(trace_id(2))) == 20


def test_a_daemon_that_closes_everything_goes_on(tmp_path: Path) -> None:
    """Double fork, all descriptors closed, other files opened in their place: spans go on, nothing goes astray."""
    program = """
    store.append(span(1, 1))
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        store.append(span(1, 2))
        os.closerange(0, 4096)
        others = [os.open(sys.argv[1] + f"-other-{n}", os.O_RDWR | os.O_CREAT | os.O_APPEND) for n in range(20)]
        store.append(span(1, 3))
        store.append(span(1, 4))
        os._exit(0)
    os.wait()
    """
    subprocess_output = run(program, tmp_path / "store")
    assert subprocess_output == ("", "")
    store = open_store(str(tmp_path / "store"))
    deadline = time.monotonic() + 20
    while len(store.trace("last")) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(store.trace("last")) == 4
    assert all(path.stat().st_size == 0 for path in tmp_path.glob("store-other-*"))


def test_a_child_that_gives_up_its_privileges_writes_on(tmp_path: Path) -> None:
    """It could not open a file in the folder any more, so it gets one when it is forked; one that stays empty is removed."""
    if os.getuid() != 0:
        pytest.skip("needs root to give it up")
    program = """
    store.append(span(1, 1))
    for number in (2, 3):
        pid = os.fork()
        if pid == 0:
            os.setgid(54321)
            os.setuid(54321)
            if number == 2:
                store.append(span(1, number))
            os._exit(0)
        os.waitpid(pid, 0)
    """
    assert run(program, tmp_path / "store") == ("", "")
    assert [int(one.span_id, 16) for one in open_store(str(tmp_path / "store")).trace("last").spans] == [1, 2]
    journal = tmp_path / "store" / "journal"
    assert len(journal_files.listing(journal)) == 3
    for file in journal_files.listing(journal):
        os.utime(journal / file.name, (time.time() - 7200,) * 2)
    journal_limits.sweep(journal, 1 << 30, 7.0)
    assert len(journal_files.listing(journal)) == 2
