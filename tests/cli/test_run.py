"""``llmtrace run``: a program under llmtrace does and says what it does without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmtrace.model import Trace, Workflow
from llmtrace.store import open_store


def plain(*words: str, cwd: Path, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    ran = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, input=stdin, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def traced(*words: str, cwd: Path, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    return plain("-m", "llmtrace", "run", "--store", str(cwd / "store"), *words, cwd=cwd, stdin=stdin)


def last(cwd: Path) -> Trace:
    store = open_store(str(cwd / "store"))
    try:
        return store.trace("last")
    finally:
        store.close()


PROGRAMS = {
    "looks around": "import sys, __main__ as m\nprint(sys.argv, sys.path[0], __name__, m.__file__, __file__, __package__)",
    "ends with a code": "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)",
    "ends with a text": "import sys; sys.exit('it is over')",
    "ends with None": "import sys; sys.exit()",
    "raises": "def inner():\n    raise ValueError('no')\ndef outer():\n    inner()\nouter()",
    "raises from a cause": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('x') from error",
    "raises its own": "class Odd(Exception):\n    pass\nraise Odd",
    "has a hook of its own": "import sys\nsys.excepthook = lambda kind, error, tb: print(kind.__name__, tb.tb_lineno)\n1 / 0",
    "is no Python": "def (:",
    "imports a neighbour": "import neighbour; print(neighbour.NAME)",
    "fails in a neighbour": "import neighbour; neighbour.fail()",
    "reads stdin": "print(input()[::-1])",
    "pickles its own class": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "registers for the end": "import atexit; atexit.register(print, 'bye'); print('hello')",
    "has threads": "import threading, time\nthreading.Timer(0.2, print, ['late']).start()\nprint('main')",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_is_what_it_is_without(program: str, tmp_path: Path) -> None:
    """Exit code, stdout and stderr, tracebacks included, are the same byte for byte."""
    (tmp_path / "program.py").write_text(PROGRAMS[program])
    (tmp_path / "neighbour.py").write_text("NAME = 'n'\ndef fail():\n    raise RuntimeError('far away')\n")
    words = ("program.py", "--store", "mine", "-m", "x", "--help")
    expected = plain(*words, cwd=tmp_path, stdin=b"abc\n")
    assert traced(*words, cwd=tmp_path, stdin=b"abc\n") == expected


@pytest.mark.parametrize("words", [("package", "a", "--b"), ("package.inner",), ("package.missing",), ("nowhere",)], ids=str)
def test_modules(words: tuple[str, ...], tmp_path: Path) -> None:
    """``-m`` takes what ``python -m`` takes; a module that is not there is told."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys; print(sys.argv, sys.path[0], __package__); sys.exit(3)")
    (package / "inner.py").write_text("print(__name__, __package__); raise LookupError('deep')")
    code, out, err = plain("-m", *words, cwd=tmp_path)
    ours = traced("-m", *words, cwd=tmp_path)
    assert ours[:2] == (code, out)
    assert b"llmtrace/cli" not in ours[2]
    assert err.splitlines()[-1:] == ours[2].splitlines()[-1:] or b"No module named" in ours[2]


def test_the_program_is_one_run(tmp_path: Path) -> None:
    """A workflow span around the program, named after the script or as --name says; how it ended is on it."""
    (tmp_path / "agent.py").write_text("import llmtrace\nwith llmtrace.span('step'):\n    pass\nraise KeyError('x')")
    traced("agent.py", cwd=tmp_path)
    trace = last(tmp_path)
    assert [span.name for span in trace.spans] == ["invoke_workflow agent.py", "step"]
    assert trace.root.failure is not None
    assert (trace.root.failure.type, trace.health) == ("KeyError", "failed")
    traced("--name", "nightly", "agent.py", cwd=tmp_path)
    assert last(tmp_path).root.operation == Workflow("nightly")


@pytest.mark.parametrize(
    ("program", "health"), [("", "ok"), ("import sys; sys.exit(0)", "ok"), ("import sys; sys.exit(3)", "failed")]
)
def test_the_exit_code_is_the_health(program: str, health: str, tmp_path: Path) -> None:
    """An exit code that is not 0 makes the run a failed one."""
    (tmp_path / "agent.py").write_text(program)
    traced("agent.py", cwd=tmp_path)
    assert last(tmp_path).health == health


def test_json_goes_to_stderr(tmp_path: Path) -> None:
    """stdout is the program's; where to look is the last line of stderr."""
    (tmp_path / "agent.py").write_text("import sys; print('out'); sys.exit(4)")
    code, out, err = traced("--json", "agent.py", cwd=tmp_path)
    assert (code, out) == (4, b"out\n")
    assert err.decode() == f'{{"trace_id": "{last(tmp_path).trace_id}", "exit_code": 4}}\n'


def test_a_configure_of_the_programs_own_goes_to_the_same_store(tmp_path: Path) -> None:
    """--store holds for a program that calls configure() itself."""
    (tmp_path / "agent.py").write_text("import llmtrace\nllmtrace.configure()\nwith llmtrace.span('own'):\n    pass")
    traced("agent.py", cwd=tmp_path)
    assert [span.name for span in last(tmp_path).spans] == ["invoke_workflow agent.py", "own"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C gives the program's own traceback and 130, and the span says what happened."""
    (tmp_path / "agent.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)")
    command = [sys.executable, "-m", "llmtrace", "run", "--store", str(tmp_path / "store"), "agent.py"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "KeyboardInterrupt"
    assert b"llmtrace" not in err
    assert last(tmp_path).health == "failed"
