"""Readers run on a few threads, in turn for one key, and what is given up does not hold anybody up."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout

import pytest

from llmtrace.guards import reader_threads
from llmtrace.guards.reader_threads import Busy, ReaderThreads


def test_reads_of_one_key_take_turns() -> None:
    """In the order in which they came, and never two at once; other keys go on beside them."""
    threads, running, order = ReaderThreads(), [0], list[int]()
    beside = threading.Event()

    def read(number: int) -> None:
        running[0] += 1
        assert running == [1]
        beside.wait(10)
        order.append(number)
        running[0] -= 1

    reads = [threads.submit("a", lambda number=number: read(number)) for number in range(20)]  # type: ignore[misc]
    threads.submit("b", beside.set).result(10)
    assert [each.result(10) for each in reads] == [None] * 20
    assert order == [*range(20)]


def test_a_read_that_is_given_up_is_not_run() -> None:
    """One that waits for a key is skipped; one that runs goes on, and the next of its key follows."""
    threads, go, ran = ReaderThreads(), threading.Event(), list[str]()
    first = threads.submit("a", lambda: go.wait(10))
    second, third = (threads.submit("a", lambda name=name: ran.append(name)) for name in ("second", "third"))  # type: ignore[misc]
    with pytest.raises(FutureTimeout):
        second.result(0.01)
    assert second.cancel()
    assert not first.cancel()
    go.set()
    third.result(10)
    assert ran == ["third"]


def test_a_key_may_be_claimed_without_a_thread() -> None:
    """For an async reader, which runs on its own loop; the others of the key wait until it is released."""
    threads = ReaderThreads()
    claim = threads.claim("a")
    assert claim.done()
    waiting, after = threads.claim("a"), threads.submit("a", lambda: 3)
    assert waiting.cancel()
    with pytest.raises(FutureTimeout):
        after.result(0.02)
    threads.release(claim)
    assert after.result(10) == 3
    deadline = time.monotonic() + 10
    while threads._waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not threads._waiting


def test_hanging_readers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads hang, the queue is full: the next read is refused at once."""
    monkeypatch.setattr(reader_threads, "THREADS", 2)
    monkeypatch.setattr(reader_threads, "MOST_WAITING", 3)
    threads, go, started = ReaderThreads(), threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        started.release()
        go.wait(20)

    for key in "ab":
        threads.submit(key, hang)
        assert started.acquire(timeout=10)
    waiting = [threads.submit(key, lambda: None) for key in "acd"]
    with pytest.raises(Busy):
        threads.submit("e", lambda: None)
    assert threads._threads == 2
    go.set()
    assert [each.result(10) for each in waiting] == [None] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_process_reads_too() -> None:
    """It begins without the threads and the reads of its parent."""
    threads, go = ReaderThreads(), threading.Event()
    threads.submit("a", lambda: go.wait(20))
    child = os.fork()
    if child == 0:
        try:
            os._exit(threads.submit("a", lambda: 5).result(10))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    go.set()
