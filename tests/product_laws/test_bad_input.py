"""Bad input: the program goes on unharmed, one clear line says what, where and what to do, and nothing stored is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.store import Query, open_store
from llmtrace.testing import capture


class Hostile:
    """Raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no iter")

    def __len__(self) -> int:
        raise RuntimeError("no len")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


def cycle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize("decorate", [llmtrace.tool, llmtrace.agent, llmtrace.span])
@pytest.mark.parametrize(
    "make",
    [
        lambda: open(os.devnull),  # noqa: SIM115
        cycle,
        lambda: list(range(1_000_000)),
        Hostile,
        lambda: {object(): Hostile()},
        lambda: (number for number in range(3)),
        lambda: float("nan"),
        lambda: "\ud800 lone",
        lambda: 10**5000,
        lambda: b"\x00\xff",
    ],
)
def test_arguments_and_results_of_any_kind(decorate: Any, make: Any) -> None:
    """What cannot be serialised passes through untouched, and the span says what it was."""
    given = make()

    @decorate
    def work(x: Any) -> Any:
        return x

    with capture() as captured:
        assert work(given) is given
    assert len(captured.spans) == 1
    if hasattr(type(given), "close") and not hasattr(type(given), "send"):
        given.close()


def test_a_generator_is_not_consumed() -> None:
    """Recording an argument never takes items out of it."""

    @llmtrace.span
    def work(x: Any) -> list[int]:
        return list(x)

    with capture():
        assert work(number for number in range(3)) == [0, 1, 2]


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: given for name, given in os.environ.items() if not name.startswith(("LLMTRACE_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


AGENT = """
import llmtrace
llmtrace.configure()
@llmtrace.tool
def add(a: int) -> int:
    return a + 1
@llmtrace.agent
def work(task: str) -> int:
    return add(1)
print(work("x"))
"""


def test_no_home_and_nothing_writable(tmp_path: Path) -> None:
    """HOME unset, or a store that cannot be made: the program runs; a line says what to do, one at the end what was lost."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    ran = run(AGENT, LLMTRACE_STORE=str(blocked / "store"))
    assert (ran.returncode, ran.stdout) == (0, "2\n")
    lines = ran.stderr.strip().splitlines()
    assert ["set LLMTRACE_STORE to a writable folder" in lines[0], "lost" in lines[1], len(lines)] == [True, True, 2]
    assert all(str(blocked) in line for line in lines)
    unset = run("import os; os.environ.pop('HOME', None)\n" + AGENT, XDG_DATA_HOME=str(tmp_path / "data"))
    assert (unset.returncode, unset.stdout, unset.stderr) == (0, "2\n", "")


def test_wrong_variables_are_one_line_each() -> None:
    """A misspelt variable is named, with what was meant; the code did not ask for it, so it goes on."""
    ran = run(AGENT, LLMTRACE_STORE="off", LLMTRACE_CONTENT="maybe", LLMTRACE_REDCAT="1")
    assert (ran.returncode, ran.stdout) == (0, "2\n")
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == 2
    assert any("none, local, all" in line for line in lines)
    assert any("LLMTRACE_REDACT" in line for line in lines)


def summaries(folder: Path) -> list[Any]:
    store = open_store(str(folder))
    try:
        return store.traces(Query(limit=1000))
    finally:
        store.close()


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "raise ValueError"])
def test_fork_in_the_middle(end: str, tmp_path: Path) -> None:
    """Parent and child go on; each one's spans are stored once, the child's as a run of its own in the parent's trace.

    The block in which the program forked is the parent's to end, however the child leaves it.
    """
    program = f"""
    import os, sys
    import llmtrace
    llmtrace.configure()
    @llmtrace.span
    def step(who): return who
    with llmtrace.workflow("w"):
        step("before")
        child = os.fork()
        if child == 0:
            os.close(2)
            step("child"); {end}
        os.waitpid(child, 0)
        step("parent")
    """
    quiet = "ignore:This process:DeprecationWarning"  # Python's, of the thread that keeps the index
    ran = run(program, LLMTRACE_STORE=str(tmp_path), PYTHONWARNINGS=quiet)
    assert (ran.returncode, ran.stderr) == (0, "")
    store = open_store(str(tmp_path))
    trace = store.trace("last")
    store.close()
    steps = {span.operation.arguments["who"]: span for span in trace.spans if span.name == "step"}  # type: ignore[union-attr]
    assert sorted(steps) == ["before", "child", "parent"]
    assert {span.parent_id for span in steps.values()} == {trace.root.span_id}
    assert steps["before"].run_id == steps["parent"].run_id == trace.root.run_id != steps["child"].run_id
    assert [steps[who].sequence for who in ("before", "parent", "child")] == [0, 1, 0]
    assert (trace.root.sequence, trace.health) == (2, "ok")


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "raise SystemError('x')", "sys.exit(1)"]
)
def test_however_a_program_ends_its_spans_are_there(end: str, tmp_path: Path) -> None:
    """Every ended span is stored; those that were open show as interrupted (or failed, where Python unwound them)."""
    program = f"""
    import os, signal, sys
    import llmtrace
    llmtrace.configure()
    @llmtrace.span
    def step(): return 1
    with llmtrace.workflow("w"):
        step()
        {end}
    """
    ran = run(program, LLMTRACE_STORE=str(tmp_path))
    assert ran.returncode in (1, 3, -signal.SIGKILL)
    store = open_store(str(tmp_path))
    trace = store.trace("last")
    store.close()
    assert {span.name: span.end is None for span in trace.spans}["step"] is False
    assert trace.root.name == "invoke_workflow w"
    assert trace.health == "failed"


def test_spans_at_interpreter_shutdown_do_no_harm(tmp_path: Path) -> None:
    """A span that ends while the interpreter goes down is silent."""
    program = """
    import atexit
    import llmtrace
    llmtrace.configure()
    @llmtrace.span
    def step(): return 1
    class Late:
        def __del__(self): step()
    late = Late()
    atexit.register(step)
    generator = None
    @llmtrace.agent
    def talk():
        yield 1
        yield 2
    generator = talk(); next(generator)
    """
    ran = run(program, LLMTRACE_STORE=str(tmp_path))
    assert (ran.returncode, ran.stderr) == (0, "")
