"""Nothing raises into the program: odd arguments, objects that misbehave, log handlers that raise, no descriptor left."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.testing import capture


class ArrayLike:
    """As an array of numbers: comparing gives an array, and that is neither true nor false."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return ArrayLike()

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


class Leaves:
    """Ends the program when it is looked at."""

    def __repr__(self) -> str:
        raise SystemExit(3)

    __str__ = __repr__


class LeavingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Raises:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


class RaisingHandler(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("this handler is broken")


@pytest.mark.parametrize("make", [ArrayLike, Leaves, Raises, list, dict, lambda: None, float, bytes])
def test_odd_arguments(make: Callable[[], Any]) -> None:
    """Whatever stands where a word, a score or a text is expected, inside a run and outside of one."""
    odd = make()

    @llmtrace.agent
    def run(task: Any) -> str:
        llmtrace.outcome(odd)
        llmtrace.outcome("success", score=odd, reason=odd)
        span = llmtrace.current_span()
        span.set_attributes({"odd": odd})
        span.add_event("odd", {"odd": odd})
        return "done"

    with capture() as captured:
        assert run(odd) == "done"
        llmtrace.outcome(odd)
        for options in ({"score": odd}, {"label": odd}, {"comment": odd, "user": odd}):
            llmtrace.feedback("last", **options)
            llmtrace.feedback(odd, **options)
    assert len(captured.spans) == 1


def test_an_exception_that_ends_the_program_when_it_is_read() -> None:
    @llmtrace.agent
    def run() -> None:
        raise LeavingError

    with capture() as captured, pytest.raises(LeavingError):
        run()
    assert captured.spans[0].failure is not None


def test_a_log_handler_that_raises() -> None:
    """One that the program attached: neither what logs nor what comes after it is disturbed."""
    logger = logging.getLogger("llmtrace")
    handler = RaisingHandler()
    logger.addHandler(handler)
    try:

        @llmtrace.tool(schema={"$ref": "other.json"})
        def work(a: int) -> int:
            return a

        @llmtrace.agent
        def run() -> int:
            llmtrace.outcome("nonsense")  # type: ignore[arg-type]
            return work(1)

        with capture() as captured:
            llmtrace.outcome("success")
            llmtrace.feedback("last")
            assert run() == 1
        assert len(captured.spans) == 2
    finally:
        logger.removeHandler(handler)


PROGRAM = """
    import os, resource
    import llmtrace
    llmtrace.configure(instrument=())

    @llmtrace.tool
    def add(a: int, b: int = 1) -> int:
        return a + b

    @llmtrace.agent
    def run(task: str) -> str:
        llmtrace.current_span().set_attributes({"a": 1})
        llmtrace.outcome("success", score=1)
        with llmtrace.context(user="ann"):
            return str(add(1)) + tools.run([{"id": "c", "function": {"name": "add", "arguments": "{}"}}])[0]["content"]

    tools = llmtrace.Tools(add, on_invalid="reply")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    answer = run("x")
    llmtrace.feedback("last", score=1)
    os.close(held.pop())
    assert answer.startswith("2"), answer
    assert "required" in answer, answer
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on descriptors")
def test_no_descriptor_left_at_first_use(tmp_path: Path) -> None:
    """What a program calls first when it can open no file works, as far as it needs none."""
    environment = {"LLMTRACE_STORE": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path)), "HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stderr[-1500:]
