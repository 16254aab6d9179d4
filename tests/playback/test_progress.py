"""`Progress`: several processes share one record; `Permissions`: the table of what may run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from llmtrace.model import Span, ToolDefinition, Trace
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.progress import Divergence, Progress
from llmtrace.playback.recorded_run import same_program


def test_each_sees_what_the_others_did(tmp_path: Path) -> None:
    one, other = Progress(tmp_path / "progress"), Progress(tmp_path / "progress")
    with one:
        own = one.this_pass()
        one.note("take", own.number, "a", "b")
        one.note("place", own.number, "new", "a")
        one.note("run", "refund")
        one.note("stop", Divergence("changed", "it asks for something else", "a"))
    other.read()
    assert other.passes[own.number].taken == {"a", "b"}
    assert other.passes[own.number].places == {"new": "a"}
    assert other.ran == {"refund": 1}
    assert other.stopped_by == Divergence("changed", "it asks for something else", "a")
    with other:
        other.note("free", own.number, "b")
    assert one.read().passes[own.number].taken == {"a"}


def test_a_line_that_was_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    with Progress(file) as progress:
        progress.note("serve")
    with file.open("ab") as opened:
        opened.write(b'["serv')
    with Progress(file) as after:
        after.note("serve")
    assert Progress(file).read().served == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="warns of forks beside threads")
def test_workers_make_the_pass_of_their_program(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "progress")
    workers = []
    for number in range(4):
        worker = os.fork()
        if not worker:
            for count in range(50):
                with progress:
                    progress.note("take", progress.this_pass().number, f"{number}.{count}")
            os._exit(0)
        workers.append(worker)
    for worker in workers:
        os.waitpid(worker, 0)
    with progress:
        assert progress.this_pass().number == os.getpid()
    assert list(progress.passes) == [os.getpid()]
    assert len(progress.passes[os.getpid()].taken) == 200


def test_the_table_of_what_may_run() -> None:
    reads, changes = ToolDefinition("search", changes=False), ToolDefinition("search", changes=True)
    for permissions, allowed in (
        (Permissions(), (False, False, False, False)),
        (Permissions(("refund",)), (True, False, False, False)),
        (Permissions(after=("refund",)), (True, False, False, False)),
        (Permissions(rest="reading"), (False, True, True, False)),
        (Permissions(rest="all"), (True, True, True, True)),
    ):
        tools = [("refund", None), ("get_order", None), ("search", reads), ("search", changes)]
        assert tuple(permissions.may_run_after(*tool) for tool in tools) == allowed
    assert Permissions(programs=("git",)).may_start("/usr/bin/git", is_live=False)
    assert not Permissions(programs=("git",)).may_start("/usr/bin/curl", is_live=False)
    resumed = Permissions(rest="all")  # what it did before the held call is not done again
    assert (resumed.may_start("curl", is_live=False), resumed.may_start("curl", is_live=True)) == (False, True)


def test_the_traces_of_one_program() -> None:
    """The same process, one that it started, and workers of one program; not what a shell starts one after the other."""

    def trace(trace_id: str, pid: int, parent: int, **more: bool) -> Trace:
        worker = {"llmtrace.process.worker": True} if more.get("worker") else {}
        resource = {"service.name": "x", "process.pid": pid, "process.parent_pid": parent, **worker}
        return Trace([Span(trace_id * 32, "1" * 16, "", 0, resource=resource)])

    program, child, grandchild = trace("a", 10, 1), trace("b", 11, 10), trace("c", 12, 11)
    again, workers = trace("d", 13, 1), [trace("e", 20, 14, worker=True), trace("f", 21, 14, worker=True)]
    everything = [program, child, grandchild, again, *workers]
    assert same_program(everything, program) == [program, child, grandchild]
    assert same_program(everything, grandchild) == [grandchild, child, program]
    assert same_program(everything, workers[1]) == [workers[1], workers[0]]
    assert same_program(everything, again) == [again]
    containers = [trace("1", 1, 0), trace("2", 7, 1), trace("3", 8, 1)]  # three machines whose names nobody recorded
    assert same_program(containers, containers[1]) == [containers[1]]
