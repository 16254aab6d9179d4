"""Programs that send, each in a process of its own. One process imports llmtrace once and is forked for each of them, since an
import costs more than most of what is tested here; what a program configures and ends is its own.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_BEGINNING = """
import os, signal, sys, threading, time
import llmtrace
llmtrace.configure(store=os.environ.get("STORE"))
def work(count, name="step", **attributes):
    for number in range(count):
        with llmtrace.span(f"{name} {number}") as one:
            pass
"""


class Program:
    """A program that runs, or has ended."""

    def __init__(self, process: subprocess.Popen[str], pid: int, output: Path) -> None:
        self._parent = process
        self.pid = pid
        self._output = output
        self._has_ended = False

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def begun(self) -> None:
        """Wait until it has printed something."""
        deadline = time.monotonic() + 30
        while not (self._output / "out").exists() or not (self._output / "out").stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def wait(self) -> tuple[int, str, str]:
        """Its exit status (negative: the signal that ended it), what it printed, and what was logged."""
        status = _ask(self._parent, {"wait": self.pid})
        self._has_ended = True
        return status, *[(self._output / name).read_text() for name in ("out", "err")]  # type: ignore[return-value]

    def end(self) -> None:
        """Kill it, unless somebody has waited for its end."""
        if not self._has_ended:
            self.kill()
            self.wait()


def start(program: str, home: Path, endpoint: str, *, beginning: str = _BEGINNING, **environment: str) -> Program:
    """A program with ``llmtrace``, which sends to ``endpoint``, and ``work(count)``, which makes so many spans. Its store is a
    folder in ``home`` unless ``STORE`` says otherwise. ``beginning``: what comes before the program in place of these two."""
    variables = {
        "XDG_DATA_HOME": str(home),
        "STORE": str(home / "store"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "NO_PROXY": "*",
        **environment,
    }
    output = Path(tempfile.mkdtemp(dir=home))
    for name in ("out", "err"):
        (output / name).touch()  # it may be killed before it has opened them
    text = beginning + textwrap.dedent(program)
    pid = _ask(_parent(), {"program": text, "environment": variables, "output": str(output)})
    return Program(_parent(), pid, output)


def run(program: str, home: Path, endpoint: str, **environment: str) -> tuple[str, str]:
    """Run a program to its good end. Returns what it printed and what was logged."""
    status, printed, logged = start(program, home, endpoint, **environment).wait()
    assert status == 0, logged
    return printed, logged


@functools.cache
def _parent() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
    )


def _ask(process: subprocess.Popen[str], question: dict[str, Any]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


# -- in the process that is forked


def _serve() -> dict[str, Any] | None:
    """Answer questions; in a child, give what it is to run."""
    sent = 0
    while question := sys.stdin.readline():
        asked = json.loads(question)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            sent = os.waitstatus_to_exitcode(status)
        else:
            child = os.fork()
            if child == 0:
                return dict(asked)
            sent = child
        print(sent, flush=True)
    return None


def _become(asked: dict[str, Any]) -> None:
    os.environ.update(asked["environment"])
    for number, name in ((1, "out"), (2, "err")):
        descriptor = os.open(Path(asked["output"]) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)


if __name__ == "__main__":
    import llmtrace

    for loaded in ("requests", "grpc", "opentelemetry.proto.trace.v1.trace_pb2", "llmtrace.cli.receive", "llmtrace.evaluation"):
        __import__(loaded)
    llmtrace.configure(store="off")  # imports the rest
    llmtrace.shutdown()
    job = _serve()
    if job is not None:
        _become(job)
        try:
            exec(compile(job["program"], "<program>", "exec"), {"__name__": "__main__"})
        except Exception:
            traceback.print_exc()
            sys.exit(1)
