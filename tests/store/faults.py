"""Makes the n-th I/O call of a program fail, for every n. ``python -m tests.store.faults SCENARIO COUNT`` does it for a sample.

One process imports llmtrace once; each case is a fork of it with a fresh store. The parent, whose calls never fail, is the next
reader. `io_shim.c` finds the calls, also those of SQLite, so it needs Linux and a C compiler.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SHORT = -1
"""A write that takes half of its bytes."""
ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EINTR", "EMFILE", "EACCES")} | {"short": SHORT}
SECONDS = 30.0
"""A program that takes longer than this is held up."""


@functools.cache
def shim() -> Path | str:
    """Return the compiled shim, or the reason why there is none."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        return "needs Linux and a C compiler, to make the I/O of SQLite fail"
    source = Path(__file__).with_name("io_shim.c")
    library = Path(tempfile.mkdtemp()) / f"shim-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
    atexit.register(shutil.rmtree, library.parent, ignore_errors=True)
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return library if done.returncode == 0 else f"the shim does not compile here: {done.stderr[:200]}"


class Outcome(NamedTuple):
    """What a program left behind."""

    code: int
    """Exit code; -1 if it was held up."""
    result: dict[str, Any]
    logged: str
    calls: int
    failed_call: str
    """Kind of the call that failed; empty if none did."""


class Scenario(NamedTuple):
    """A program, and what has to be true of its store afterwards."""

    prepare: Callable[[Path], None]
    """Writes the store that the program finds."""
    program: Callable[[Path], dict[str, Any]]
    check: Callable[[Path, Outcome, dict[str, Any]], None]
    """Asserts, from the folder, the outcome and the result without a fault."""


class Driver:
    """Runs a scenario's program in forks. Only in a process that has the shim."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.library = ctypes.CDLL(None)
        self.library.io_fired.restype = ctypes.c_char_p
        self.home = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.template = self.home / "template"
        scenario.prepare(self.template)
        self._number = 0

    def run(self, call: int = 0, error: int = 0, *, log: Path | None = None) -> tuple[Path, Outcome]:
        """Run the program in a copy of the template. Returns the folder, which the caller removes, and the outcome."""
        self._number += 1
        folder, said = self.home / f"case{self._number}" / "store", self.home / "said"
        if self.template.exists():
            shutil.copytree(self.template, folder)
        else:
            folder.parent.mkdir()
        pid = os.fork()
        if pid == 0:
            self._child(folder, said, call, error, log)
        deadline, code = time.monotonic() + SECONDS, -1
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                break
            time.sleep(0.002)
        else:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        printed = said.with_suffix(".out").read_text() or "{}"
        report = json.loads(printed.splitlines()[-1]) if code == 0 else {}
        logged = said.with_suffix(".err").read_text()
        return folder, Outcome(code, report.get("result", {}), logged, report.get("calls", 0), report.get("failed", ""))

    def _child(self, folder: Path, said: Path, call: int, error: int, log: Path | None) -> None:
        code = 1
        try:
            for number, suffix in ((1, ".out"), (2, ".err")):
                os.dup2(os.open(said.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), number)
            if log is not None:
                self.library.io_log(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            self.library.io_begin(str(folder).encode())
            self.library.io_arm(call, error)
            result = self.scenario.program(folder)
            atexit._run_exitfuncs()
            self.library.io_end()
            report = {"result": result, "calls": self.library.io_calls(), "failed": self.library.io_fired().decode()}
            sys.stdout.flush()
            os.write(1, b"\n" + json.dumps(report).encode())
            code = 0
        except BaseException:
            self.library.io_end()
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    def close(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)


def mark(text: str) -> None:
    """Note in the log of changes that the program has come so far. Does nothing without the shim."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).io_mark(text.encode())


def record_changes(name: str, store: Path, log: Path) -> dict[str, Any]:
    """Run a scenario without faults, and write its changes down. The store that it found is copied to ``store``."""
    from tests.store import scenarios

    scenario = scenarios.SCENARIOS[name]
    scenarios.warm_up(scenario)
    driver = Driver(scenario)
    try:
        if driver.template.exists():
            shutil.copytree(driver.template, store)
        _, usual = driver.run(log=log)
        assert usual.code == 0, usual.logged
    finally:
        driver.close()
    return usual.result


def main(name: str, count: int, seed: int = 1) -> dict[str, Any]:
    """Run a sample of ``count`` faults of a scenario (0: all). Returns the numbers of cases and the failures."""
    from tests.store import scenarios

    scenario = scenarios.SCENARIOS[name]
    scenarios.warm_up(scenario)
    driver = Driver(scenario)
    failures: list[str] = []
    kinds: Counter[str] = Counter()
    try:
        folder, usual = driver.run()
        assert usual.code == 0, usual.logged
        scenario.check(folder, usual, usual.result)
        cases = [(call, error) for call in range(1, usual.calls + 1) for error in ERRORS]
        if count and count < len(cases):
            cases = random.Random(seed).sample(cases, count)
        for call, error in cases:
            folder, outcome = driver.run(call, ERRORS[error])
            if outcome.code != 0 or outcome.failed_call:
                kinds[outcome.failed_call] += 1
                try:
                    assert outcome.code == 0, f"exit code {outcome.code}"
                    assert "Traceback" not in outcome.logged, "a traceback was logged"
                    scenario.check(folder, outcome, usual.result)
                except Exception as error_:
                    how = f"{outcome.failed_call or 'a call'} {call} fails with {error}"
                    where = traceback.format_exc().strip().splitlines()[-12:]
                    failures.append(f"{name}: {how}: {error_}\n" + "\n".join(where) + "\n" + outcome.logged[-1500:])
            shutil.rmtree(folder.parent, ignore_errors=True)
    finally:
        driver.close()
    return {"calls": usual.calls, "cases": sum(kinds.values()), "kinds": dict(kinds), "failures": failures}


def run_apart(*arguments: str, seconds: float = 900) -> dict[str, Any]:
    """Run this module in a process that has the shim. Raises RuntimeError if there is no shim."""
    library = shim()
    if isinstance(library, str):
        raise RuntimeError(library)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join([*filter(None, sys.path)])}
    command = [sys.executable, "-m", "tests.store.faults", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


if __name__ == "__main__":
    if sys.argv[2:3] == ["record"]:
        print(json.dumps(record_changes(sys.argv[1], Path(sys.argv[3]), Path(sys.argv[4]))))
    else:
        print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
